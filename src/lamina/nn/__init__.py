"""Layers that PyTorch lacks, as plain modules, and networks for vectors and tables."""

from lamina.nn.column_embedding import ColumnEmbedding, TableShape, embedding_width
from lamina.nn.linear import linear
from lamina.nn.mlp import ACTIVATIONS, MLP, ResidualMLP
from lamina.nn.pixels import PixelScaling
from lamina.nn.residual import Residual

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "ColumnEmbedding",
    "PixelScaling",
    "Residual",
    "ResidualMLP",
    "TableShape",
    "embedding_width",
    "linear",
]

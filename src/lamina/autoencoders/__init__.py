"""Autoencoders, sparse coding, and features learnt without back-propagation."""

from lamina.autoencoders.autoencoder import Autoencoder, autoencoder
from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.autoencoders.corruption import Corruption, GaussianCorruption, Masking, SaltAndPepper
from lamina.autoencoders.deep import pretrain_rbms, unroll_rbms
from lamina.autoencoders.dictionary import learn_dictionary
from lamina.autoencoders.matching_pursuit import MatchingPursuitFeatures, orthogonal_matching_pursuit
from lamina.autoencoders.pca import PCA
from lamina.autoencoders.reconstruction import CodeContext, Reconstruction
from lamina.autoencoders.sparse import KSparse, SparseTarget
from lamina.autoencoders.sparse_coder import SparseCoder, SparseCoding
from lamina.autoencoders.sparsifying_logistic import SparsifyingLogistic
from lamina.autoencoders.stacked import unroll
from lamina.autoencoders.tied import TiedLinear, transposed_convolution

__all__ = [
    "PCA",
    "Autoencoder",
    "AutoencoderLayer",
    "CodeContext",
    "Corruption",
    "GaussianCorruption",
    "KSparse",
    "Masking",
    "MatchingPursuitFeatures",
    "Reconstruction",
    "SaltAndPepper",
    "SparseCoder",
    "SparseCoding",
    "SparseTarget",
    "SparsifyingLogistic",
    "TiedLinear",
    "autoencoder",
    "learn_dictionary",
    "orthogonal_matching_pursuit",
    "pretrain_rbms",
    "transposed_convolution",
    "unroll",
    "unroll_rbms",
]

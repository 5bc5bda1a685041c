"""Kronecker-factored curvature: the factors of each layer, their statistics, and their damped inverse."""

from lamina.curvature.kronecker.block import Block
from lamina.curvature.kronecker.factors import KroneckerFactors
from lamina.curvature.kronecker.inverse import KroneckerInverse

__all__ = ["Block", "KroneckerFactors", "KroneckerInverse"]

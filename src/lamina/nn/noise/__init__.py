"""Noise on inputs, hidden units, weights and labels, as regularisation."""

from lamina.nn.noise.gaussian_noise import GaussianNoise
from lamina.nn.noise.insert import insert_noise
from lamina.nn.noise.label_noise import label_noise
from lamina.nn.noise.multiplicative_noise import MultiplicativeNoise
from lamina.nn.noise.weight_noise import WeightNoise

__all__ = ["GaussianNoise", "MultiplicativeNoise", "WeightNoise", "insert_noise", "label_noise"]

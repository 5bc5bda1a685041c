"""Preparation of arrays and tensors: learned from the training part, stored as plain arrays, applied anywhere."""

from lamina.data.preprocessing.global_contrast import GlobalContrast
from lamina.data.preprocessing.local_contrast import LocalContrast
from lamina.data.preprocessing.range_scaling import SIGMOID_RANGE, TANH_RANGE, RangeScaling
from lamina.data.preprocessing.shortlist import Shortlist
from lamina.data.preprocessing.spectrogram import Spectrogram
from lamina.data.preprocessing.sphering import Sphering
from lamina.data.preprocessing.standardisation import Standardisation

__all__ = [
    "SIGMOID_RANGE",
    "TANH_RANGE",
    "GlobalContrast",
    "LocalContrast",
    "RangeScaling",
    "Shortlist",
    "Spectrogram",
    "Sphering",
    "Standardisation",
]

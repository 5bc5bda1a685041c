"""The published table: test errors in percent, and the share of inputs that the denoising autoencoders lose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """Of one set.

    Attributes:
        svm: Support vector machine with Gaussian kernel.
        saa: Three stacked autoencoders.
        dbn: Deep belief network of three layers.
        sda: Three stacked denoising autoencoders.
        corruption: Of these.
    """

    svm: float
    saa: float
    dbn: float
    sda: float
    corruption: float


PUBLISHED: Mapping[str, Row] = {
    "basic": Row(3.03, 3.46, 3.11, 2.80, 0.10),
    "rot": Row(11.11, 10.30, 10.30, 10.29, 0.10),
    "bg-rand": Row(14.58, 11.28, 6.73, 10.38, 0.40),
    "bg-img": Row(22.61, 23.00, 16.31, 16.68, 0.25),
    "rot-bg-img": Row(55.18, 51.93, 47.39, 44.49, 0.25),
    "rect": Row(2.15, 2.41, 2.60, 1.99, 0.10),
    "rect-img": Row(24.04, 24.05, 22.50, 21.59, 0.25),
    "convex": Row(19.13, 18.41, 18.63, 19.06, 0.10),
}
"""Vincent, Larochelle, Bengio & Manzagol, ICML 2008, table 1."""

SVM_RANGES: Mapping[str, tuple[float, float]] = {"basic": (2.5, 3.3), "rot": (10.4, 11.8), "bg-rand": (14.0, 15.6)}
"""Where a support vector machine must be on a set that is made as the original was, in percent."""

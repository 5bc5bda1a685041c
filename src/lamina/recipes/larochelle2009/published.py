"""The published table: test errors in percent, by set, start and number of hidden layers."""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED: Mapping[str, Mapping[str, tuple[float, float, float, float]]] = {
    "basic": {
        "random": (4.14, 4.03, 4.24, 4.47),
        "autoencoder": (3.87, 3.38, 3.37, 3.39),
        "rbm": (3.17, 2.74, 2.71, 2.72),
    },
    "rot": {
        "random": (15.22, 10.63, 11.98, 11.73),
        "autoencoder": (11.43, 9.88, 9.22, 9.20),
        "rbm": (10.47, 9.54, 8.80, 8.83),
    },
}
"""Larochelle, Bengio, Louradour & Lamblin, JMLR 10, 2009, section 6. Their MNIST-small is ``basic``."""

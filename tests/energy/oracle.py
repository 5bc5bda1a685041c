"""Machines of a few units, from the definition: every state of both layers, in NumPy."""

from __future__ import annotations

import itertools

import numpy as np

Array = np.ndarray


def states(values: list[list[float]], sites: int) -> Array:
    """All states of a layer; a value may stand for several units."""
    return np.array([np.concatenate(some) for some in itertools.product(np.atleast_2d(values), repeat=sites)])


def binary(n: int) -> Array:
    return states([[0.0], [1.0]], n)


def negative_energy(w: Array, b: Array, c: Array, v: Array, h: Array) -> Array:
    """b·v + c·h + h·W v for all pairs, (visible states, hidden states)."""
    return (v @ b)[:, None] + (h @ c)[None] + v @ w.T @ h.T


def log_sum(x: Array, axis: int | None = None) -> Array:
    top = x.max(axis=axis, keepdims=True)
    total = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return total.squeeze() if axis is None else total.squeeze(axis)


class Enumerated:
    """A Bernoulli machine with all its states."""

    def __init__(self, w: Array, b: Array, c: Array) -> None:
        self.v, self.h = binary(len(b)), binary(len(c))
        self.exponent = negative_energy(w, b, c, self.v, self.h)
        self.log_z = float(log_sum(self.exponent))
        self.joint = np.exp(self.exponent - self.log_z)

    def log_p(self, v: Array) -> Array:
        rows = [int(np.flatnonzero((self.v == row).all(1))[0]) for row in v]
        return log_sum(self.exponent, axis=1)[rows] - self.log_z

    def likelihood_gradient(self, v: Array) -> tuple[Array, Array, Array]:
        """Of the mean log p(v) with respect to W, b and c."""
        rows = [int(np.flatnonzero((self.v == row).all(1))[0]) for row in v]
        given = self.joint[rows] / self.joint[rows].sum(1, keepdims=True)
        data = np.zeros_like(self.joint)
        np.add.at(data, rows, given / len(rows))
        gap = data - self.joint
        return self.h.T @ gap.T @ self.v, gap.sum(1) @ self.v, gap.sum(0) @ self.h

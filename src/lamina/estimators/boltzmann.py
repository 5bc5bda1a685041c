"""Restricted Boltzmann machines as scikit-learn transformers: ``BernoulliRBM`` and ``GaussianRBM``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina.energy.contrastive_divergence import Reconstruction
from lamina.energy.units import Bernoulli, Gaussian, Units
from lamina.estimators.machine_base import MachineTransformer
from lamina.methodology.array_problem import hash_rows


class BernoulliRBM(MachineTransformer):
    """A machine of binary units; ``transform`` gives the means of the hidden ones, as features.

    Stands in for scikit-learn's ``BernoulliRBM``: parameters, attributes and methods of its names mean the same.
    Different are: it learns by contrastive divergence from the data, not from persistent chains (``persistent=True``
    is that); the visible biases start at the data's log-odds, not at 0; rows are shuffled before each pass; it trains
    in single precision; the unit that ``score_samples`` flips follows from the row and ``random_state``, so that a row
    scores the same in any company; sparse matrices are not taken.

    X holds numbers from 0 to 1, read as probabilities; scale others into that range first, by
    ``sklearn.preprocessing.MinMaxScaler`` for instance. As in scikit-learn other numbers are let through, with a
    warning, though they have no meaning as units.

    Args:
        n_components: Hidden units.
        learning_rate: Of weights and biases.
        batch_size: Rows an update; with persistent chains also the number of these.
        n_iter: Passes over the rows.
        sweeps: Gibbs sweeps an update, k of CD-k.
        persistent: Go on with chains of its own instead of starting at the data; wants a smaller rate.
        reconstruction: ``sample`` draws the visible units, ``mean`` sets them to their means.
        momentum: In [0, 1).
        weight_decay: Of the weights.
        sparsity: Wanted mean of the hidden units; None leaves it open.
        sparsity_cost: How much that matters.
        centred: Take the statistics about running means: for data mostly 0 or mostly 1.
        random_state: None, a whole number, a ``RandomState`` or a ``Generator``; global generators are left alone.
        verbose: Print a line an epoch on standard error.

    Attributes:
        components_: Weights, ``(n_components, D)``.
        intercept_hidden_: Hidden biases.
        intercept_visible_: Visible biases.
        machine_: The ``lamina.energy.RBM``, with its likelihoods, samplers and so on.
        history_: A record an epoch; ``loss`` is the reconstruction's cross-entropy in nats, no likelihood.
        n_iter_: Epochs made.
        n_features_in_: Columns of X.
        feature_names_in_: Their names, where X had names.

    Reference: Hinton, "A Practical Guide to Training Restricted Boltzmann Machines", 2010.
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        sweeps: int = 1,
        persistent: bool = False,
        reconstruction: Reconstruction = "sample",
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        sparsity: float | None = None,
        sparsity_cost: float = 1.0,
        centred: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.sweeps = sweeps
        self.persistent = persistent
        self.reconstruction = reconstruction
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.sparsity = sparsity
        self.sparsity_cost = sparsity_cost
        self.centred = centred
        self.random_state = random_state
        self.verbose = verbose

    def score_samples(self, X: Any) -> np.ndarray:
        """Return the log pseudo-likelihood of each row in nats by one flipped unit, as scikit-learn's.

            D log σ(F(v with unit i flipped) - F(v)),   i drawn evenly by the content of the row and random_state

        ``machine_.pseudo_likelihood(v)`` takes the mean over all i.

        Args:
            X: ``(N, D)`` of 0 and 1.

        Returns:
            ``(N,)`` float64.
        """
        x, v, machine = self._asked(X)
        flips = torch.from_numpy(_flips(x, self._seed))
        scores: np.ndarray = machine.pseudo_likelihood(v, flips).numpy()
        return scores

    def _units(self) -> Units:
        return Bernoulli()

    def _start(self, x: np.ndarray) -> None:
        low, high = float(x.min()), float(x.max())
        if low < 0.0 or high > 1.0:
            warnings.warn(
                f"X lies from {low:g} to {high:g}, and binary units take numbers from 0 to 1: "
                "scale X by MinMaxScaler, or use GaussianRBM",
                UserWarning,
                stacklevel=4,
            )

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        return x

    def _unscaled(self, v: np.ndarray) -> np.ndarray:
        return v

    def _drawn(self, v: Tensor) -> np.ndarray:
        return v.numpy().astype(bool)

    def _base(self, v: Tensor) -> Tensor:
        return v.clamp(0.0, 1.0)


class GaussianRBM(MachineTransformer):
    """A machine of real visible and binary hidden units: features of columns of numbers.

    X is standardised by itself, column by column; a column without variance counts as 0. Then

        v | h ~ N(b + Wᵀ h, σ²),   P(h = 1 | v) = σ(c + W v / σ²),   σ = 1 unless it is learnt

    Real data want a rate a tenth of the binary one's and more passes. As a density of pictures it is poor: each
    hidden unit adds a mean, and the pixels are independent given these.

    Args:
        n_components: Hidden units.
        learning_rate: Of weights and biases.
        batch_size: Rows an update; with persistent chains also the number of these.
        n_iter: Passes over the rows.
        learn_variance: Learn σ² of each column, too; the standard is 1. Wants a still smaller rate, and excludes
            ``centred``.
        sweeps: See ``BernoulliRBM``, as for all that follow.
        persistent: Go on with chains of its own.
        reconstruction: ``sample`` or ``mean``.
        momentum: In [0, 1).
        weight_decay: Of the weights.
        sparsity: Wanted mean of the hidden units, or None.
        sparsity_cost: How much that matters.
        centred: Take the statistics about running means.
        random_state: None, a whole number, a ``RandomState`` or a ``Generator``.
        verbose: Print a line an epoch on standard error.

    Attributes:
        mean_: Of the columns, in the first data seen (``partial_fit`` keeps those of its first call).
        scale_: Their standard deviations; 1 for a column without variance.
        components_: Weights, ``(n_components, D)``, for standardised columns.
        intercept_hidden_: Hidden biases.
        intercept_visible_: Visible biases, for standardised columns.
        machine_: The ``lamina.energy.RBM``.
        history_: A record an epoch; ``loss`` is half the squared distance of the reconstruction, no likelihood.
        n_iter_: Epochs made.
        n_features_in_: Columns of X.
        feature_names_in_: Their names, where X had names.

    Reference: Hinton & Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science 313, 2006;
    Cho, Ilin & Raiko, "Improved Learning of Gaussian-Bernoulli Restricted Boltzmann Machines", ICANN 2011.
    """

    mean_: np.ndarray
    scale_: np.ndarray

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.01,
        batch_size: int = 10,
        n_iter: int = 10,
        learn_variance: bool = False,
        sweeps: int = 1,
        persistent: bool = False,
        reconstruction: Reconstruction = "sample",
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        sparsity: float | None = None,
        sparsity_cost: float = 1.0,
        centred: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.learn_variance = learn_variance
        self.sweeps = sweeps
        self.persistent = persistent
        self.reconstruction = reconstruction
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.sparsity = sparsity
        self.sparsity_cost = sparsity_cost
        self.centred = centred
        self.random_state = random_state
        self.verbose = verbose

    def score_samples(self, X: Any) -> np.ndarray:
        """Return the log density of each row in nats but for the unknown constant -log Z: higher is likelier.

            -F((x - mean) / scale) - Σ log scale

        Rows of one machine compare, machines do not; see ``machine_`` and ``lamina.samplers`` for log Z.

        Args:
            X: ``(N, D)``.

        Returns:
            ``(N,)`` float64.
        """
        _, v, machine = self._asked(X)
        scores: np.ndarray = -machine.free_energy(v).numpy() - np.log(self.scale_).sum()
        return scores

    def _units(self) -> Units:
        return Gaussian(learn_variance=bool(self.learn_variance))

    def _start(self, x: np.ndarray) -> None:
        self.mean_ = x.mean(0, dtype=np.float64)
        deviation = x.std(0, dtype=np.float64)
        flat = deviation <= 10 * np.finfo(x.dtype).eps * np.abs(x).max(0)
        self.scale_ = np.where(flat, 1.0, deviation)

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (x - self.mean_) / self.scale_
        return scaled

    def _unscaled(self, v: np.ndarray) -> np.ndarray:
        raw: np.ndarray = v * self.scale_ + self.mean_
        return raw

    def _base(self, v: Tensor) -> Tensor:
        return v

    def _arrays(self) -> dict[str, Tensor]:
        return {"mean": torch.from_numpy(self.mean_), "scale": torch.from_numpy(self.scale_)}

    def _adopt(self, arrays: dict[str, Tensor]) -> None:
        self.mean_, self.scale_ = arrays["mean"].numpy(), arrays["scale"].numpy()
        if not (len(self.mean_) == len(self.scale_) == self.n_features_in_):
            raise ValueError("means and scales are not as many as columns")


def _flips(x: np.ndarray, seed: int) -> np.ndarray:
    """Return a column for each row, evenly drawn by its content and a seed.

    Returns:
        ``(N,)`` int64.

    Reference: Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014 (the mixing).
    """
    with np.errstate(over="ignore"):
        z = hash_rows(x) + np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z ^= z >> np.uint64(31)
    return (z % np.uint64(x.shape[1])).astype(np.int64)

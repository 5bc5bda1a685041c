"""A learning problem: inputs and targets as tensors, divided into parts, with what prepared them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.images import ImagePreparation
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.split import Split
from lamina.data.tables.targets import ClassTarget, CountTarget, Target
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Likelihood, Poisson
from lamina.runs.models import Spec


@dataclass(frozen=True)
class Problem:
    """What is to be learnt.

    Attributes:
        name: Of the source, as shown.
        inputs: ``(N, ...)`` all examples, on the CPU: a float matrix, or uint8 pictures.
        encoded: ``(N,)`` of one target, ``(N, T)`` of several.
        targets: What they are.
        split: Which examples train, stop the training, and test.
        preparation: Made the inputs, fitted on the training part.
        weights: ``(N,)`` averaging 1 over the training part, or None.
        hints: Targets that are predicted while training only.
        hinted: ``(N, number of hints)``, encoded; None without hints.
        unlabelled: ``(U, ...)`` inputs of examples without a target, or None.
    """

    name: str
    inputs: Tensor
    encoded: Tensor
    targets: tuple[Target, ...]
    split: Split
    preparation: TablePreparation | ImagePreparation
    weights: Tensor | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    hints: tuple[Target, ...] = ()
    hinted: Tensor | None = None
    unlabelled: Tensor | None = None

    @property
    def spec(self) -> Spec:
        """What the inputs look like to a model."""
        return self.preparation.spec

    @property
    def pictures(self) -> bool:
        """Whether the inputs are pictures."""
        return isinstance(self.preparation, ImagePreparation)

    @property
    def examples(self) -> Batch:
        """All examples; the parts are rows of it, never copies."""
        return Batch(self.inputs, self.encoded, self.weights)

    @property
    def taught(self) -> Batch:
        """All examples as training sees them: with the hints beside the targets."""
        if self.hinted is None:
            return self.examples
        targets = self.encoded.float().reshape(len(self.encoded), -1)
        return Batch(self.inputs, torch.cat([targets, self.hinted], dim=1), self.weights)

    def scored_rows(self, seed: int) -> dict[str, np.ndarray]:
        """Return the rows of each part on which figures are computed: all but at most ``SCORED_ROWS`` of training.

        Args:
            seed: Chooses them.

        Returns:
            ``train``, ``valid``, ``test`` to row numbers.
        """
        train = self.split.train
        if len(train) > SCORED_ROWS:
            train = np.sort(np.random.default_rng(seed).choice(train, SCORED_ROWS, replace=False))
        return {"train": train, "valid": self.split.valid, "test": self.split.test}


SCORED_ROWS = 50_000
"""More training examples would make an interval narrower than any line drawn."""


def likelihood_for(targets: tuple[Target, ...], smoothing: float = 0.0, beta: float = 0.0) -> Likelihood:
    """Choose the likelihood by the kind of target: output unit and cost function belong together.

    Categories are categorical, two of them Bernoulli, numbers Gaussian with learnt variance, counts Poisson; several
    targets are independent heads on one network.

    Args:
        targets: One or more.
        smoothing: Label smoothing ε of categorical targets.
        beta: Weighting β of the learnt spread of numbers.

    Returns:
        The likelihood.

    Reference: Goodfellow et al., Deep Learning, 2016, section 6.2.2.
    """
    heads: list[Likelihood] = []
    for target in targets:
        if isinstance(target, ClassTarget):
            two = len(target.classes) == 2 and smoothing == 0.0
            heads.append(Bernoulli() if two else Categorical(len(target.classes), smoothing))
        else:
            heads.append(Poisson() if isinstance(target, CountTarget) else Gaussian(beta=beta))
    return heads[0] if len(heads) == 1 else Heads(tuple(heads), tuple(t.name for t in targets))


def encode_targets(targets: tuple[Target, ...], columns: list[Any]) -> Tensor:
    """Encode target columns as the likelihood of ``likelihood_for`` takes them.

    Args:
        targets: What they are.
        columns: Their values, as ``target.encode`` takes them.

    Returns:
        ``(N,)`` codes or numbers of one target, ``(N, T)`` float32 of several.
    """
    encoded = [target.encode(column) for target, column in zip(targets, columns, strict=True)]
    if len(encoded) == 1:
        only = targets[0]
        if isinstance(only, ClassTarget):
            return torch.from_numpy(np.asarray(encoded[0], np.int64))
        return torch.from_numpy(np.asarray(encoded[0], np.float32))
    return torch.from_numpy(np.stack([np.asarray(e, np.float32) for e in encoded], axis=1))

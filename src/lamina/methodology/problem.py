"""A learning problem: inputs and targets as tensors, divided into parts, with what prepared them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.images import ImagePreparation
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.split import Split
from lamina.data.tables.targets import ClassTarget, CountTarget, Target
from lamina.errors import ConfigError, shown
from lamina.likelihoods import Bernoulli, Categorical, Gaussian, Heads, Likelihood, Poisson
from lamina.runs.lines import LikelihoodChoice, read_likelihood
from lamina.runs.models import Spec
from lamina.runs.settings import Settings


@dataclass(frozen=True)
class Problem:
    """What is to be learnt.

    Attributes:
        name: Of the source, as shown.
        inputs: ``(N, ...)`` all examples, on the CPU: a float matrix, or uint8 pictures.
        encoded: ``(N,)`` of one target, ``(N, T)`` of several.
        targets: What they are.
        split: Which examples train with their target, stop the training, and test.
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
    def n_training(self) -> int:
        """Number of examples that train, with a target or without."""
        return len(self.split.train) + (0 if self.unlabelled is None else len(self.unlabelled))

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of pictures without a class; the findings of a table say it of its rows."""
        return (str(self.facts["targets"]),) if "targets" in self.facts else ()

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


def likelihood_for(
    targets: tuple[Target, ...], smoothing: float = 0.0, beta: float = 0.0, chosen: str | None = None
) -> Likelihood:
    """Choose the likelihood by the kind of target: output unit and cost function belong together.

    Categories are categorical, two of them Bernoulli, numbers Gaussian with learnt variance, counts Poisson; several
    targets are independent heads on one network. What was chosen by name takes the place of these for all targets of
    its kind; a full Gaussian or a mixture reads several numbers together.

    Args:
        targets: One or more.
        smoothing: Label smoothing ε of categorical targets.
        beta: Weighting β of the learnt spread of numbers, where they are Gaussian.
        chosen: ``NAME[:OPTION=VALUE...]``, or None.

    Returns:
        The likelihood. One that fits no target, or not these, is a ``ConfigError``.

    Reference: Goodfellow et al., Deep Learning, 2016, section 6.2.2.
    """
    choice = None if chosen is None else read_likelihood(chosen)
    if choice is not None:
        _check_fits(choice, targets, smoothing)
        if choice.joint and len(targets) > 1:
            return choice.build(n_targets=len(targets))
    heads = [_head(target, smoothing, beta, choice) for target in targets]
    return heads[0] if len(heads) == 1 else Heads(tuple(heads), tuple(t.name for t in targets))


def likelihood_of(settings: Settings, targets: tuple[Target, ...]) -> Likelihood:
    """Return the likelihood of targets that completed settings ask for; see ``likelihood_for``."""
    return likelihood_for(targets, settings.smoothing or 0.0, settings.beta, settings.likelihood)


def _head(target: Target, smoothing: float, beta: float, choice: LikelihoodChoice | None) -> Likelihood:
    """Return the likelihood of one target alone."""
    kind = _kind(target)
    if choice is not None and choice.kind != kind:
        choice = None
    if isinstance(target, ClassTarget):
        two = len(target.classes) == 2 and smoothing == 0.0
        if two and (choice is None or choice.name == "bernoulli"):
            return Bernoulli()
        return Categorical(len(target.classes), smoothing)
    if choice is None:
        return Poisson() if kind == "count" else Gaussian(beta=beta)
    return choice.build(**({"beta": beta} if choice.name == "gaussian" else {}))


def _kind(target: Target) -> Literal["classes", "number", "count"]:
    if isinstance(target, ClassTarget):
        return "classes"
    return "count" if isinstance(target, CountTarget) else "number"


_ARE = {"classes": "classes", "number": "numbers", "count": "counts"}


def _check_fits(choice: LikelihoodChoice, targets: tuple[Target, ...], smoothing: float) -> None:
    """Refuse a likelihood that no target, or one of them, cannot have.

    Raises:
        ConfigError: If it does not fit.
    """
    kinds = [_kind(target) for target in targets]
    names = ", ".join(shown(target.name, 30) for target in targets[:5])
    if choice.kind not in kinds:
        mend = f"use --task {choice.kind}" if choice.kind != "classes" and kinds[0] != "classes" else "leave it out"
        raise ConfigError(
            f"{choice.name} is for {_ARE[choice.kind]}, and {names} holds {_ARE[kinds[0]]}",
            where="likelihood",
            mend=mend,
        )
    if choice.joint and len(targets) > 1 and set(kinds) != {"number"}:
        raise ConfigError(
            f"{choice.name} reads several targets together, which must all be numbers: {names}",
            where="likelihood",
            mend="use student-t or gaussian, which give each number a head of its own",
        )
    if choice.name == "full-gaussian" and len(targets) == 1:
        raise ConfigError(
            f"full-gaussian is for two numbers or more, and there is one: {names}",
            where="likelihood",
            mend="use gaussian, or give --target several times",
        )
    if choice.name == "bernoulli":
        many = [t for t in targets if isinstance(t, ClassTarget) and len(t.classes) != 2]
        if many or smoothing:
            why = f"{shown(many[0].name)} has {len(many[0].classes)}" if many else "label smoothing needs categorical"
            raise ConfigError(
                f"bernoulli is for two classes without label smoothing: {why}",
                where="likelihood",
                mend="use categorical",
            )


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

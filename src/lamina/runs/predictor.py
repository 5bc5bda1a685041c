"""Predictor: a trained network with all that stands around it, from raw data to answers in their own terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lamina.data.images import ImagePreparation, ImageSet
from lamina.data.tables.frame import table_from
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.table import Table
from lamina.data.tables.targets import ClassTarget, NumberTarget, Target, target_from_json
from lamina.errors import CheckpointError, ConfigError, DataError, shown
from lamina.io import (
    pack_arrays,
    read_generation,
    refuse_foreign,
    tensor_pieces,
    unpack_arrays,
    unpack_tensors,
    write_generation,
)
from lamina.io.atomic import Content
from lamina.io.strict_json import guarded_bytes, parse_guarded
from lamina.likelihoods import Heads, Likelihood, Rejecting
from lamina.likelihoods.registry import from_json as likelihood_from_json
from lamina.likelihoods.registry import to_json as likelihood_to_json
from lamina.runs.dropout_inference import DropoutInference
from lamina.runs.models import ModelCard
from lamina.training.evaluation import outputs_of

CARD, WEIGHTS, PREPARATION = "model.json", "model.safetensors", "preparation.safetensors"
KIND = "lamina model"
LEVEL = 0.9

Preparation = TablePreparation | ImagePreparation


@dataclass(frozen=True)
class TargetPrediction:
    """What is said about one target column, N answers.

    Attributes:
        target: The column and what it is.
        prediction: ``(N,)`` labels as they were given, None where an answer is refused, or numbers in the column's own
            unit.
        probabilities: ``(N, K)`` in the order of ``target.classes``, or None for numbers.
        low: ``(N,)`` lower end of the 90 % predictive interval, or None for classes.
        high: ``(N,)`` its upper end, or None for classes.
    """

    target: Target
    prediction: np.ndarray
    probabilities: np.ndarray | None = None
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def without(self, refused: np.ndarray) -> TargetPrediction:
        """Return the answers with None where they are refused, ``(N,)`` truth values; numbers stay."""
        if not isinstance(self.target, ClassTarget):
            return self
        prediction = self.prediction.astype(object)
        prediction[refused] = None
        return replace(self, prediction=prediction)

    def columns(self, prefix: str = "") -> dict[str, np.ndarray]:
        """Return the answers as named columns: ``prediction``, then ``p_<class>`` or ``low`` and ``high``.

        Args:
            prefix: Stands before each name where there are several targets.

        Returns:
            Name to ``(N,)``.
        """
        columns = {f"{prefix}prediction": self.prediction}
        if self.probabilities is not None and isinstance(self.target, ClassTarget):
            for k, label in enumerate(self.target.classes):
                columns[f"{prefix}p_{label}"] = self.probabilities[:, k]
        if self.low is not None and self.high is not None:
            columns |= {f"{prefix}low": self.low, f"{prefix}high": self.high}
        return columns


@dataclass(frozen=True)
class Predictor:
    """A network, how its inputs are prepared, and what its outputs mean.

    Attributes:
        card: What the network is built from.
        model: The network, in evaluation mode.
        preparation: Fitted on the training part.
        targets: The columns that are predicted.
        likelihood: Reads the network's outputs.
        facts: Plain facts to keep with it: where it comes from.
        inference: Whose answers are averaged where it was trained with dropout; None scales the weights.
    """

    card: ModelCard
    model: nn.Module
    preparation: Preparation
    targets: tuple[Target, ...]
    likelihood: Likelihood
    facts: Mapping[str, Any]
    inference: DropoutInference | None = None

    def __post_init__(self) -> None:
        self.model.eval()

    def prepare(self, data: Any, *, strict: bool = False) -> tuple[Tensor, Any]:
        """Turn raw data into the network's inputs.

        Args:
            data: A ``Table`` or any frame or 2-D array for a table model; an ``ImageSet`` or a uint8 array
                ``(N, C, H, W)`` for a picture model.
            strict: Refuse missing cells in columns that had none in training.

        Returns:
            The inputs and the report of what had to be done. Missing columns, and what ``strict`` finds, are a
            ``DataError``.

        Raises:
            ConfigError: If the data are of the other kind.
        """
        if isinstance(self.preparation, ImagePreparation):
            if isinstance(data, np.ndarray):
                data = ImageSet("the array", data if data.ndim == 4 else data[:, None])
            if not isinstance(data, ImageSet):
                raise ConfigError("this model reads pictures, and a table was given", where="predict")
            pixels, image_report = self.preparation.transform(data)
            return torch.from_numpy(np.require(pixels, requirements=["C", "W"])), image_report
        if isinstance(data, ImageSet):
            raise ConfigError("this model reads tables, and pictures were given", where="predict")
        table = data if isinstance(data, Table) else table_from(data)
        matrix, table_report = self.preparation.transform(table)
        if strict:
            _refuse_surprises(table, table_report)
        return torch.from_numpy(matrix), table_report

    def outputs(self, inputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return the network's outputs on the CPU, ``(n, n_outputs)``, for some rows of the inputs or all."""
        return self.outputs_by(self.model, inputs, rows).float().cpu()

    def outputs_by(self, model: nn.Module, inputs: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return what ``outputs`` does, from a copy of the network in its precision and on its device.

        Args:
            model: The network, or a copy of it.
            inputs: ``(N, ...)``.
            rows: Which of the inputs to take; all if not given.

        Returns:
            ``(n, n_outputs)``.
        """
        if self.inference is not None:
            return self.inference.outputs(model, inputs, self.likelihood, rows)
        return outputs_of(model, inputs, rows=rows)

    def read(self, outputs: Tensor, *, refuse_below: float = 0.0) -> tuple[TargetPrediction, ...]:
        """Say what outputs mean.

        Args:
            outputs: ``(N, n_outputs)``.
            refuse_below: t of ``lamina.likelihoods.Rejecting``; 0 refuses nothing.

        Returns:
            One prediction a target.
        """
        answers = tuple(_read(*parts) for parts in self.heads(outputs))
        if not refuse_below:
            return answers
        refused = self.refused(outputs, refuse_below)
        return tuple(answer.without(refused) for answer in answers)

    def refused(self, outputs: Tensor, threshold: float) -> np.ndarray:
        """Say where the model does not answer: where its classes, all of them together, have p(ŷ | x) < threshold.

        Args:
            outputs: ``(N, n_outputs)``.
            threshold: t in [0, 1].

        Returns:
            ``(N,)`` truth values.

        Raises:
            ConfigError: If the model predicts no classes, or the threshold is out of range.
        """
        if not 0.0 <= threshold <= 1.0:
            raise ConfigError(
                f"must lie between 0 and 1, got {threshold:g}", where="refuse_below", mend="use 0.9, a probability"
            )
        heads = [(head, piece) for target, head, piece, _ in self.heads(outputs) if isinstance(target, ClassTarget)]
        if not heads:
            raise ConfigError(
                "the model predicts numbers, and only classes can be refused",
                where="refuse_below",
                mend="look at the width of low to high instead",
            )
        whole = torch.ones(outputs.shape[0], dtype=torch.float64)
        with torch.no_grad():
            for head, piece in heads:
                whole *= Rejecting(head, threshold).confidence(piece.double())  # type: ignore[arg-type]
        return np.asarray((whole < threshold).numpy())

    def heads(self, outputs: Tensor) -> list[tuple[Target, Likelihood, Tensor, int]]:
        """Say what reads each target.

        Args:
            outputs: ``(N, n_outputs)``.

        Returns:
            For each target its likelihood, the outputs that this reads, and the column of its answers that is the
            target's: above 0 only where one likelihood reads several targets together.
        """
        if isinstance(self.likelihood, Heads):
            pieces = self.likelihood.split(outputs)
            every = zip(self.targets, self.likelihood.likelihoods, pieces, strict=True)
            return [(target, head, piece, 0) for target, head, piece in every]
        return [(target, self.likelihood, outputs, place) for place, target in enumerate(self.targets)]

    def predict(self, data: Any, *, strict: bool = False, refuse_below: float = 0.0) -> tuple[TargetPrediction, ...]:
        """Predict from raw data.

        Args:
            data: As in ``prepare``.
            strict: As in ``prepare``.
            refuse_below: As in ``read``.

        Returns:
            One prediction a target.
        """
        inputs, _ = self.prepare(data, strict=strict)
        return self.read(self.outputs(inputs), refuse_below=refuse_below)

    def log_prob(self, outputs: Tensor, targets: Tensor) -> np.ndarray:
        """Return log p of each example in nats, densities per unit of the target columns as they were given.

        Args:
            outputs: ``(N, n_outputs)``.
            targets: As encoded for training.

        Returns:
            ``(N,)`` float64.
        """
        with torch.no_grad():
            values = self.likelihood.log_prob(outputs.double(), _as_double(targets)).numpy()
        scales = [t.scale for t in self.targets if isinstance(t, NumberTarget)]
        return np.asarray(values - np.sum(np.log(scales)), np.float64)

    def save(self, path: str | Path) -> Path:
        """Write the model as a folder of data: JSON and safetensors under a manifest; no code, no pickle.

        Args:
            path: The folder to make; one that is a lamina model is replaced.

        Returns:
            The folder.
        """
        path = Path(path)
        facts, arrays = self.preparation.state()
        card = {
            "model": self.card.to_json(),
            "likelihood": likelihood_to_json(self.likelihood),
            "targets": [target.to_json() for target in self.targets],
            "preparation": {
                "kind": "images" if isinstance(self.preparation, ImagePreparation) else "table",
                "facts": facts,
            },
            "facts": dict(self.facts),
        }
        if self.inference is not None:
            card["inference"] = self.inference.to_json()
        files: dict[str, Content] = {
            CARD: guarded_bytes(card, KIND),
            WEIGHTS: tensor_pieces({name: value.cpu() for name, value in self.model.state_dict().items()}),
            PREPARATION: pack_arrays(arrays),
        }
        return write_generation(path.parent, path.name, files, {"kind": KIND})

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> Predictor:
        """Read a model back; every file is checked against its hash, every value against what it may be.

        Args:
            path: A model folder, or a run folder with one in it.
            device: Where the network is to compute.

        Returns:
            The predictor.

        Raises:
            CheckpointError: If it is no lamina model, or damaged, or from a newer version.
        """
        folder = Path(path)
        if (folder / "run.toml").exists() or (folder / "model").is_dir():
            folder = folder / "model"
            if not folder.exists():
                raise CheckpointError(
                    "holds no model: the fit has not come so far",
                    where=shown(path, 200),
                    mend=f"go on with: lamina fit --resume {shown(path, 200)}",
                )
        refuse_foreign(folder, "manifest.json")
        generation = read_generation(folder)
        for name in (CARD, WEIGHTS, PREPARATION):
            if name not in generation.files:
                raise CheckpointError(f"{name} is missing", where=str(folder), mend="use an intact copy of the run")
        where = str(folder / CARD)
        content = parse_guarded(generation.files[CARD], KIND, 1, where)
        try:
            card = ModelCard.from_json(content["model"], where=where)
            likelihood = likelihood_from_json(content["likelihood"], where)
            targets = tuple(target_from_json(entry) for entry in content["targets"])
            arrays = unpack_arrays(generation.files[PREPARATION], name=str(folder / PREPARATION))
            read: dict[str, Callable[..., Preparation]] = {
                "images": ImagePreparation.from_state,
                "table": TablePreparation.from_state,
            }
            preparation = read[content["preparation"]["kind"]](content["preparation"]["facts"], arrays)
            facts = dict(content["facts"])
            inference = DropoutInference.from_json(content.get("inference"), where=where)
        except CheckpointError as error:
            if error.where.startswith(str(folder)):
                raise
            raise CheckpointError(str(error), where=where, mend="use an intact copy of the run") from None
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"its content cannot be used: {shown(repr(error))}", where=where, mend="use an intact copy of the run"
            ) from None
        weights = unpack_tensors(generation.files[WEIGHTS], name=str(folder / WEIGHTS))
        model = _with_weights(card, weights, str(folder / WEIGHTS)).to(device)
        together = card.n_outputs == likelihood.n_outputs and card.spec == preparation.spec
        if not together or getattr(likelihood, "n_targets", 1) != len(targets):
            raise CheckpointError("network, preparation and likelihood do not fit together", where=where)
        return cls(card, model, preparation, targets, likelihood, facts, inference)


def _refuse_surprises(table: Table, report: Any) -> None:
    """Refuse missing cells and categories that training did not have.

    Raises:
        DataError: If there are any.
    """
    for what, found in (
        ("missing cells", report.imputed),
        ("cells with a category unknown to the model", report.unseen),
    ):
        for column, count in found.items():
            raise DataError(
                f'column "{shown(column)}" has {count:,} {what}',
                where=shown(table.name, 200),
                mend="correct them, or leave out --strict",
            )


def _as_double(targets: Tensor) -> Tensor:
    return targets.double() if targets.is_floating_point() else targets


def _with_weights(card: ModelCard, weights: dict[str, Tensor], where: str) -> nn.Module:
    with torch.device("meta"):
        model = card.build()
    expected = model.state_dict()
    for name, value in expected.items():
        if name not in weights:
            raise CheckpointError(f'the tensor "{name}" is missing', where=where, mend="use an intact copy of the run")
        if weights[name].shape != value.shape or weights[name].dtype != value.dtype:
            raise CheckpointError(
                f'the tensor "{shown(name)}" has shape {tuple(weights[name].shape)} ({weights[name].dtype}), '
                f"and the network needs {tuple(value.shape)} ({value.dtype})",
                where=where,
                mend="use an intact copy of the run",
            )
    unknown = sorted(set(weights) - set(expected))
    if unknown:
        raise CheckpointError(f'the tensor "{shown(unknown[0])}" belongs to no layer', where=where)
    model.load_state_dict(weights, assign=True)
    return model


def _read(target: Target, likelihood: Likelihood, outputs: Tensor, place: int) -> TargetPrediction:
    with torch.no_grad():
        if isinstance(target, ClassTarget):
            probabilities = likelihood.probabilities(outputs.double()).numpy()  # type: ignore[attr-defined]
            return TargetPrediction(target, target.decode(probabilities.argmax(1)), probabilities)
        mean = column_of(likelihood.mean(outputs.double()), place)
        low, high = (column_of(end, place) for end in likelihood.interval(outputs.double(), LEVEL))  # type: ignore[attr-defined]
    if isinstance(target, NumberTarget) and target.low == target.high:  # training knew one number: the model is that
        mean, low, high = (np.zeros_like(mean) for _ in range(3))
    return TargetPrediction(target, target.decode(mean), None, target.decode(low), target.decode(high))


def column_of(answers: Tensor, place: int) -> np.ndarray:
    """Return one target's column of ``(N,)`` or ``(N, T)`` answers, ``(N,)``."""
    return np.asarray((answers if answers.ndim == 1 else answers[:, place]).numpy())

"""``DeepBeliefNetwork``: sigmoid layers pre-trained one by one as Boltzmann machines, then trained to classify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from lamina.data.tables.encoders import NumberEncoder
from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.scale import Scale
from lamina.data.tables.table import Table
from lamina.energy.contrastive_divergence import Reconstruction
from lamina.errors import ConfigError, DataError, shown
from lamina.estimators.classifier import NeuralClassifier
from lamina.methodology.array_problem import NumberColumns
from lamina.runs.settings import Settings
from lamina.training.evaluation import outputs_of
from lamina.training.hidden_layers import hidden_layers

_AS_IS = Scale("standard", 0.0, 1.0)
_INPUTS = ("auto", "bernoulli", "gaussian")


class DeepBeliefNetwork(ClassNamePrefixFeaturesOutMixin, TransformerMixin, NeuralClassifier):  # type: ignore[misc]
    """Predict classes with a network whose layers first learnt, greedily and without y, as a deep belief network.

        for k = 1 … L:   an RBM learns the means of layer k-1 by contrastive divergence; its W and c start layer k
        then            all layers and a new output layer learn p(y | x) by the loop of ``NeuralClassifier``

    ``transform`` gives the means of the top hidden layer, of the fine-tuned network. X is read, kept in part to stop
    by, saved and reported on as by ``NeuralClassifier``, of which this is one with ``activation="sigmoid"`` and
    ``pretrain="rbm:…"``; but numbers that all lie from 0 to 1 are probabilities to it, and are not standardised.

    Not where there are many labelled rows: ``NeuralClassifier`` with rectified units learns as well and faster.
    Where few of many rows have labels, pre-training pays: fit a pipeline of ``BernoulliRBM`` on all rows, or give
    ``lamina fit`` rows without a target. The generative model itself, with its samples and bounds, is
    ``lamina.energy.DeepBeliefNetwork``.

    Args:
        hidden: Units of each hidden layer, from below; a number for one layer.
        pretrain_epochs: Passes of each layer over all rows.
        pretrain_rate: Its learning rate; of a layer with Gaussian visible units a tenth of that.
        sweeps: Gibbs sweeps an update, k of CD-k.
        persistent: Persistent chains while pre-training.
        reconstruction: ``sample`` or ``mean``, see ``BernoulliRBM``.
        pretrain_momentum: In [0, 1), while pre-training.
        pretrain_decay: Weight decay while pre-training.
        sparsity: Wanted mean of the hidden units while pre-training, or None.
        passing: What the next layer learns from: ``means`` or ``samples``.
        inputs: What X is to the first layer: ``bernoulli``, from 0 to 1 and taken as it is; ``gaussian``, standardised;
            ``auto`` takes the first where all numbers are of that kind.
        dropout: Share of hidden units left out while fine-tuning.
        epochs: Most passes while fine-tuning. None: by the number of rows, as for all that follow.
        minutes: Stop training after this long.
        batch_size: Rows a step, of pre-training too.
        learning_rate: Largest learning rate of fine-tuning. None: 0.001.
        weight_decay: Decoupled weight decay, of ``adamw``. None: 0.01.
        optimizer: See ``NeuralClassifier``, as for all that follow.
        momentum: Of ``sgd`` and ``rmsprop``.
        schedule: Course of the learning rate.
        patience: Epochs without progress on validation before stopping.
        validation_fraction: Share of the rows kept to stop by.
        second_pass: After early stopping ``retrain`` on all rows (which pre-trains again), ``continue`` or ``none``.
        categorical: Names or positions of columns to take as categories.
        device: Where it trains.
        threads: CPU threads while training.
        random_state: None, a whole number, a ``RandomState`` or a ``Generator``.
        verbose: Print a line an epoch on standard error.

    Attributes:
        classes_: The labels, sorted.
        predictor_: Network and preparation, as ``lamina.load`` returns.
        settings_: The settings in force.
        history_: A record an epoch of fine-tuning.
        n_iter_: Epochs of fine-tuning.
        best_epoch_: The epoch whose weights are used.
        notes_: What was decided about the columns.
        n_features_in_: Columns of X.
        feature_names_in_: Their names, where X had names.

    Reference: Hinton, Osindero & Teh, "A Fast Learning Algorithm for Deep Belief Nets", Neural Computation 18, 2006;
    Bengio, Lamblin, Popovici & Larochelle, "Greedy Layer-Wise Training of Deep Networks", NeurIPS 2006.
    """

    def __init__(
        self,
        hidden: int | Sequence[int] = (256, 256),
        *,
        pretrain_epochs: int = 10,
        pretrain_rate: float = 0.05,
        sweeps: int = 1,
        persistent: bool = False,
        reconstruction: Reconstruction = "sample",
        pretrain_momentum: float = 0.0,
        pretrain_decay: float = 0.0,
        sparsity: float | None = None,
        passing: Literal["means", "samples"] = "means",
        inputs: Literal["auto", "bernoulli", "gaussian"] = "auto",
        dropout: float | None = 0.0,
        epochs: int | None = None,
        minutes: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        optimizer: str = "adamw",
        momentum: float = 0.9,
        schedule: str | None = None,
        patience: int | None = None,
        validation_fraction: float | None = None,
        second_pass: Literal["none", "retrain", "continue"] | None = None,
        categorical: Sequence[str | int] | None = None,
        device: str = "auto",
        threads: int | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.pretrain_epochs = pretrain_epochs
        self.pretrain_rate = pretrain_rate
        self.sweeps = sweeps
        self.persistent = persistent
        self.reconstruction = reconstruction
        self.pretrain_momentum = pretrain_momentum
        self.pretrain_decay = pretrain_decay
        self.sparsity = sparsity
        self.passing = passing
        self.inputs = inputs
        self.dropout = dropout
        self.epochs = epochs
        self.minutes = minutes
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.momentum = momentum
        self.schedule = schedule
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.second_pass = second_pass
        self.categorical = categorical
        self.device = device
        self.threads = threads
        self.random_state = random_state
        self.verbose = verbose

    def transform(self, X: Any) -> np.ndarray:
        """Return the means of the top hidden layer of the fine-tuned network, ``(N, hidden[-1])`` float64."""
        check_is_fitted(self)
        network = self._network
        assert isinstance(network, nn.Sequential)
        _, last = hidden_layers(network, "DeepBeliefNetwork")
        body = nn.Sequential(*(child for name, child in network.named_children() if name != last))
        features: np.ndarray = outputs_of(body, torch.from_numpy(self._prepared(X)).double()).numpy()
        return features

    @property
    def _n_features_out(self) -> int:
        _, last = hidden_layers(self._network, "DeepBeliefNetwork")  # type: ignore[arg-type]
        return int(self._network.get_submodule(last).in_features)  # type: ignore[arg-type]

    def _settings_given(self) -> dict[str, Any]:
        if self.inputs not in _INPUTS:
            raise ConfigError(
                f"inputs must be one of {', '.join(_INPUTS)}, got {shown(self.inputs)}", where=type(self).__name__
            )
        same = {
            name: value for name, value in super()._settings_given().items() if name in Settings.__dataclass_fields__
        }
        learner = {
            "epochs": self.pretrain_epochs,
            "rate": self.pretrain_rate,
            "sweeps": self.sweeps,
            "persistent": self.persistent,
            "reconstruction": self.reconstruction,
            "momentum": self.pretrain_momentum,
            "weight_decay": self.pretrain_decay,
            "sparsity": self.sparsity,
            "passing": self.passing,
            "inputs": None if self.inputs == "auto" else self.inputs,
        }
        line = ":".join(["rbm", *(f"{name}={_word(value)}" for name, value in learner.items() if value is not None)])
        return {**same, "activation": "sigmoid", "pretrain": line}

    def _prepare_for_fit(
        self, data: np.ndarray | Table, frame: Any, train_rows: np.ndarray, settings: Settings
    ) -> tuple[TablePreparation, np.ndarray]:
        prepared = super()._prepare_for_fit(data, frame, train_rows, settings)
        if self.inputs == "gaussian":
            return prepared
        within = isinstance(data, np.ndarray) and bool(((data >= 0) & (data <= 1) | np.isnan(data)).all())
        if not within:
            if self.inputs == "bernoulli":
                raise DataError(
                    "does not hold numbers from 0 to 1 only", where="X", mend='scale it, or use inputs="gaussian"'
                )
            return prepared
        assert isinstance(data, np.ndarray)
        encoders = {
            name: replace(encoder, scale=_AS_IS)
            for name, encoder in prepared[0].encoders.items()
            if isinstance(encoder, NumberEncoder)
        }
        preparation = TablePreparation(dict(encoders))
        self._numbers = NumberColumns.of(preparation)
        assert self._numbers is not None
        return preparation, self._numbers.transform(data)


def _word(value: Any) -> str:
    return str(bool(value)).lower() if isinstance(value, bool | np.bool_) else str(value)

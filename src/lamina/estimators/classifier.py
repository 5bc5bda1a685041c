"""``NeuralClassifier``: a multilayer perceptron for classes, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor

from lamina.data.tables.targets import ClassTarget, Target
from lamina.errors import CheckpointError, DataError, shown
from lamina.estimators.base import NeuralEstimator
from lamina.likelihoods import Bernoulli
from lamina.runs.predictor import Predictor


class NeuralClassifier(ClassifierMixin, NeuralEstimator):  # type: ignore[misc]
    """Predict classes with a multilayer perceptron, trained by the one loop of ``lamina fit``.

    X may be a numpy array, or a pandas, polars or pyarrow frame with numbers, truth values, categories, dates and
    missing cells; what prepares it is fitted on the training part only. A part of the rows is kept to stop by, and the
    weights of the best epoch are used. A result follows from ``random_state`` alone; up to 20,000 rows their order has
    no influence.

    Args:
        hidden: Units of each hidden layer; a number for one layer. None: by the number of rows.
        activation: Hidden non-linearity, as ``lamina.nn.MLP`` has it: ``relu``, ``tanh``, ``leaky_relu:slope=0.1``, ...
        normalisation: Of the hidden units' sums: ``batch``, ``layer`` or ``weight``.
        connections: How hidden layers are joined: ``residual``, ``highway`` (both of as many units each) or ``skip``.
        low_rank: Width of a linear bottleneck within the hidden layers' weights.
        features: What is made of the columns once, ``NAME[:OPTION=VALUE...]``: ``pca:components=5``,
            ``polynomial:degree=2``, ``random:units=500``; several joined by ``+``.
        dropout: Share of hidden units left out while training. None: 0.1.
        dropout_inference: How it answers: with scaled weights, or with the mean of sub-networks.
        dropout_passes: Sub-networks of that mean.
        smoothing: Label smoothing, the share of probability moved to the other classes.
        epochs: Most passes over the training rows. None: by the number of rows.
        minutes: Stop training after this long.
        batch_size: Rows a step. None: by the number of rows.
        learning_rate: Largest learning rate. None: 0.001.
        weight_decay: Decoupled weight decay, of ``adamw``. None: 0.01.
        penalty: Terms added to the loss, each ``NAME:COEFFICIENT[:OPTION=VALUE...]``: ``("tangent:0.1",)``.
        bag: Networks trained on bootstrap samples, whose answers are averaged.
        pretrain: How the hidden layers learn first, ``NAME[:OPTION=VALUE...]``: ``rbm:epochs=10`` (with
            ``activation="sigmoid"``), ``autoencoder``, ``denoising:corruption=0.25`` or ``discriminative:epochs=3``.
            None: they do not.
        learn_unlabelled: Rows of the label -1 have none, and train without it: through penalties that need none
            (``virtual-adversarial``, ``entropy``, ...) or ``pretrain``. Of their ``sample_weight`` only 0 counts.
        optimizer: ``NAME[:OPTION=VALUE...]``, a name of ``lamina.optim.OPTIMIZERS``: ``adamw``, ``lbfgs:memory=20``.
        momentum: Of ``sgd`` and ``rmsprop``.
        schedule: Course of the learning rate: ``constant``, ``cosine``, ``linear``, ``one-cycle``, ``plateau``,
            ``step``, ``exponential``, ``inverse-time``, ``cosine-restarts``, ``warm-cosine`` or ``warm-linear``.
        patience: Epochs without progress on validation before stopping.
        validation_fraction: Share of the rows kept to stop by; 0 for none. None: a tenth, of few rows up to a quarter.
            Where it would be fewer than 10 rows all rows train, and the training loss decides.
        second_pass: After early stopping ``retrain`` for as many steps on all rows, ``continue`` on them, or ``none``.
            None: by the number of rows.
        clip_norm: Rescale the gradient to at most this norm.
        clip_value: Clip each element of the gradient to plus or minus this.
        numeric: How numbers are scaled: ``standard``, ``robust`` or ``quantile``.
        categorical: Names or positions of columns to take as categories whatever they hold.
        model: ``mlp`` or ``linear``.
        device: ``auto``, ``cpu``, ``cuda`` ...: where it trains. It predicts on the CPU.
        threads: CPU threads while training. None: by the work of a step.
        step: ``auto``, ``autograd`` or ``backprop``.
        settings: Others of ``lamina fit`` by name, as ``{"hidden_noise": 0.1, "initialisation": "sparse:k=15"}``: those
            of ``lamina.estimators.other_settings.OTHERS``.
        random_state: None, a whole number, a ``RandomState`` or a ``Generator``; global generators are left alone.
        verbose: Print a line an epoch on standard error.

    Attributes:
        classes_: The labels, sorted, of the type they were given in; -1 is none of them with ``learn_unlabelled``.
        predictor_: Network and preparation, as ``lamina.load`` returns.
        settings_: The settings in force, those chosen from the data included.
        history_: A record an epoch.
        n_iter_: Epochs made.
        best_epoch_: The epoch whose weights are used.
        notes_: What was decided about the columns.
        n_features_in_: Columns of X.
        feature_names_in_: Their names, where X had names.
    """

    classes_: np.ndarray

    def __init__(
        self,
        hidden: int | Sequence[int] | None = None,
        *,
        activation: str = "relu",
        normalisation: Literal["none", "batch", "batch-unbiased", "layer", "weight"] = "none",
        connections: Literal["plain", "residual", "highway", "skip"] = "plain",
        low_rank: int | None = None,
        features: str | None = None,
        dropout: float | None = None,
        dropout_inference: Literal["weight-scaling", "monte-carlo", "geometric"] = "weight-scaling",
        dropout_passes: int = 100,
        smoothing: float = 0.0,
        epochs: int | None = None,
        minutes: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        penalty: str | Sequence[str] = (),
        bag: int = 1,
        pretrain: str | None = None,
        learn_unlabelled: bool = False,
        optimizer: str = "adamw",
        momentum: float = 0.9,
        schedule: str | None = None,
        patience: int | None = None,
        validation_fraction: float | None = None,
        second_pass: Literal["none", "retrain", "continue"] | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        numeric: Literal["standard", "robust", "quantile"] = "standard",
        categorical: Sequence[str | int] | None = None,
        model: Literal["mlp", "linear"] | None = None,
        device: str = "auto",
        threads: int | None = None,
        step: Literal["auto", "autograd", "backprop"] = "auto",
        settings: Mapping[str, Any] | None = None,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.normalisation = normalisation
        self.connections = connections
        self.low_rank = low_rank
        self.features = features
        self.dropout = dropout
        self.dropout_inference = dropout_inference
        self.dropout_passes = dropout_passes
        self.smoothing = smoothing
        self.epochs = epochs
        self.minutes = minutes
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.penalty = penalty
        self.bag = bag
        self.pretrain = pretrain
        self.learn_unlabelled = learn_unlabelled
        self.optimizer = optimizer
        self.momentum = momentum
        self.schedule = schedule
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.second_pass = second_pass
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.numeric = numeric
        self.categorical = categorical
        self.model = model
        self.device = device
        self.threads = threads
        self.step = step
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None, hints: Any = None) -> Self:
        """Train anew on X and y; an earlier fit has no influence, and stays in force if this one fails.

        Args:
            X: ``(N, D)`` array or frame; NaN and nulls are missing cells.
            y: ``(N,)`` labels; with ``learn_unlabelled`` -1 is none.
            sample_weight: ``(N,)`` not negative; a row of weight 0 is absent, a whole number n counts as n copies.
            hints: ``(N,)`` or ``(N, H)`` numbers or labels, an array or a frame, that are known while training only:
                the network predicts them too, beside y, and then no more.

        Returns:
            The estimator.

        Raises:
            ValueError: If X, y or a parameter cannot be used (``DataError`` and ``ConfigError`` are ValueErrors).
        """  # noqa: DOC502 (raised by helpers)
        return self._fit(X, y, sample_weight, hints)

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest label of each row, ``(N,)``, of the type of the labels in ``fit``."""
        codes = self._probabilities(self._outputs(X)).argmax(axis=1)
        labels: np.ndarray = self.classes_[codes]
        return labels

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, ``(N, K)`` float64, in the order of ``classes_``."""
        return self._probabilities(self._outputs(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of the probabilities in nats, ``(N, K)``; exact where one rounds to 0 or 1."""
        outputs = self._outputs(X)
        if self._two:
            outputs = torch.cat([torch.nn.functional.logsigmoid(-outputs), torch.nn.functional.logsigmoid(outputs)], 1)
        else:
            outputs = outputs.log_softmax(1)
        return outputs.numpy()

    def decision_function(self, X: Any) -> np.ndarray:
        """Return log-odds of the second of two classes, ``(N,)``; of more classes the network's outputs, ``(N, K)``."""
        outputs = self._outputs(X)
        if self._two:
            outputs = outputs[:, 0]
        elif outputs.shape[1] == 2:
            outputs = outputs[:, 1] - outputs[:, 0]
        return outputs.numpy()

    @property
    def _two(self) -> bool:
        return isinstance(self.predictor_.likelihood, Bernoulli)

    def _probabilities(self, outputs: Tensor) -> np.ndarray:
        probabilities: np.ndarray = self.predictor_.likelihood.probabilities(outputs).numpy()  # type: ignore[attr-defined]
        return probabilities

    def _read_y(self, y: Any) -> np.ndarray:
        shape = getattr(y, "shape", None) or np.asarray(y).shape
        if len(shape) == 2 and shape[1] > 1:
            raise DataError(
                f"y should be a 1d array, got an array of shape {shape} instead: several targets are not supported",
                where="NeuralClassifier",
                mend="use sklearn.multioutput.MultiOutputClassifier(NeuralClassifier())",
            )
        labels: np.ndarray = column_or_1d(y, warn=True)
        assert_all_finite(labels, input_name="y")
        if labels.dtype.kind == "O":
            texts = {isinstance(label, str | bytes) for label in labels.tolist()}
            if len(texts) > 1:
                odd = next(label for label in labels.tolist() if not isinstance(label, str | bytes))
                text = next(label for label in labels.tolist() if isinstance(label, str | bytes))
                raise DataError(
                    f"Unknown label type: mixed type, for instance {shown(repr(text))} and {shown(repr(odd))}",
                    where="y",
                    mend="make them all text or all numbers",
                )
        if labels.dtype.kind != "S":  # which scikit-learn's check refuses, needlessly
            check_classification_targets(labels)
        return labels

    def _bare(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(y == -1) if y.dtype.kind in "ifO" else np.zeros(len(y), bool)

    def _values(self, y: np.ndarray) -> np.ndarray:
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) == 1:
            label = self.classes_[:1].tolist()[0]
            n = len(y)
            raise DataError(
                f"only one class ({shown(label)!r}) in {n:,} row{'' if n == 1 else 's'}",
                where="y",
                mend="give rows of at least two classes",
            )
        return codes.reshape(-1)

    def _targets(self, values: np.ndarray, names: list[str], train: np.ndarray) -> tuple[tuple[Target, ...], Tensor]:
        counts = np.bincount(values[train], minlength=len(self.classes_))
        labels = [
            label.decode("utf-8", "replace") if isinstance(label, bytes) else label for label in self.classes_.tolist()
        ]
        target = ClassTarget(names[0], tuple(labels), f"{len(labels)} classes", tuple(counts.tolist()))
        return (target,), torch.from_numpy(values.astype(np.int64))

    def _codes(self, y: Any) -> np.ndarray:
        labels = self._read_y(y)
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            raise DataError(f"the label {shown(repr(unknown.tolist()[0]))} was not in the fit", where="y")
        return np.searchsorted(self.classes_, labels)

    def _adopt(self, predictor: Predictor, labels: str | None, where: str) -> None:
        target = predictor.targets[0]
        if len(predictor.targets) != 1 or not isinstance(target, ClassTarget):
            raise CheckpointError(
                "does not predict one column of classes", where=where, mend="use NeuralRegressor.load"
            )
        classes = [label.encode() for label in target.classes] if (labels or "")[1:2] == "S" else list(target.classes)  # type: ignore[union-attr]
        try:
            self.classes_ = np.array(classes) if labels is None else np.array(classes, dtype=labels)
        except (TypeError, ValueError):
            raise CheckpointError("its labels are not of their type", where=where, mend="use an intact copy") from None

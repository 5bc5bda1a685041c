"""``NeuralRegressor``: a multilayer perceptron for numbers, as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils import check_array, column_or_1d
from torch import Tensor

from lamina.data.tables.targets import CountTarget, NumberTarget, Target
from lamina.errors import CheckpointError, ConfigError, DataError, shown
from lamina.estimators.base import NeuralEstimator
from lamina.methodology.problem import encode_targets
from lamina.runs.predictor import Predictor, column_of


class NeuralRegressor(RegressorMixin, NeuralEstimator):  # type: ignore[misc]
    """Predict numbers with a multilayer perceptron, trained by the one loop of ``lamina fit``.

    The target is Gaussian with a variance that the network learns for each row, so there are predictive intervals; with
    ``task="count"`` it is Poisson. y may have several columns. X, the validation part and the parameters are those of
    ``NeuralClassifier``.

    Args:
        hidden: Units of each hidden layer; a number for one layer. None: by the number of rows.
        task: ``number``, or ``count`` for 0, 1, 2, ...
        likelihood: What the outputs mean, ``NAME[:OPTION=VALUE...]``: ``laplace``, ``student-t:freedom=3``,
            ``gaussian-mixture:components=3``, ... None: Gaussian with learnt spread, or Poisson.
        activation: See ``NeuralClassifier``, as for all that follow.
        normalisation: Of the hidden units' sums.
        connections: How hidden layers are joined.
        low_rank: Width of a linear bottleneck within the hidden layers' weights.
        features: What is made of the columns once: ``polynomial:degree=2``.
        dropout: Share of hidden units left out.
        dropout_inference: How it answers: with scaled weights, or with the mean of sub-networks.
        dropout_passes: Sub-networks of that mean.
        epochs: Most passes over the training rows.
        minutes: Stop training after this long.
        batch_size: Rows a step.
        learning_rate: Largest learning rate.
        weight_decay: Decoupled weight decay, of ``adamw``.
        penalty: Terms added to the loss, each ``NAME:COEFFICIENT[:OPTION=VALUE...]``: ``("tangent:0.1",)``.
        bag: Networks trained on bootstrap samples, whose answers are averaged.
        pretrain: How the hidden layers learn first, ``NAME[:OPTION=VALUE...]``: ``rbm:epochs=10`` (with
            ``activation="sigmoid"``), ``autoencoder``, ``denoising:corruption=0.25`` or ``discriminative:epochs=3``.
            None: they do not.
        learn_unlabelled: Rows whose number is NaN have none, and train without it: through penalties that need none
            (``virtual-adversarial``, ``sparse``, ...) or ``pretrain``. Of their ``sample_weight`` only 0 counts.
        optimizer: ``NAME[:OPTION=VALUE...]``, a name of ``lamina.optim.OPTIMIZERS``.
        momentum: Of ``sgd`` and ``rmsprop``.
        schedule: Course of the learning rate.
        patience: Epochs without progress before stopping.
        validation_fraction: Share of the rows kept to stop by.
        second_pass: ``none``, ``retrain`` or ``continue``.
        clip_norm: Rescale the gradient to at most this norm.
        clip_value: Clip each element of the gradient.
        numeric: How numbers are scaled.
        categorical: Names or positions of columns to take as categories.
        model: ``mlp`` or ``linear``.
        device: Where it trains.
        threads: CPU threads while training.
        step: ``auto``, ``autograd`` or ``backprop``.
        settings: Others of ``lamina fit`` by name, as ``{"hidden_noise": 0.1, "initialisation": "sparse:k=15"}``: those
            of ``lamina.estimators.other_settings.OTHERS``.
        random_state: None, a whole number, a ``RandomState`` or a ``Generator``.
        verbose: Print a line an epoch on standard error.

    Attributes:
        predictor_: Network and preparation, as ``lamina.load`` returns.
        settings_: The settings in force, those chosen from the data included.
        history_: A record an epoch.
        n_iter_: Epochs made.
        best_epoch_: The epoch whose weights are used.
        notes_: What was decided about the columns.
        n_features_in_: Columns of X.
        feature_names_in_: Their names, where X had names.
    """

    def __init__(
        self,
        hidden: int | Sequence[int] | None = None,
        *,
        task: Literal["number", "count"] = "number",
        likelihood: str | None = None,
        activation: str = "relu",
        normalisation: Literal["none", "batch", "batch-unbiased", "layer", "weight"] = "none",
        connections: Literal["plain", "residual", "highway", "skip"] = "plain",
        low_rank: int | None = None,
        features: str | None = None,
        dropout: float | None = None,
        dropout_inference: Literal["weight-scaling", "monte-carlo"] = "weight-scaling",
        dropout_passes: int = 100,
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
        self.task = task
        self.likelihood = likelihood
        self.activation = activation
        self.normalisation = normalisation
        self.connections = connections
        self.low_rank = low_rank
        self.features = features
        self.dropout = dropout
        self.dropout_inference = dropout_inference
        self.dropout_passes = dropout_passes
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

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that y may have several columns.

        Returns:
            The tags.
        """
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, hints: Any = None) -> Self:
        """Train anew on X and y; an earlier fit has no influence, and stays in force if this one fails.

        Args:
            X: ``(N, D)`` array or frame; NaN and nulls are missing cells.
            y: ``(N,)`` numbers, or ``(N, T)``; with ``learn_unlabelled`` a row with a NaN has no target.
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
        """Return the expected number of each row, ``(N,)`` or ``(N, T)`` float64, in the unit of y."""
        outputs = self._outputs(X)
        heads = self.predictor_.heads(outputs)
        return self._together([t.decode(column_of(head.mean(o), place)) for t, head, o, place in heads])

    def predict_interval(self, X: Any, level: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the central interval that holds a new number with probability ``level``.

        Args:
            X: As in ``predict``.
            level: Between 0 and 1.

        Returns:
            Lower and upper ends, each as ``predict`` returns.

        Raises:
            ConfigError: If the level is not between 0 and 1.
        """
        if not isinstance(level, int | float | np.number) or not 0 < level < 1:
            raise ConfigError(f"level must be between 0 and 1, got {shown(level)}", where="predict_interval")
        low, high = [], []
        outputs = self._outputs(X)
        for target, head, part, place in self.predictor_.heads(outputs):
            both = head.interval(part, float(level))  # type: ignore[attr-defined]
            ends = [target.decode(column_of(end, place)) for end in both]
            low.append(ends[0])
            high.append(ends[1])
        return self._together(low), self._together(high)

    @staticmethod
    def _together(columns: list[np.ndarray]) -> np.ndarray:
        return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)

    def _read_y(self, y: Any) -> np.ndarray:
        numbers: np.ndarray = check_array(
            y,
            ensure_2d=False,
            dtype="numeric",
            input_name="y",
            ensure_min_samples=0,
            ensure_all_finite="allow-nan" if self.learn_unlabelled else True,
            estimator=self,
        )
        if numbers.ndim == 2 and numbers.shape[1] == 1:
            numbers = column_or_1d(numbers)
        if numbers.ndim not in {1, 2} or 0 in numbers.shape[1:]:
            raise DataError(f"y should have one or two axes, got an array of shape {numbers.shape} instead", where="y")
        return numbers.astype(np.float64)

    def _bare(self, y: np.ndarray) -> np.ndarray:
        bare: np.ndarray = np.isnan(y).reshape(len(y), -1).any(axis=1)
        return bare

    def _values(self, y: np.ndarray) -> np.ndarray:
        if self.task not in {"number", "count"}:
            raise ConfigError(f"task must be number or count, got {shown(self.task)}", where="NeuralRegressor")
        return y

    def _targets(self, values: np.ndarray, names: list[str], train: np.ndarray) -> tuple[tuple[Target, ...], Tensor]:
        columns = list(np.atleast_2d(values.T))
        targets = tuple(
            CountTarget(name, "a count", float(column[train].mean()))
            if self.task == "count"
            else _number(name, column[train])
            for name, column in zip(names, columns, strict=True)
        )
        return targets, encode_targets(targets, columns)

    def _codes(self, y: Any) -> np.ndarray:
        numbers = self._read_y(y)
        if np.isnan(numbers).any():
            raise DataError("holds NaN, and figures need every number", where="y", mend="leave those rows out")
        return numbers

    def _adopt(self, predictor: Predictor, labels: str | None, where: str) -> None:
        del labels
        if not all(isinstance(target, NumberTarget | CountTarget) for target in predictor.targets):
            raise CheckpointError("predicts classes", where=where, mend="use NeuralClassifier.load")


def _count(name: str, values: np.ndarray) -> Target:
    return CountTarget(name, "a count", float(values.mean()))


def _number(name: str, values: np.ndarray) -> Target:
    """Return the target of training values.

    Of a constant the scale is so small that whatever the network says, the constant is predicted to nine digits.

    Returns:
        The target.
    """
    mean, deviation = float(values.mean()), float(values.std())
    if not deviation > 10 * np.finfo(np.float64).eps * float(np.abs(values).max()):
        deviation = 1e-9 * (abs(mean) or 1.0)
    return NumberTarget(name, mean, deviation, "a number", float(values.min()), float(values.max()))

"""What the classifier and the regressor share: reading X, training, asking the network, keeping it."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from lamina.data.tables.prepare import TablePreparation
from lamina.data.tables.split import row_hashes
from lamina.data.tables.table import Table
from lamina.data.tables.targets import Target
from lamina.errors import ConfigError, DataError, nearest, shown
from lamina.estimators.evidence import Evidence, gather_evidence, write_report
from lamina.estimators.hints import read_hints, with_hints
from lamina.estimators.inputs import (
    as_numbers,
    as_table,
    column_names,
    is_frame,
    is_mixed,
    is_pandas,
    roles_for,
    target_names,
)
from lamina.estimators.other_settings import read_others
from lamina.estimators.rows import MOST_ORDERED, as_copies, content_of, in_order, joined, n_rows, take_rows
from lamina.estimators.seed import seed_of
from lamina.estimators.stored import facts_of, plain, stored_facts
from lamina.methodology.array_problem import (
    NumberColumns,
    fit_numbers,
    hash_rows,
    problem_of_arrays,
    split_off,
    validation_share,
)
from lamina.methodology.baseline import complete
from lamina.methodology.free_rows import in_words
from lamina.methodology.train import Hooks, Trained, train
from lamina.report.pretraining import layer_cards
from lamina.runs.predictor import Predictor
from lamina.runs.settings import Settings
from lamina.training.run import Run

_FITTED = {"_numbers", "_network", "_columns", "_evidence"}
_NO_SETTINGS = {"validation_fraction", "random_state", "verbose", "categorical", "settings"}


class NeuralEstimator(BaseEstimator):  # type: ignore[misc]
    """Common part of ``NeuralClassifier`` and ``NeuralRegressor``; not to be used itself.

    Parameters are stored as given and checked in ``fit``; their words are those of ``lamina fit``, and None means:
    chosen from the data. ``fit`` succeeds or leaves the estimator as it was.
    """

    predictor_: Predictor
    settings_: Settings
    history_: list[dict[str, Any]]
    notes_: list[str]
    best_epoch_: int
    n_iter_: int
    n_features_in_: int
    feature_names_in_: np.ndarray
    _numbers: NumberColumns | None
    _network: torch.nn.Module
    _columns: list[str]
    _evidence: Evidence | None

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that missing cells are fine.

        Returns:
            The tags.
        """
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    # --- what the subclasses say of y ---

    def _read_y(self, y: Any) -> np.ndarray:
        raise NotImplementedError

    def _bare(self, y: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _values(self, y: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _targets(self, values: np.ndarray, names: list[str], train: np.ndarray) -> tuple[tuple[Target, ...], Tensor]:
        raise NotImplementedError

    def _codes(self, y: Any) -> np.ndarray:
        raise NotImplementedError

    def _adopt(self, predictor: Predictor, labels: str | None, where: str) -> None:
        raise NotImplementedError

    # --- fitting ---

    def _fit(self, x: Any, y: Any, sample_weight: Any, hints: Any) -> Self:
        before = dict(self.__dict__)
        try:
            self._forget()
            self._fit_fresh(x, y, sample_weight, hints)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _forget(self) -> None:
        for name in [n for n in self.__dict__ if n in _FITTED or (n.endswith("_") and not n.startswith("_"))]:
            delattr(self, name)

    def _fit_fresh(self, x: Any, y: Any, sample_weight: Any, hints: Any) -> None:
        settings, fraction = self._checked()
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        data, frame = self._read_for_fit(x)
        given, y = y, self._read_y(y)
        names = target_names(given, 1 if y.ndim == 1 else y.shape[1])
        check_consistent_length(data if isinstance(data, np.ndarray) else next(iter(data.columns.values())), y)
        hinted = read_hints(hints, len(y))
        keep, weights = self._weighed(y, sample_weight)
        if keep is not None:
            data, y, hinted = take_rows(data, keep), y[keep], take_rows(hinted, keep)
        free = None
        if settings.learn_unlabelled:
            bare = self._bare(y)
            data, free = take_rows(data, np.flatnonzero(~bare)), in_order(take_rows(data, np.flatnonzero(bare)))
            y, hinted = y[~bare], take_rows(hinted, np.flatnonzero(~bare))
            if not len(y):
                raise DataError("no row has a target", where="y", mend="give some rows a target")
            weights = None if weights is None else weights[~bare]
        values = self._values(y)
        if len(values) <= MOST_ORDERED:
            last = [] if hinted is None else [row_hashes(hinted)]
            order = np.lexsort((*last, hash_rows(values), content_of(data)))
            data, values, hinted = take_rows(data, order), values[order], take_rows(hinted, order)
            weights = None if weights is None else weights[order]
        stratify = values.astype(np.int64) if hasattr(self, "classes_") else None
        fraction = validation_share(len(values)) if fraction is None else fraction
        split = split_off(len(values), fraction, settings.seed, stratify)
        index, split, weights = as_copies(split, weights, len(values))
        if index is not None:
            data, values, hinted = take_rows(data, index), values[index], take_rows(hinted, index)
        targets, encoded = self._targets(values, names, split.train)
        n = len(values)
        every = data if free is None else joined(data, free)
        rows = np.concatenate([split.train, np.arange(n, n_rows(every))])
        preparation, inputs = self._prepare_for_fit(every, frame, rows, settings)
        problem = problem_of_arrays(inputs[:n], encoded, targets, split, preparation, weights=weights)
        if len(inputs) > n:
            problem = replace(problem, unlabelled=torch.from_numpy(inputs[n:]))
            self.notes_ += in_words(len(split.train), len(inputs) - n, "rows", settings)
        problem = with_hints(problem, hinted)
        settings, _ = complete(settings, problem)
        shown = (_printer(), _print_layer) if self.verbose else (None, None)
        trained = train(problem, settings, Hooks(progress=shown[0], layer_progress=shown[1]))
        self._took(trained, settings)
        evidence = gather_evidence(trained.judged, problem, values)
        self._evidence = replace(evidence, layers=layer_cards(trained.pretrained))

    def _took(self, trained: Trained, settings: Settings) -> None:
        self.settings_, self.history_ = settings, trained.history.records
        self.n_iter_, self.best_epoch_ = len(trained.history.records), trained.best_epoch
        self.notes_ += trained.notes
        self._use(trained.predictor)

    def _use(self, predictor: Predictor) -> None:
        self.predictor_ = predictor
        # In double precision a row's answer does not depend, visibly, on the rows that it is asked with.
        self._network = copy.deepcopy(predictor.model).double().requires_grad_(False)

    def _checked(self) -> tuple[Settings, float | None]:
        """Check the parameters.

        Returns:
            The settings they stand for, and the share of the validation part if it is given.

        Raises:
            ConfigError: If one cannot be used.
        """
        owner = type(self).__name__
        given = {name: plain(value) for name, value in self._settings_given().items()}
        fraction = self.validation_fraction
        if fraction is not None and not (isinstance(fraction, int | float | np.number) and 0 <= fraction <= 0.5):
            raise ConfigError(
                f"validation_fraction must be between 0 and 0.5, got {shown(fraction)}",
                where=owner,
                mend="0 trains on all rows, without early stopping",
            )
        settings = Settings().with_changes({**given, "seed": seed_of(self.random_state)}, where=owner)
        return settings, None if fraction is None else float(fraction)

    def _settings_given(self) -> dict[str, Any]:
        """Return the settings that the parameters stand for."""
        every = self.get_params(deep=False)
        own = {name: value for name, value in every.items() if name not in _NO_SETTINGS}
        return own | read_others(every.get("settings"), every, type(self).__name__)

    def _read_for_fit(self, x: Any) -> tuple[np.ndarray | Table, Any]:
        """Read X as a matrix if it is all numbers, else as a table; keep names and number of columns.

        Returns:
            The data, and for a table what it was read from.
        """
        if self.categorical is not None or is_mixed(x):
            self._numbers = None
            x = x if is_frame(x) else np.asarray(x, dtype=object)
            validate_data(self, x, reset=True, skip_check_array=True)
            self._columns = column_names(x, self.n_features_in_)
            return as_table(x, self._columns), x
        matrix = self._number_matrix(x, reset=True)
        self._columns = column_names(x, self.n_features_in_)
        return matrix, None

    def _number_matrix(self, x: Any, *, reset: bool) -> np.ndarray:
        rules: dict[str, Any] = {
            "dtype": [np.float64, np.float32],
            "ensure_all_finite": "allow-nan",
            "ensure_min_samples": 1 if reset else 0,
        }
        if is_frame(x) and not is_pandas(x):
            validate_data(self, x, reset=reset, skip_check_array=True)
            checked: np.ndarray = check_array(as_numbers(x), estimator=self, input_name="X", **rules)
            return checked
        checked = validate_data(self, x, reset=reset, **rules)
        return checked

    @staticmethod
    def _weighed(y: np.ndarray, sample_weight: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Read the weights; rows of weight 0 are left out.

        Returns:
            The other rows and their weights, or None twice where no weights were given.

        Raises:
            DataError: If no row is left.
        """
        if sample_weight is None:
            return None, None
        weights = _check_sample_weight(sample_weight, y, dtype=np.float64, ensure_non_negative=True)
        keep = np.flatnonzero(weights > 0)
        if not len(keep):
            raise DataError(
                "all are 0, so no row is left", where="sample_weight", mend="give some rows a weight above 0"
            )
        return keep, weights[keep]

    def _prepare_for_fit(
        self, data: np.ndarray | Table, frame: Any, train_rows: np.ndarray, settings: Settings
    ) -> tuple[TablePreparation, np.ndarray]:
        self.notes_ = []
        if isinstance(data, Table):
            roles = roles_for(data, frame, self._categories(data))
            preparation = TablePreparation.fit(data, roles, train_rows, numeric=settings.numeric)
            self.notes_ += [*data.notes, *roles.notes, *preparation.notes]
            self.notes_ += [f'column "{shown(name)}" is left out: {why}' for name, why in roles.left_out.items()]
            return preparation, preparation.transform(data)[0]
        preparation = fit_numbers(data, self._columns, train_rows, settings.numeric)
        self._numbers = NumberColumns.of(preparation)
        assert self._numbers is not None
        return preparation, self._numbers.transform(data)

    def _categories(self, table: Table) -> list[str]:
        """Return the columns of ``categorical``, given by name or by position.

        Returns:
            Their names.

        Raises:
            ConfigError: If there is no such column.
        """
        names = list(table.names)
        found = []
        for entry in self.categorical or ():
            position = isinstance(entry, int | np.integer) and not isinstance(entry, bool)
            if not (-len(names) <= entry < len(names) if position else entry in names):
                raise ConfigError(
                    f"categorical: there is no column {shown(repr(entry))}{nearest(str(entry), names)}",
                    where=type(self).__name__,
                    mend="give names or positions of columns of X",
                )
            found.append(names[entry] if position else entry)
        return found

    # --- asking ---

    def _outputs(self, x: Any) -> Tensor:
        """Return the network's outputs, ``(N, n_outputs)`` float64."""
        check_is_fitted(self)
        return self.predictor_.outputs_by(self._network, torch.from_numpy(self._prepared(x)).double())

    def _prepared(self, x: Any) -> np.ndarray:
        if self._numbers is not None:
            return self._numbers.transform(self._number_matrix(x, reset=False))
        x = x if is_frame(x) else np.asarray(x, dtype=object)
        validate_data(self, x, reset=False, skip_check_array=True)
        preparation = self.predictor_.preparation
        assert isinstance(preparation, TablePreparation)
        return preparation.transform(as_table(x, self._columns))[0]

    # --- keeping ---

    def save(self, path: str | Path) -> Path:
        """Write the fitted estimator as a folder of data, without pickle; ``lamina.load`` reads it too.

        Args:
            path: The folder to make; one that is a lamina model is replaced.

        Returns:
            The folder.
        """
        check_is_fitted(self)
        return replace(self.predictor_, facts={**self.predictor_.facts, "estimator": facts_of(self)}).save(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an estimator back that ``save`` wrote, or the model of a table that ``lamina fit`` left.

        Args:
            path: The folder; every file in it is checked against its hash, nothing in it is ever run.

        Returns:
            A fitted estimator that predicts the same. It has no ``history_``.

        Raises:
            CheckpointError: If it is no model of this kind, or damaged.
        """  # noqa: DOC502 (raised by helpers)
        predictor = Predictor.load(path)
        facts = stored_facts(predictor, cls.__name__, cls._get_param_names(), str(path))
        estimator = cls(**facts.parameters)
        assert isinstance(predictor.preparation, TablePreparation)
        estimator._columns, estimator.n_features_in_ = facts.columns, len(facts.columns)
        if facts.names is not None:
            estimator.feature_names_in_ = np.asarray(facts.names, dtype=object)
        estimator._numbers = NumberColumns.of(predictor.preparation) if facts.numbers else None
        estimator._evidence = None
        estimator._adopt(predictor, facts.labels, str(path))
        estimator._use(predictor)
        return estimator

    def report(self, path: str | Path, X: Any = None, y: Any = None) -> Path:
        """Write the report of the fit as one HTML file that opens without a network.

        Args:
            path: The file, for instance ``report.html``.
            X: Test inputs; without them the page shows training and validation only.
            y: Their targets.

        Returns:
            The file.

        Raises:
            ConfigError: If the estimator was loaded (what the report shows is not stored), or X or y alone is given.
        """
        check_is_fitted(self)
        if self._evidence is None:
            raise ConfigError(
                "a loaded model has no figures of its training",
                where="report",
                mend="fit again, or see the report of the run that it comes from",
            )
        if (X is None) != (y is None):
            raise ConfigError("give X and y, or neither", where="report")
        test = None
        if X is not None:
            test = (self._codes(y), self._outputs(X).float())
        return write_report(Path(path), self, self._evidence, test)


def _print_layer(layer: str, run: Run, fraction: float, seconds: float, left: float | None) -> None:
    """Print a line an epoch of a layer that is pre-trained, on standard error."""
    if run.position == 0:
        rest = "" if left is None else f"  ~{left:.0f} s left"
        loss = run.history.current["loss"]
        print(f"{layer}  epoch {run.epoch}/{run.max_epochs}  loss {loss:.4f}{rest}", file=sys.stderr)


def _printer() -> Any:
    """Return what prints a line an epoch on standard error."""
    shown_epochs = 0

    def show(run: Run, fraction: float, seconds: float, left: float | None) -> None:
        nonlocal shown_epochs
        if run.epoch <= shown_epochs:
            return
        shown_epochs = run.epoch
        figures = {
            k: v for k, v in run.history.current.items() if k in {"loss", "valid_loss", "valid_accuracy", "valid_rmse"}
        }
        words = "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if isinstance(value, float))
        print(f"epoch {run.epoch}/{run.max_epochs}  {words}", file=sys.stderr)

    return show

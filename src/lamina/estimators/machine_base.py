"""What the two machines for scikit-learn share: reading X, training, transforming, drawing, keeping."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Generator, Tensor

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy.cd_step import ContrastiveDivergenceStep
from lamina.energy.rbm import RBM
from lamina.energy.units import Units
from lamina.errors import ConfigError, DataError, DivergedError, shown
from lamina.estimators.inputs import as_numbers, is_frame, is_pandas
from lamina.estimators.seed import seed_of
from lamina.estimators.stored_machine import read_machine, write_machine
from lamina.training.callback import Callback
from lamina.training.fit import fit as train
from lamina.training.run import Run


class MachineTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Common part of ``BernoulliRBM`` and ``GaussianRBM``; not to be used itself.

    Parameters are stored as given and checked in ``fit``, which succeeds or leaves the estimator as it was.
    """

    machine_: RBM
    history_: list[dict[str, Any]]
    n_features_in_: int
    feature_names_in_: np.ndarray
    _progress: dict[str, Any]
    _seed: int

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that the type of the numbers is kept.

        Returns:
            The tags.
        """
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # --- what the subclasses say ---

    def _units(self) -> Units:
        raise NotImplementedError

    def _start(self, x: np.ndarray) -> None:
        """Learn how numbers are scaled from the first data."""

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _unscaled(self, v: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _base(self, v: Tensor) -> Tensor:
        raise NotImplementedError

    # --- fitting ---

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train anew on X, ``n_iter`` times through it in an order of its own each time.

        Args:
            X: ``(N, D)`` numbers, an array or a pandas, polars or pyarrow frame.
            y: Ignored.

        Returns:
            The estimator.

        Raises:
            ValueError: If X or a parameter cannot be used (``ConfigError`` is a ValueError).
            DivergedError: If the weights left the finite numbers.
        """  # noqa: DOC502 (raised by helpers)
        del y
        before = dict(self.__dict__)
        try:
            self._forget()
            v, step = self._begin(X)
            data = InMemory(Batch(v), self.batch_size, seed=self._seed)
            told = [_Lines(type(self).__name__)] if self.verbose else []
            self.history_ = train(step, data, max_epochs=self.n_iter, callbacks=told).records
            self._take(step)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Make one update with all rows of X as one batch, going on from where the estimator stands.

        After ``fit``, or after ``load``, it goes on with the same velocities, chains and random numbers.

        Args:
            X: As in ``fit``.
            y: Ignored.

        Returns:
            The estimator.

        Raises:
            ValueError: As in ``fit``.
            DivergedError: As in ``fit``.
        """  # noqa: DOC502 (raised by helpers)
        del y
        before = dict(self.__dict__)
        try:
            if not hasattr(self, "machine_"):
                v, step = self._begin(X)
                self.history_ = []
            else:
                v, step = self._tensor(X, reset=False), self._step(self.machine_)
                step.load_state_dict({"model": self.machine_.state_dict(), **self._progress})
                self._set_rates(step)
            step(Batch(v))
            self._take(step)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise
        return self

    def _forget(self) -> None:
        for name in [n for n in self.__dict__ if n.endswith("_") and not n.startswith("_")]:
            delattr(self, name)

    def _begin(self, X: Any) -> tuple[Tensor, ContrastiveDivergenceStep]:
        self._check_numbers()
        x = self._read(X, reset=True)
        self._start(x)
        v = _tensor(self._scaled(x), np.float32)
        self._seed = seed_of(self.random_state)
        generator = Generator().manual_seed(self._seed)
        chains = self.batch_size if self.persistent else 0
        machine = RBM(v.shape[1], self.n_components, self._units(), chains=chains, generator=generator)
        machine.set_visible_bias(self._base(v))
        self._progress = {}
        return v, self._step(machine, generator)

    def _check_numbers(self) -> None:
        for name, least in (("n_components", 1), ("batch_size", 1), ("n_iter", 0), ("sweeps", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise ConfigError(
                    f"{name} must be a whole number of at least {least}, got {shown(value)}", where=type(self).__name__
                )

    def _step(self, machine: RBM, generator: Generator | None = None) -> ContrastiveDivergenceStep:
        return ContrastiveDivergenceStep(
            machine,
            self.learning_rate,
            sweeps=self.sweeps,
            persistent=self.persistent,
            reconstruction=self.reconstruction,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            sparsity=self.sparsity,
            sparsity_cost=self.sparsity_cost,
            centred=self.centred,
            generator=Generator() if generator is None else generator,
        )

    def _set_rates(self, step: ContrastiveDivergenceStep) -> None:
        """Let parameters that were set since the last update hold: the stored ones came back with the velocities."""
        for group, decay in zip(step.optimizer.param_groups, (self.weight_decay, 0.0), strict=True):
            group.update(lr=self.learning_rate, momentum=self.momentum, weight_decay=decay)

    def _take(self, step: ContrastiveDivergenceStep) -> None:
        state = step.state_dict()
        if not all(bool(value.isfinite().all()) for value in state["model"].values()):
            raise DivergedError(
                "the weights are no numbers any more",
                where=type(self).__name__,
                mend=f"lower learning_rate, which is {self.learning_rate}, or scale X",
            )
        self.machine_ = step.model.eval()
        self._progress = {name: value for name, value in state.items() if name != "model"}

    def _read(self, X: Any, *, reset: bool) -> np.ndarray:
        rules: dict[str, Any] = {"dtype": [np.float64, np.float32]}
        if is_frame(X) and not is_pandas(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            checked: np.ndarray = check_array(as_numbers(X), estimator=self, input_name="X", **rules)
            return checked
        checked = validate_data(self, X, reset=reset, **rules)
        return checked

    def _tensor(self, X: Any, *, reset: bool) -> Tensor:
        return _tensor(self._scaled(self._read(X, reset=reset)), np.float32)

    # --- what was learnt ---

    @property
    def components_(self) -> np.ndarray:
        """W, ``(n_components, D)``."""
        return _array(self._fitted("components_").weight)

    @property
    def intercept_hidden_(self) -> np.ndarray:
        """Hidden biases, ``(n_components,)``."""
        return _array(self._fitted("intercept_hidden_").hidden_bias)

    @property
    def intercept_visible_(self) -> np.ndarray:
        """Visible biases, ``(D,)``."""
        return _array(self._fitted("intercept_visible_").visible_bias)

    @property
    def n_iter_(self) -> int:
        """Times through X that ``fit`` made."""
        self._fitted("n_iter_")
        return len(self.history_)

    @property
    def _n_features_out(self) -> int:
        return self.machine_.n_hidden

    def _fitted(self, name: str) -> RBM:
        machine = self.__dict__.get("machine_")
        if machine is None:
            raise AttributeError(f"{type(self).__name__} has no {name} before fit")
        assert isinstance(machine, RBM)
        return machine

    # --- asking ---

    def transform(self, X: Any) -> np.ndarray:
        """Return the means of the hidden units, ``(N, n_components)``, of the type of X's numbers."""
        x, v, machine = self._asked(X)
        return machine.hidden_given(v).numpy().astype(x.dtype, copy=False)

    def inverse_transform(self, H: Any) -> np.ndarray:
        """Return the means of the visible units given hidden ones, ``(N, D)``, in X's units.

        After ``transform`` it is the mean-field reconstruction.

        Args:
            H: ``(N, n_components)``.

        Returns:
            The means.

        Raises:
            DataError: If H has another number of columns.
        """
        check_is_fitted(self)
        h = check_array(as_numbers(H), dtype=[np.float64, np.float32], input_name="H")
        if h.shape[1] != self.machine_.n_hidden:
            raise DataError(f"has {h.shape[1]} columns for {self.machine_.n_hidden} hidden units", where="H")
        means = self._double().visible_given(torch.from_numpy(h.astype(np.float64))).numpy()
        return self._unscaled(means).astype(h.dtype, copy=False)

    def gibbs(self, X: Any, sweeps: int = 1) -> np.ndarray:
        """Draw hidden, then visible units, ``sweeps`` times, starting at X; goes on with the fit's random numbers.

        Args:
            X: ``(N, D)``.
            sweeps: How many times.

        Returns:
            ``(N, D)`` visible units.
        """
        check_is_fitted(self)
        generator = Generator()
        generator.set_state(self._progress["generator"])
        v = self.machine_.gibbs(self._tensor(X, reset=False), sweeps, generator)
        self._progress = {**self._progress, "generator": generator.get_state()}
        return self._drawn(v)

    def sample(self, n_samples: int = 1, *, sweeps: int = 1000, random_state: Any = None) -> np.ndarray:
        """Draw rows from the machine by chains that start at its visible biases alone.

        Args:
            n_samples: Rows.
            sweeps: Gibbs sweeps of each chain; from few the rows are too alike to the start, and modes that are far
                apart need more than can be made (``lamina.energy.parallel_tempering`` crosses them).
            random_state: As in the constructor.

        Returns:
            ``(n_samples, D)``, in X's units.
        """
        check_is_fitted(self)
        generator, machine = Generator().manual_seed(seed_of(random_state)), self.machine_
        with torch.no_grad():
            start = machine.visible.sample(machine.visible_bias.expand(n_samples, -1), generator)
        return self._drawn(machine.gibbs(start, sweeps, generator))

    def _drawn(self, v: Tensor) -> np.ndarray:
        return self._unscaled(v.double().numpy())

    def _asked(self, X: Any) -> tuple[np.ndarray, Tensor, RBM]:
        """Return X, the visible units in double precision, and a machine of that precision.

        There a row's answer does not depend, visibly, on the rows that it is asked with.
        """
        check_is_fitted(self)
        x = self._read(X, reset=False)
        return x, _tensor(self._scaled(x), np.float64), self._double()

    def _double(self) -> RBM:
        return copy.deepcopy(self.machine_).double().requires_grad_(False)

    # --- keeping ---

    def save(self, path: str | Path) -> Path:
        """Write the fitted estimator as a folder of data, without pickle.

        Args:
            path: The folder to make; one that is a lamina model is replaced.

        Returns:
            The folder.
        """
        check_is_fitted(self)
        return write_machine(self, Path(path), self._arrays())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an estimator back that ``save`` wrote; nothing in the folder is ever run.

        Args:
            path: The folder; every file in it is checked against its hash.

        Returns:
            A fitted estimator that answers the same, and goes on in ``partial_fit`` with the same bits.

        Raises:
            CheckpointError: If it is no estimator of this kind, or damaged.
        """  # noqa: DOC502 (raised by helpers)
        return read_machine(cls, Path(path))

    def _arrays(self) -> dict[str, Tensor]:
        """Return arrays to keep beside the machine."""
        return {}

    def _adopt(self, arrays: dict[str, Tensor]) -> None:
        """Take back what ``_arrays`` gave."""


def _tensor(x: np.ndarray, dtype: Any) -> Tensor:
    return torch.from_numpy(np.array(x, dtype, order="C"))  # a copy: PyTorch takes no array that cannot be written


def _array(p: Tensor) -> np.ndarray:
    return p.detach().numpy()


class _Lines(Callback):
    # Prints a line an epoch on standard error.

    def __init__(self, owner: str) -> None:
        self.owner = owner

    def on_epoch(self, run: Run) -> None:
        print(
            f"[{self.owner}] epoch {run.epoch}/{run.max_epochs}  loss {run.history.current['loss']:.4f}",
            file=sys.stderr,
        )

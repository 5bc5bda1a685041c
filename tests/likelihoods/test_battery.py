"""Every likelihood, by one table: a new class without a record fails, and with one gets these tests."""

import importlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from lamina.errors import CheckpointError, ConfigError, DataError
from lamina.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Categorical,
    Gaussian,
    Heads,
    Likelihood,
    Poisson,
    for_scoring,
    from_json,
    to_json,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- oracles: scipy and NumPy, from the definition; they share nothing with lamina ------------------------------------


def oracle_categorical(z: np.ndarray, y: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    k = z.shape[1]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    out = []
    for row, code in zip(p, y, strict=True):
        t = [1 - smoothing if j == code else smoothing / (k - 1) for j in range(k)]
        out.append(sum(a * math.log(b) for a, b in zip(t, row, strict=True)))
    return np.array(out)


def oracle_soft(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return (t * np.log(p)).sum(1)


def oracle_bernoulli(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return stats.bernoulli.logpmf(y.reshape(len(z), -1), 1 / (1 + np.exp(-z))).sum(1)


def oracle_learnt(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    half = out.shape[1] // 2
    r = out[:, half:]
    return stats.norm.logpdf(y.reshape(len(out), -1), out[:, :half], np.exp(r / np.sqrt(1 + (r / 10) ** 2))).sum(1)


def oracle_fixed(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    return stats.norm.logpdf(y.reshape(len(out), -1), out, 0.5).sum(1)


def oracle_poisson(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    return stats.poisson.logpmf(y.reshape(len(out), -1), np.exp(out)).sum(1)


def oracle_heads(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    classes = oracle_categorical(out[:, :3], y[:, 0])
    return classes + oracle_learnt(out[:, 3:5], y[:, 1]) + oracle_poisson(out[:, 5:], y[:, 2])


@dataclass(frozen=True)
class Record:
    likelihood: Likelihood
    target: Callable[[int, torch.Generator], Tensor]
    oracle: Callable[[np.ndarray, np.ndarray], np.ndarray]
    wrong_targets: tuple[Callable[[int], Tensor], ...]  # shapes or kinds that must be refused, given N
    out_of_range: Tensor  # a target that check_target refuses in row 1


def soft(n: int, g: torch.Generator) -> Tensor:
    return torch.rand(n, 4, generator=g, dtype=torch.float64).softmax(1)


def heads_target(n: int, g: torch.Generator) -> Tensor:
    columns = [
        torch.randint(0, 3, (n,), generator=g),
        torch.randn(n, generator=g),
        torch.randint(0, 9, (n,), generator=g),
    ]
    return torch.stack([c.double() for c in columns], dim=1)


def codes(k: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, g: torch.randint(0, k, (n,), generator=g)


def vector_shapes(t: int) -> tuple[Callable[[int], Tensor], ...]:
    return (
        lambda n: torch.zeros(n + 1),
        lambda n: torch.zeros(1, n),
        lambda n: torch.zeros(n, t + 1),
        lambda n: torch.zeros(n, t, 1),
        lambda n: torch.zeros(()),
    )


CODE_SHAPES: tuple[Callable[[int], Tensor], ...] = (
    lambda n: torch.zeros(n + 1, dtype=torch.int64),
    lambda n: torch.zeros(n, 1, dtype=torch.int64),
    lambda n: torch.zeros(n, 9),
    lambda n: torch.zeros(n),
    lambda n: torch.zeros((), dtype=torch.int64),
)
HEADS = Heads((Categorical(3), Gaussian(), Poisson()), ("kind", "size", "count"))
T = torch.tensor

RECORDS: dict[str, Record] = {
    "categorical": Record(Categorical(4), codes(4), oracle_categorical, CODE_SHAPES, T([0, 4, 1])),
    "categorical, smoothed": Record(
        Categorical(4, smoothing=0.2), codes(4), lambda z, y: oracle_categorical(z, y, 0.2), CODE_SHAPES, T([0, -1, 1])
    ),
    "categorical, soft": Record(Categorical(4), soft, oracle_soft, CODE_SHAPES, T([[1.0, 0, 0, 0], [0.9, 0, 0, 0]])),
    "bernoulli": Record(Bernoulli(), codes(2), oracle_bernoulli, vector_shapes(1), T([0, 2, 1])),
    "bernoulli, 3": Record(
        Bernoulli(3),
        lambda n, g: torch.randint(0, 2, (n, 3), generator=g),
        oracle_bernoulli,
        (*vector_shapes(3), lambda n: torch.zeros(n)),
        T([[0, 1, 1], [0, -1, 0]]),
    ),
    "gaussian": Record(
        Gaussian(), lambda n, g: torch.randn(n, generator=g).double(), oracle_learnt, vector_shapes(1), T([0, math.nan])
    ),
    "gaussian, 2": Record(
        Gaussian(2),
        lambda n, g: torch.randn(n, 2, generator=g).double(),
        oracle_learnt,
        vector_shapes(2),
        T([[0.0, 1.0], [1.0, math.inf]]),
    ),
    "gaussian, fixed": Record(
        Gaussian(scale=0.5),
        lambda n, g: torch.randn(n, generator=g).double(),
        oracle_fixed,
        vector_shapes(1),
        T([0, math.inf]),
    ),
    "poisson": Record(Poisson(), codes(9), oracle_poisson, vector_shapes(1), T([3, -1])),
    "poisson, 2": Record(
        Poisson(2),
        lambda n, g: torch.randint(0, 9, (n, 2), generator=g),
        oracle_poisson,
        vector_shapes(2),
        T([[0, 1.0], [0, 1.5]]),
    ),
    "heads": Record(
        HEADS,
        heads_target,
        oracle_heads,
        (*vector_shapes(3), lambda n: torch.zeros(n)),
        T([[0, 1.0, 2], [0.5, 1.0, 2]]),
    ),
}
every = pytest.mark.parametrize("name", list(RECORDS))


@pytest.fixture
def unhooked():
    """Switch the shape hook of the test run off, to see what a user without it sees."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def case(name: str, n: int = 7, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Likelihood, Tensor, Tensor]:
    record, g = RECORDS[name], seeded(seed)
    outputs = 2 * torch.randn(n, record.likelihood.n_outputs, generator=g, dtype=torch.float64)
    return record.likelihood, outputs.to(dtype), record.target(n, g)


def test_every_likelihood_has_a_record() -> None:
    assert {type(r.likelihood) for r in RECORDS.values()} == set(LIKELIHOODS.values())
    assert all(isinstance(r.likelihood, Likelihood) for r in RECORDS.values())
    package = importlib.import_module("lamina.likelihoods")
    exported = {kind for kind in vars(package).values() if isinstance(kind, type) and is_dataclass(kind)}
    assert exported == set(LIKELIHOODS.values())


@every
def test_log_prob_against_scipy(name: str) -> None:
    likelihood, outputs, target = case(name, n=50)
    expected = RECORDS[name].oracle(outputs.numpy(), target.numpy())
    np.testing.assert_allclose(likelihood.log_prob(outputs, target).numpy(), expected, rtol=1e-10, atol=1e-10)


@every
@pytest.mark.parametrize("mutant", [None, "sign", "factor", "shift"])
def test_closed_gradient_is_the_gradient(name: str, mutant: str | None) -> None:
    likelihood, outputs, target = case(name, n=20)
    outputs.requires_grad_()
    (-likelihood.log_prob(outputs, target)).sum().backward()
    closed = likelihood.nll_gradient(outputs.detach(), target)
    closed = {None: closed, "sign": -closed, "factor": 1.001 * closed, "shift": closed + 1e-3}[mutant]
    assert torch.allclose(closed, outputs.grad, rtol=1e-10, atol=1e-10) is (mutant is None)


@every
def test_gradcheck(name: str) -> None:
    likelihood, outputs, target = case(name)
    outputs.requires_grad_()
    assert torch.autograd.gradcheck(lambda o: likelihood.log_prob(o, target), (outputs,))
    assert torch.autograd.gradgradcheck(lambda o: likelihood.log_prob(o, target), (outputs,))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_M11_finite_at_extremes(name: str, dtype: torch.dtype) -> None:
    likelihood, outputs, target = case(name, n=64, dtype=dtype)
    target = target.to(dtype) if target.is_floating_point() else target
    values = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], dtype=dtype)
    outputs = values[torch.randint(0, 5, outputs.shape, generator=seeded(1))].requires_grad_()
    log_p = likelihood.log_prob(outputs, target)
    log_p.sum().backward()
    with torch.no_grad():
        parts = [log_p, outputs.grad, likelihood.nll_gradient(outputs, target)]
        parts += [likelihood.mean(outputs), likelihood.predict(outputs), likelihood.sample(outputs, seeded(2))]
        parts += list(likelihood.interval(outputs)) if hasattr(likelihood, "interval") else []
        parts += [likelihood.probabilities(outputs)] if hasattr(likelihood, "probabilities") else []
    assert all(torch.isfinite(part).all() for part in parts)


@every
@given(n=st.integers(0, 6), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_M2_shapes(name: str, n: int, seed: int) -> None:
    likelihood, outputs, target = case(name, n=n, seed=seed, dtype=torch.float32)
    target = target.float() if target.is_floating_point() else target
    assert likelihood.log_prob(outputs, target).shape == (n,)
    assert likelihood.nll_gradient(outputs, target).shape == outputs.shape
    width = likelihood.n_targets if hasattr(likelihood, "n_targets") else 1
    decided = (n,) if width == 1 else (n, width)
    assert likelihood.predict(outputs).shape == likelihood.sample(outputs, seeded(seed)).shape == decided
    assert len(likelihood.mean(outputs)) == n
    likelihood.check_target(target)


@every
def test_M1_wrong_outputs_are_refused(name: str, unhooked: None) -> None:
    likelihood, outputs, target = case(name)
    owner = type(likelihood).__name__
    wide = torch.cat([outputs, outputs[:, :1]], dim=1)
    for bad in (wide, outputs[:, :-1], outputs[0], outputs[None], outputs.long()):
        for call in (likelihood.mean, likelihood.predict, likelihood.sample, lambda o: likelihood.log_prob(o, target)):
            with pytest.raises(ConfigError, match=r"^\w+: .*(shape|floating)") as caught:
                call(bad)
            assert caught.value.mend
    with pytest.raises(
        ConfigError, match=rf"{owner}: outputs must have shape \(N, {likelihood.n_outputs}\), got \(7, "
    ):
        likelihood.log_prob(wide, target)


@every
def test_M12_wrong_targets_are_refused_never_broadcast(name: str, unhooked: None) -> None:
    likelihood, outputs, _ = case(name)
    for make in RECORDS[name].wrong_targets:
        for call in (likelihood.log_prob, likelihood.nll_gradient):
            with pytest.raises(ConfigError, match=r": target must .*, got ") as caught:
                call(outputs, make(len(outputs)))
            assert caught.value.mend


@pytest.mark.parametrize("name", ["bernoulli", "gaussian", "gaussian, fixed", "poisson"])
def test_M12_a_lone_column_is_a_vector(name: str) -> None:
    likelihood, outputs, target = case(name)
    assert torch.equal(likelihood.log_prob(outputs, target), likelihood.log_prob(outputs, target[:, None]))
    assert torch.equal(likelihood.nll_gradient(outputs, target), likelihood.nll_gradient(outputs, target[:, None]))


@every
def test_G7_targets_out_of_range_are_refused_by_row(name: str) -> None:
    likelihood, _, target = case(name)
    likelihood.check_target(target)
    with pytest.raises(DataError, match=r"in row 1 \(1 in all\)"):
        likelihood.check_target(RECORDS[name].out_of_range)


@every
def test_examples_do_not_mix(name: str) -> None:
    likelihood, outputs, target = case(name)
    whole = likelihood.log_prob(outputs, target)
    alone = torch.cat([likelihood.log_prob(outputs[i : i + 1], target[i : i + 1]) for i in range(len(outputs))])
    torch.testing.assert_close(whole, alone, rtol=1e-12, atol=1e-12)


@every
def test_M3_layout_does_not_matter(name: str) -> None:
    likelihood, outputs, target = case(name)
    strided = torch.stack([outputs, outputs], dim=-1)[..., 0]
    assert not strided.is_contiguous() or outputs.shape[1] == 1
    assert torch.equal(likelihood.log_prob(strided, target), likelihood.log_prob(outputs, target))
    with torch.inference_mode():
        assert torch.equal(likelihood.log_prob(outputs.clone(), target), likelihood.log_prob(outputs, target))


@every
def test_sample_is_a_function_of_the_generator_and_has_the_mean(name: str) -> None:
    likelihood, outputs, _ = case(name, n=3)
    assert torch.equal(likelihood.sample(outputs, seeded(5)), likelihood.sample(outputs, seeded(5)))
    n, g = 40_000, seeded(3)
    draws = likelihood.sample(outputs[:1].expand(n, -1), g).double()
    if isinstance(likelihood, Categorical):
        draws = torch.nn.functional.one_hot(draws.long(), 4).double()
    if isinstance(likelihood, Heads):
        draws = torch.cat([torch.nn.functional.one_hot(draws[:, 0].long(), 3).double(), draws[:, 1:]], dim=1)
    expected = likelihood.mean(outputs[:1])[0]
    error = draws.std(0) / math.sqrt(n)
    assert ((draws.mean(0) - expected).abs() <= 5 * error + 1e-12).all()


@every
def test_json_round_trip(name: str) -> None:
    likelihood = RECORDS[name].likelihood
    assert from_json(json.loads(json.dumps(to_json(likelihood)))) == likelihood


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"likelihood": 3},
        {"likelihood": "gausian", "n_targets": 1, "scale": None},
        {"likelihood": "os.system", "n_targets": 1},
        {"likelihood": "gaussian"},
        {"likelihood": "gaussian", "n_targets": True, "scale": None},
        {"likelihood": "gaussian", "n_targets": 1, "scale": True},
        {"likelihood": "gaussian", "n_targets": 1, "scale": -1.0},
        {"likelihood": "gaussian", "n_targets": 1, "scale": math.nan},
        {"likelihood": "gaussian", "n_targets": 1, "scale": "1"},
        {"likelihood": "gaussian", "n_targets": 1.0, "scale": None},
        {"likelihood": "categorical", "n_classes": 1, "smoothing": 0.0},
        {"likelihood": "categorical", "n_classes": 10**12, "smoothing": 0.0},
        {"likelihood": "categorical", "n_classes": 3, "smoothing": 0.0, "more": 1},
        {"likelihood": "heads", "names": ["a"], "likelihoods": []},
        {"likelihood": "heads", "names": [], "likelihoods": []},
        {"likelihood": "heads", "names": [1], "likelihoods": [{"likelihood": "poisson", "n_targets": 1}]},
        {"likelihood": "heads", "names": ["a"], "likelihoods": [{"likelihood": "heads"}]},
        {"likelihood": "heads", "names": ["a"], "likelihoods": [{"likelihood": "poisson", "n_targets": 2}]},
    ],
)
def test_damaged_json_is_refused(value: Any) -> None:
    with pytest.raises(CheckpointError) as caught:
        from_json(value, where="run.json")
    assert str(caught.value).startswith("run.json") and caught.value.mend


@pytest.mark.parametrize(
    "make",
    [
        lambda: Categorical(1),
        lambda: Categorical(3, smoothing=1.0),
        lambda: Categorical(3, smoothing=-0.1),
        lambda: Bernoulli(0),
        lambda: Gaussian(0),
        lambda: Gaussian(scale=0.0),
        lambda: Gaussian(scale=math.inf),
        lambda: Poisson(-1),
        lambda: Heads((), ()),
        lambda: Heads((Poisson(),), ()),
        lambda: Heads((Poisson(), Poisson()), ("a", "a")),
        lambda: Heads((Poisson(2),), ("a",)),
        lambda: Heads((HEADS,), ("a",)),
    ],
)
def test_arguments_out_of_range_are_refused(make: Callable[[], Likelihood]) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert caught.value.mend


def test_for_scoring_reaches_every_head() -> None:
    heads = Heads((Categorical(3, 0.1), Gaussian()), ("a", "b"))
    assert for_scoring(heads) == Heads((Categorical(3), Gaussian()), ("a", "b"))
    assert for_scoring(Poisson()) == Poisson()
    assert for_scoring(Gaussian(beta=0.5)) == Gaussian()

"""Every likelihood, by one table: a new class without a record fails, and with one gets these tests."""

import importlib
import json
import math
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lamina.errors import CheckpointError, ConfigError, DataError
from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.full_gaussian import FullGaussian
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.gaussian_mixture import GaussianMixture
from lamina.likelihoods.heads import Heads
from lamina.likelihoods.laplace import Laplace
from lamina.likelihoods.poisson import Poisson
from lamina.likelihoods.power import Power
from lamina.likelihoods.registry import LIKELIHOODS, for_scoring, from_json, to_json
from lamina.likelihoods.rejecting import Rejecting
from lamina.likelihoods.strings import Strings
from lamina.likelihoods.student_t import StudentT
from likelihoods.records import HEADS, RECORDS, seeded

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
        for more in ("probabilities", "spread", "confidence", "likeliest"):
            parts += [getattr(likelihood, more)(outputs)] if hasattr(likelihood, more) else []
    assert all(torch.isfinite(part).all() for part in parts)


SCALED = [
    lambda s: Gaussian(scale=s),
    lambda s: Laplace(scale=s),
    lambda s: Power(1.5, scale=s),
    lambda s: StudentT(scale=s),
]


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("make", [*SCALED, lambda s: Power(1.0, scale=s), lambda s: Power(2.0, scale=s)])
def test_M11_finite_at_every_scale(make: Callable[[float], Likelihood], scale: float) -> None:
    outputs = torch.tensor([-1e4, -1.0, 0.0, 1e-3, 1.0, 1e4])[:, None].requires_grad_()
    target, likelihood = torch.tensor([1e4, 0.0, 0.0, 0.0, 1.0, -1.0]), make(scale)
    log_p = likelihood.log_prob(outputs, target)
    (slope,) = torch.autograd.grad(log_p.sum(), outputs)
    closed = likelihood.nll_gradient(outputs.detach(), target)
    assert torch.isfinite(log_p).all() and torch.isfinite(closed).all()
    torch.testing.assert_close(-slope, closed, rtol=1e-5, atol=0)


LEARNT = [
    Gaussian(),
    Laplace(),
    Power(1.0),
    Power(1.5),
    Power(2.0),
    StudentT(),
    GaussianMixture(2),
    FullGaussian(),
]


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("likelihood", LEARNT, ids=str)
def test_M11_learnt_scales_reach_from_a_millionth_to_a_million(likelihood: Likelihood, scale: float) -> None:
    log_s = math.log(scale)
    raw = log_s / math.sqrt(1.0 - (log_s / 14.0) ** 2)  # the output whose scale it is
    centres, target = torch.tensor([-1e4, -1.0, 0.0, 1e-3, 1.0, 1e4]), torch.tensor([1e4, 0.0, 0.0, 0.0, 1.0, -1.0])
    mixing = [torch.zeros_like(centres)] * 2 if isinstance(likelihood, GaussianMixture) else []
    parts = [*mixing, *[centres] * max(1, len(mixing)), *[torch.full_like(centres, raw)] * max(1, len(mixing))]
    outputs = torch.stack(parts, dim=1).requires_grad_()
    log_p = likelihood.log_prob(outputs, target)
    (slope,) = torch.autograd.grad(log_p.sum(), outputs)
    closed = likelihood.nll_gradient(outputs.detach(), target)
    exact = outputs.detach().double()
    assert torch.isfinite(log_p).all() and torch.isfinite(slope).all() and torch.isfinite(closed).all()
    torch.testing.assert_close(log_p.double(), likelihood.log_prob(exact, target.double()), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(-slope, closed, rtol=1e-4, atol=1e-4)
    ones = exact.clone()
    ones[:, len(mixing) + max(1, len(mixing)) :] = 0.0  # scale 1
    (low, high), (left, right) = likelihood.interval(exact, 0.9), likelihood.interval(ones, 0.9)
    torch.testing.assert_close(high - low, scale * (right - left), rtol=1e-4, atol=1e-9)


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
    owner = type(getattr(likelihood, "likelihood", likelihood)).__name__
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


LONE = ["bernoulli", "gaussian", "gaussian, fixed", "poisson", "laplace", "power", "student-t", "full-gaussian"]


@pytest.mark.parametrize("name", [*LONE, "gaussian-mixture", "strings, 1"])
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
    draws = RECORDS[name].features(likelihood.sample(outputs[:1].expand(n, -1), g))
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
        {"likelihood": "laplace", "n_targets": 1, "scale": 0.0},
        {"likelihood": "power", "exponent": 2.5, "n_targets": 1, "scale": None},
        {"likelihood": "power", "exponent": None, "n_targets": 1, "scale": None},
        {"likelihood": "student-t", "n_targets": 1, "freedom": 1.0, "scale": None},
        {"likelihood": "student-t", "n_targets": 1, "freedom": math.inf, "scale": None},
        {"likelihood": "full-gaussian", "n_targets": 0},
        {"likelihood": "gaussian-mixture", "n_components": 0, "n_targets": 1, "covariance": "shared"},
        {"likelihood": "gaussian-mixture", "n_components": 2, "n_targets": 1, "covariance": "full"},
        {"likelihood": "gaussian-mixture", "n_components": 2, "n_targets": 1, "covariance": ["shared"]},
        {"likelihood": "strings", "length": 3, "n_symbols": 10, "variable": 1},
        {"likelihood": "strings", "length": 3, "n_symbols": 10},
        {"likelihood": "rejecting", "inside": {"likelihood": "poisson", "n_targets": 1}, "threshold": 0.5},
        {"likelihood": "rejecting", "inside": {"likelihood": "bernoulli", "n_targets": 1}, "threshold": 1.5},
        {"likelihood": "rejecting", "inside": {"likelihood": "bernoulli", "n_targets": 1}, "threshold": True},
        {"likelihood": "rejecting", "inside": {"likelihood": "rejecting"}, "threshold": 0.5},
        {"likelihood": "rejecting", "inside": {"likelihood": "bernoulli", "n_targets": 1}},
        {"likelihood": "rejecting", "inside": None, "threshold": 0.5},
        {"likelihood": "heads", "names": ["a"], "likelihoods": []},
        {"likelihood": "heads", "names": [], "likelihoods": []},
        {"likelihood": "heads", "names": [1], "likelihoods": [{"likelihood": "poisson", "n_targets": 1}]},
        {"likelihood": "heads", "names": ["a"], "likelihoods": [{"likelihood": "heads"}]},
        {"likelihood": "heads", "names": ["a"], "likelihoods": [{"likelihood": "poisson", "n_targets": 2}]},
    ],
)
def test_damaged_json_is_refused(value: Any, unhooked: None) -> None:
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
        lambda: Laplace(scale=-1.0),
        lambda: Power(0.9),
        lambda: Power(2.1),
        lambda: Power(1.5, scale=0.0),
        lambda: StudentT(freedom=1.0),
        lambda: StudentT(freedom=math.nan),
        lambda: FullGaussian(0),
        lambda: GaussianMixture(0),
        lambda: GaussianMixture(2, 0),
        lambda: Strings(0, 3),
        lambda: Strings(2, 1),
        lambda: Rejecting(Categorical(3), 1.1),
        lambda: Rejecting(Categorical(3), math.nan),
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
    assert for_scoring(Rejecting(Categorical(3, 0.1), 0.5)) == Rejecting(Categorical(3), 0.5)
    for likelihood in (Laplace(), Power(1.5), StudentT(), FullGaussian(2), GaussianMixture(2), Strings(2, 3)):
        assert for_scoring(likelihood) == likelihood
    assert for_scoring(Gaussian(beta=0.5)) == Gaussian()


@every
def test_M4_nothing_is_tied_to_a_device(name: str) -> None:
    likelihood, outputs, target = case(name)
    outputs, target = outputs.to("meta"), target.to("meta")
    parts = [likelihood.log_prob(outputs, target), likelihood.mean(outputs), likelihood.predict(outputs)]
    parts += [likelihood.nll_gradient(outputs, target), likelihood.sample(outputs)]
    parts += [likelihood.kl(outputs, outputs)] if hasattr(likelihood, "kl") else []
    parts += [likelihood.spread(outputs)] if hasattr(likelihood, "spread") else []
    assert all(part.device.type == "meta" for part in parts)


@every
def test_M11_finite_for_targets_of_any_size(name: str) -> None:
    likelihood, outputs, target = case(name, dtype=torch.float32)
    if not target.is_floating_point() or name in {"heads", "categorical, soft"}:
        return
    for size in (1e-6, 1e6):
        log_p = likelihood.log_prob(outputs, size * target.float())
        closed = likelihood.nll_gradient(1e4 * outputs.sign(), size * target.float())
        assert torch.isfinite(log_p).all() and torch.isfinite(closed).all()

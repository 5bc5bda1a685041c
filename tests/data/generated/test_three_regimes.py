"""Three-regime curves: their errors against repeated fits and quadrature, and the diagnosis that they serve."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from lamina.data.generated.three_regimes import regime_errors, three_regimes, true_curve
from lamina.errors import ConfigError
from lamina.methodology.diagnosis import diagnose
from lamina.methodology.score import Score


def squared(fitted: np.polynomial.Polynomial, x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (t - fitted(x)) ** 2


@pytest.mark.parametrize("degree", [1, 3, 5, 8])
def test_D14_curve_has_unit_variance_and_each_degree_explains_its_share(degree: int) -> None:
    def f(x: float) -> float:
        return true_curve(torch.tensor([x], dtype=torch.float64), degree).item()

    assert integrate.quad(f, -1, 1)[0] / 2 == pytest.approx(0, abs=1e-10)
    assert integrate.quad(lambda x: f(x) ** 2, -1, 1)[0] / 2 == pytest.approx(1, rel=1e-9)
    x, w = np.polynomial.legendre.leggauss(40)
    values = true_curve(torch.from_numpy(x), degree).numpy()
    for family in range(degree + 1):
        best = np.polynomial.Polynomial.fit(x, values, family, w=np.sqrt(w))
        left = (w * (values - best(x)) ** 2).sum() / 2
        assert left == pytest.approx(1 - family / degree, abs=1e-9)


def test_D14_inputs_are_uniform_noise_is_normal_and_points_do_not_depend_on_how_many() -> None:
    x, t, _ = three_regimes(4_000, noise=0.5, seed=3)
    assert t is not None and x.shape == t.shape == (4_000, 1) and x.dtype == t.dtype == torch.float32
    assert stats.kstest(x.numpy().ravel(), "uniform", (-1, 2)).pvalue > 1e-3
    noise = (t - true_curve(x)).numpy().ravel() / 0.5
    assert stats.kstest(noise, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(noise, x.numpy().ravel())[0, 1]) < 0.06
    again = three_regimes(9, noise=0.5, seed=3)
    assert torch.equal(again.inputs, x[:9]) and torch.equal(again.targets, t[:9])  # type: ignore[arg-type]
    assert not torch.equal(three_regimes(9, seed=4).inputs, x[:9])


@pytest.mark.parametrize("family", [0, 2, 3, 4, 9])
def test_D14_errors_are_those_of_many_fits(family: int) -> None:
    """Expected training and validation error of least squares, by fitting 4,000 noisy copies with numpy."""
    n, degree, noise, copies = 25, 3, 0.7, 4_000
    x = three_regimes(n, seed=1).inputs
    found = regime_errors(x, family, degree=degree, noise=noise)
    rng = np.random.default_rng(0)
    xs = x.double().numpy().ravel()
    f = true_curve(x.double(), degree).numpy().ravel()
    targets = f[:, None] + noise * rng.normal(size=(n, copies))
    powers = np.vander(xs, family + 1)
    weights = np.linalg.lstsq(powers, targets, rcond=None)[0]
    train = ((targets - powers @ weights) ** 2).mean(0)
    at, w = np.polynomial.legendre.leggauss(60)
    new = np.vander(at, family + 1) @ weights
    truth = true_curve(torch.from_numpy(at), degree).numpy()
    valid = noise**2 + 0.5 * w @ (new - truth[:, None]) ** 2
    assert found.train == pytest.approx(train.mean(), abs=4 * train.std() / math.sqrt(copies))
    assert found.valid == pytest.approx(valid.mean(), abs=4 * valid.std() / math.sqrt(copies))
    assert found.valid == pytest.approx(found.bayes + found.bias + found.variance)
    assert found.bias == pytest.approx(0.5 * w @ (new.mean(1) - truth) ** 2, abs=0.1 * found.variance + 1e-9)
    if family >= degree:
        assert found.bias == pytest.approx(0, abs=1e-12)
        assert found.train == pytest.approx(noise**2 * (1 - (family + 1) / n), rel=1e-9)
    else:
        assert found.bias > 1 - family / degree


def test_D14_validation_error_is_least_where_the_family_matches() -> None:
    x = three_regimes(80).inputs
    curve = [regime_errors(x, d) for d in range(16)]
    assert min(curve, key=lambda errors: errors.valid).regime == "matched"
    assert [errors.regime for errors in curve].count("matched") == 1 and curve[5].regime == "matched"
    train = [errors.train for errors in curve]
    assert all(a > b for a, b in pairwise(train))
    assert all(errors.train < errors.bayes < errors.valid for errors in curve[5:])


@pytest.mark.parametrize(
    ("family", "said"), [(0, "underfitting"), (5, "balanced"), (13, "overfitting")], ids=["low", "right", "high"]
)
def test_D14_the_diagnosis_tells_the_regimes_apart(family: int, said: str) -> None:
    rng = np.random.default_rng(0)
    x, t = (part.double().numpy().ravel() for part in three_regimes(60, noise=0.1)[:2])  # type: ignore[union-attr]
    u, v = (part.double().numpy().ravel() for part in three_regimes(400, noise=0.1, seed=1)[:2])  # type: ignore[union-attr]

    def score(values: np.ndarray) -> dict[str, Score]:
        ends = [math.sqrt(rng.choice(values, len(values)).mean()) for _ in range(300)]
        return {"m": Score(math.sqrt(values.mean()), *np.quantile(ends, [0.025, 0.975]), higher_is_better=False)}

    fitted = np.polynomial.Chebyshev.fit(x, t, family, domain=[-1, 1])
    constant = {"the mean": score((v - t.mean()) ** 2)}
    found = diagnose(
        (),
        metric="m",
        train=score(squared(fitted, x, t)),
        valid=score(squared(fitted, u, v)),
        baselines=constant,
        n_train=60,
        n_parameters=family + 1,
    )
    assert found.regime == said


def test_what_cannot_be_is_refused() -> None:
    for n, degree, noise in ((0, 3, 0.1), (3, 0, 0.1), (3, 3, -1.0), (3, 3, float("nan"))):
        with pytest.raises(ConfigError, match="three_regimes"):
            three_regimes(n, degree=degree, noise=noise)
    for inputs, family in ((torch.zeros(9, 1), 1), (torch.rand(4, 1), 4), (torch.rand(4, 1), -1)):
        with pytest.raises(ConfigError, match="regime_errors"):
            regime_errors(inputs, family)

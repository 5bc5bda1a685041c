"""Scripted regimes: each run is made so that one thing holds it back, and the diagnosis must name it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from lamina.methodology.diagnosis import Diagnosis, diagnose
from lamina.methodology.score import Score


def score(value: float, half: float = 0.02, higher: bool = True) -> dict[str, Score]:
    return {"m": Score(value, value - half, value + half, higher)}


def falling(n: int = 30, **figures: float) -> list[dict[str, Any]]:
    return [{"epoch": e, "loss": 2 * 0.8**e + 0.1, "valid_loss": 2 * 0.8**e + 0.2, **figures} for e in range(1, n + 1)]


def judged(train: float, valid: float, *, history: Sequence[dict[str, Any]] = (), **more: Any) -> Diagnosis:
    given = {
        "baselines": {"always A": score(0.5), "linear": score(0.6)},
        "n_train": 1000,
        "n_parameters": 10_000,
        "best_epoch": 20,
    } | more
    return diagnose(history or falling(), metric="m", train=score(train, 0.005), valid=score(valid), **given)


def value(found: Diagnosis, name: str) -> float | None:
    return next(item.value for item in found.evidence if item.name.startswith(name))


@pytest.mark.parametrize(
    ("train", "valid", "settings", "regime", "option"),
    [
        pytest.param(0.59, 0.585, {"hidden": [64]}, "underfitting", "--set hidden=128", id="M16-high-training-error"),
        pytest.param(0.99, 0.85, {"dropout": 0.1}, "overfitting", "--set dropout=0.3", id="M16-gap"),
        pytest.param(0.98, 0.97, {}, "balanced", "", id="M16-no-gap-low-error"),
        pytest.param(0.82, 0.81, {"width": 16}, "balanced", "--set width=32", id="M16-no-gap-noise-or-capacity"),
        pytest.param(0.99, 0.85, {"dropout": 0.5}, "data-limited", "", id="M03-gap-though-regularised"),
    ],
)
def test_regimes(train: float, valid: float, settings: dict[str, Any], regime: str, option: str) -> None:
    found = judged(train, valid, settings=settings)
    assert found.regime == regime
    if option:
        assert option in [step.option for step in found.steps]


def test_m03_asks_for_data_only_where_training_goes_well_and_validation_does_not() -> None:
    def asks(found: Diagnosis) -> bool:
        return any("more data" in step.why for step in found.steps)

    assert asks(judged(0.99, 0.85, settings={"dropout": 0.5}))
    assert not asks(judged(0.59, 0.585))  # more data do not help a network that cannot fit what it has
    assert not asks(judged(0.98, 0.97))


def test_m16_validation_error_is_training_error_plus_gap() -> None:
    for train, valid in [(0.99, 0.85), (0.6, 0.62)]:
        found = judged(train, valid)
        gap = value(found, "gap")
        assert gap is not None and (1 - valid) == pytest.approx((1 - train) + gap)
    errors = diagnose(
        (), metric="m", train=score(1.0, 0.1, False), valid=score(3.0, 0.3, False), n_train=9, n_parameters=1
    )
    assert value(errors, "gap") == pytest.approx(2.0)
    assert errors.regime == "overfitting"


@pytest.mark.parametrize(("degree", "regime"), [(0, "underfitting"), (3, "balanced"), (20, "overfitting")])
def test_m16_three_regimes_of_polynomials(degree: int, regime: str) -> None:
    rng = np.random.default_rng(0)

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.uniform(-1, 1, n)
        return x, 4 * x**3 - 2 * x + rng.normal(0, 0.05, n)

    (x, y), (u, v) = sample(60), sample(300)

    def rmse(fitted: Callable[[np.ndarray], np.ndarray], a: np.ndarray, b: np.ndarray) -> dict[str, Score]:
        squares = (b - fitted(a)) ** 2
        ends = [math.sqrt(rng.choice(squares, len(squares)).mean()) for _ in range(300)]
        return {"m": Score(math.sqrt(squares.mean()), *np.quantile(ends, [0.025, 0.975]), higher_is_better=False)}

    fitted = np.polynomial.Chebyshev.fit(x, y, degree, domain=[-1, 1])
    mean = np.polynomial.Chebyshev.fit(x, y, 0, domain=[-1, 1])
    train, valid = rmse(fitted, x, y), rmse(fitted, u, v)
    found = diagnose(
        (), metric="m", train=train, valid=valid, baselines={"the mean": rmse(mean, u, v)}, n_train=60, n_parameters=9
    )
    assert found.regime == regime


def test_a_gap_of_no_size_is_none_however_sharp_the_interval() -> None:
    found = diagnose((), metric="m", train=score(0.971, 1e-4), valid=score(0.970, 1e-4), n_train=10**6, n_parameters=9)
    assert found.regime == "balanced"


def test_g16_worse_than_the_constant_is_the_first_sentence() -> None:
    found = judged(0.52, 0.45)
    assert found.regime == "worse than baseline"
    assert found.verdict.startswith("On validation it is worse than the baseline always A")
    assert found.steps


def test_g16_worse_than_the_linear_model_only_if_clearly() -> None:
    assert judged(0.56, 0.55).verdict.startswith("On validation it is worse than the baseline linear")
    assert "worse" not in judged(0.60, 0.59).verdict
    assert "worse" not in judged(0.98, 0.97).verdict


def test_g5_flat_loss_is_not_learning_with_three_causes() -> None:
    flat = [{"epoch": e, "loss": 0.693 + 1e-4 * math.sin(e), "valid_loss": 0.7} for e in range(1, 20)]
    found = judged(0.5, 0.5, history=flat)
    assert found.regime == "not learning"
    causes = found.verdict.split("Likely causes:")[1]
    assert causes.count(",") + causes.count(" or ") >= 2
    assert any("learning_rate" in step.option for step in found.steps)
    # a first epoch that learnt all there is leaves a flat curve too, and is no failure
    assert judged(0.98, 0.97, history=flat).regime == "balanced"


def test_g15_best_epoch_zero_is_said() -> None:
    found = judged(0.5, 0.45, best_epoch=0)
    assert "best epoch 0" in found.verdict and found.regime == "not learning"
    assert found.verdict.startswith("On validation it is worse")


def test_g4_names_the_layers_without_gradient() -> None:
    found = judged(0.5, 0.49, dead=("hidden.1", "hidden.2"))
    assert any("hidden.1, hidden.2" in item.note for item in found.evidence)
    assert "no gradient" in found.verdict
    counted = judged(0.9, 0.89, history=falling(dead_layers=2.0))
    assert value(counted, "layers without any gradient") == 2


@pytest.mark.parametrize(
    ("ratio", "far", "smaller"),
    [(0.6, True, True), (0.5001, True, True), (0.01, False, None), (1e-4, False, None), (9e-6, True, False)],
)
def test_m10_update_ratio_warns_at_half_and_at_a_hundred_thousandth(ratio: float, far: bool, smaller: bool) -> None:
    found = judged(0.98, 0.97, history=falling(update_ratio=ratio), settings={"learning_rate": 0.01})
    note = next(item for item in found.evidence if item.name.startswith("update over weight"))
    assert ("far from" in note.note) is far
    rates = [float(s.option.split("=")[1]) for s in found.steps if "learning_rate" in s.option]
    assert bool(rates) is far
    if far:
        assert (rates[0] < 0.01) is smaller


def descend(curvature: list[float], rate: float, steps: int = 200) -> list[dict[str, Any]]:
    """Gradient descent on f(x) = ½ Σ λ x²."""
    spectrum, x = np.array(curvature), np.ones(len(curvature))
    records = []
    for step in range(1, steps + 1):
        gradient = spectrum * x
        records.append(
            {
                "epoch": step,
                "loss": 5 + float(0.5 * (spectrum * x * x).sum()),
                "grad_norm": float(np.linalg.norm(gradient)),
            }
        )
        x = x - rate * gradient
    return records


def test_m11_tells_ill_conditioning_from_a_minimum_on_quadratics() -> None:
    at_minimum = judged(0.9, 0.89, history=descend([1.0, 0.9], 0.5))
    note = next(item.note for item in at_minimum.evidence if item.name.startswith("gradient norm"))
    assert "minimum" in note
    # at twice the inverse of the largest curvature it bounces across the valley: no progress, and no smaller gradient
    bounces = judged(0.9, 0.89, history=descend([1.0, 1e-6], 2.0))
    note = next(item.note for item in bounces.evidence if item.name.startswith("gradient norm"))
    assert "ill-conditioned" in note


def test_g3_an_explosion_suggests_clipping() -> None:
    history = falling(grad_norm=1.0)
    history[7]["grad_norm"] = 1e4
    assert "--set clip_norm=1" in [s.option for s in judged(0.98, 0.97, history=history).steps]
    clipped = judged(0.98, 0.97, history=history, settings={"clip_norm": 1.0})
    assert not any("clip" in s.option for s in clipped.steps)


def test_stopped_at_the_last_epoch_while_improving() -> None:
    found = judged(0.98, 0.97, max_epochs=10, best_epoch=10, history=falling(10))
    assert found.steps[0].option == "--epochs 20" and "still improving" in found.verdict
    assert "still improving" not in judged(0.98, 0.97, max_epochs=10, best_epoch=4, history=falling(10)).verdict
    assert "still improving" not in judged(0.98, 0.97, max_epochs=99, best_epoch=10, history=falling(10)).verdict


def test_a_wide_interval_asks_for_a_larger_validation_part() -> None:
    wide = diagnose(
        falling(), metric="m", train=score(1.0, 0.0), valid=score(0.95, 0.1), n_train=100, n_parameters=10, best_epoch=9
    )
    assert wide.regime == "balanced" and "--split 0.60,0.20,0.20" in [s.option for s in wide.steps]
    assert not any("split" in s.option for s in judged(0.98, 0.97).steps)


def test_undefined_scores_are_no_verdict() -> None:
    nothing = {"m": Score(float("nan"), reason="not defined because only one class occurs in this part")}
    found = diagnose([], metric="m", train=score(0.9), valid=nothing, n_train=1, n_parameters=1)
    assert found.regime == "unknown" and "only one class" in found.verdict
    broken = diagnose(
        [{"epoch": 1, "loss": None}], metric="m", train=score(0.9), valid=nothing, n_train=1, n_parameters=1
    )
    assert broken.regime == "not learning"
    diagnose([], metric="other", train={}, valid={}, n_train=0, n_parameters=0)


def test_without_a_validation_part_nothing_is_compared_nor_said_of_the_start() -> None:
    train = score(0.9)
    history = [{"epoch": e, "loss": 0.9**e} for e in range(1, 30)]
    found = diagnose(history, metric="m", train=train, valid=train, best_epoch=0, n_train=9, n_parameters=9)
    assert found.regime == "unknown" and "no validation part" in found.verdict


def test_score_is_never_nan_and_says_why() -> None:
    assert Score(float("inf")).value is None and Score(float("nan")).reason == "not finite"
    assert Score(1.0, low=float("nan")).low is None
    assert not Score(None).better_than(Score(0.1))
    assert Score(0.1, higher_is_better=False).better_than(Score(0.2, higher_is_better=False))
    assert Score(0.9, 0.88, 0.92).clearly_differs(Score(0.8, 0.75, 0.85))
    assert not Score(0.9, 0.78, 0.95).clearly_differs(Score(0.8, 0.75, 0.85))

"""Bootstrap intervals against scipy, against their nominal coverage, and McNemar against scipy's binomial test."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from lamina.errors import ConfigError
from lamina.metrics import bootstrap_interval, mcnemar, mean_interval, paired_difference


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


SKEWED = rng(7).exponential(size=60)
SCIPY = {"bca": "BCa", "percentile": "percentile"}


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize(
    "data", [SKEWED, rng(8).normal(size=61), np.array([0.0, 1, 2, 2, 5, 1, 0, 0])], ids=["skewed", "normal", "ties"]
)
def test_mean_interval_is_scipys(method: str, data: np.ndarray) -> None:
    theirs = stats.bootstrap((data,), np.mean, method=SCIPY[method], n_resamples=2000, rng=rng(1)).confidence_interval
    ours = mean_interval(data, generator=rng(1), n_resamples=2000, method=method)  # the same draws from the same seed
    np.testing.assert_allclose((ours.low, ours.high), theirs, rtol=1e-12)
    assert ours.method == method and ours.estimate == pytest.approx(data.mean())


@pytest.mark.parametrize("method", ["bca", "percentile"])
@pytest.mark.parametrize("metric", [np.std, np.median], ids=["std", "median"])
def test_interval_of_any_metric_is_scipys(method: str, metric) -> None:
    theirs = stats.bootstrap((SKEWED,), metric, method=SCIPY[method], n_resamples=4000, rng=rng(1)).confidence_interval
    ours = bootstrap_interval(metric, SKEWED, generator=rng(2), n_resamples=4000, method=method)
    scale = theirs.high - theirs.low  # other draws: within the ends' own sampling error
    assert abs(ours.low - theirs.low) < 0.06 * scale and abs(ours.high - theirs.high) < 0.06 * scale


def test_bca_differs_from_percentile_where_it_should() -> None:
    bca, plain = (mean_interval(SKEWED, generator=rng(1), method=m) for m in ("bca", "percentile"))
    assert bca.low > plain.low and bca.high > plain.high  # skewed to the right: the interval moves right


def test_rows_are_drawn_together() -> None:
    y = rng(3).integers(0, 2, 50)
    same = bootstrap_interval(lambda a, b: float(np.mean(a == b)), y, y.copy(), generator=rng(0), n_resamples=50)
    assert (same.low, same.high) == (1.0, 1.0)


def test_mean_of_two_values_has_the_laws_interval() -> None:
    right = np.arange(400) < 300
    ours = mean_interval(right, generator=rng(0), n_resamples=100_000, method="percentile")
    law = stats.binom.ppf([0.025, 0.975], 400, 0.75) / 400
    np.testing.assert_allclose((ours.low, ours.high), law, atol=1.01 / 400)
    general = bootstrap_interval(np.mean, right, generator=rng(1), n_resamples=4000, method="percentile")
    np.testing.assert_allclose((ours.low, ours.high), (general.low, general.high), atol=2.01 / 400)
    other = mean_interval(np.where(right, 3.0, -1.0), generator=rng(0), n_resamples=100_000, method="percentile")
    np.testing.assert_allclose((other.low, other.high), (4 * ours.low - 1, 4 * ours.high - 1), rtol=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    g, held, trials = rng(5), 0, 600
    for _ in range(trials):
        i = mean_interval(g.exponential(size=80), generator=g, n_resamples=400, level=0.9)
        held += i.low <= 1.0 <= i.high
    assert abs(held / trials - 0.9) < 5 * np.sqrt(0.09 / trials)


def test_grouped_jackknife_is_close_to_the_whole_one() -> None:
    data = rng(4).exponential(size=2000)  # 500 groups of 4
    grouped = bootstrap_interval(np.mean, data, generator=rng(0), n_resamples=3000)
    whole = mean_interval(data, generator=rng(0), n_resamples=3000)
    width = whole.high - whole.low
    assert abs(grouped.low - whole.low) < 0.03 * width and abs(grouped.high - whole.high) < 0.03 * width


def test_pairing_narrows() -> None:
    hard = rng(0).normal(size=500)
    a, b = hard + 0.1 * rng(1).normal(size=500), hard + 0.1 * rng(2).normal(size=500) - 0.05
    i = paired_difference(a, b, generator=rng(3))
    assert i.estimate == pytest.approx(np.mean(a) - np.mean(b)) and 0 < i.low < i.high < 0.1
    flipped = paired_difference(b, a, generator=rng(3))
    assert flipped.estimate == -i.estimate and flipped.high < 0


def test_undefined_resamples_are_left_out() -> None:
    y, p = np.array([0, 0, 0, 0, 1, 0]), np.array([0.1, 0.5, 0.2, 0.3, 0.4, 0.6])

    def auc(a: np.ndarray, b: np.ndarray) -> float:
        return roc_auc_score(a, b) if 0 < a.sum() < len(a) else float("nan")

    i = bootstrap_interval(auc, y, p, generator=rng(0), n_resamples=300)
    assert 0 < i.n_resamples < 300 and i.low <= i.estimate <= i.high and i.method == "percentile"
    nothing = bootstrap_interval(lambda a: float("nan"), y, generator=rng(0), n_resamples=5)
    assert np.isnan(nothing.low) and nothing.n_resamples == 0


@pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [2.5], [True, True]])
def test_nothing_varies(values: list) -> None:
    i = mean_interval(values, generator=rng(0))
    assert i.low == i.high == i.estimate == float(values[0]) and i.method == "percentile"
    j = bootstrap_interval(np.mean, np.array(values, dtype=float), generator=rng(0), n_resamples=20)
    assert (j.low, j.high) == (i.low, i.high)


def test_same_generator_same_interval() -> None:
    assert mean_interval(SKEWED, generator=rng(9)) == mean_interval(SKEWED, generator=rng(9))
    assert mean_interval(SKEWED, generator=rng(9)) != mean_interval(SKEWED, generator=rng(10))


def test_twenty_thousand_rows_take_under_a_second() -> None:
    losses = rng(0).exponential(size=20_000)
    start = time.process_time()
    mean_interval(losses, generator=rng(1))
    mean_interval(losses < 1, generator=rng(1))
    assert time.process_time() - start < 2.0  # 0.2 s on an idle core


@given(only_first=st.integers(0, 60), only_second=st.integers(0, 60), both=st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_mcnemar_is_the_binomial_test(only_first: int, only_second: int, both: int) -> None:
    if only_first + only_second + both == 0:
        return
    a = [1] * only_first + [0] * only_second + [1] * both
    b = [0] * only_first + [1] * only_second + [1] * both
    ours = mcnemar(a, b)
    n = only_first + only_second
    expected = stats.binomtest(only_first, n).pvalue if n else 1.0
    assert (ours.only_first, ours.only_second) == (only_first, only_second)
    assert ours.p_value == pytest.approx(expected, rel=1e-10)


def test_mcnemar_on_many_examples() -> None:
    a, b = np.repeat([1, 0], [10_300, 9_700]), np.repeat([0, 1], [10_300, 9_700])
    assert mcnemar(a, b).p_value == pytest.approx(stats.binomtest(9_700, 20_000).pvalue, rel=1e-8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_interval([], generator=rng()),
        lambda: mean_interval([1.0, float("nan")], generator=rng()),
        lambda: mean_interval([[1.0]], generator=rng()),
        lambda: mean_interval([1.0], generator=rng(), level=1.0),
        lambda: mean_interval([1.0], generator=rng(), n_resamples=0),
        lambda: paired_difference([1.0, 2.0], [1.0], generator=rng()),
        lambda: mcnemar([1, 0], [1]),
        lambda: mcnemar([1, 2], [1, 0]),
        lambda: bootstrap_interval(np.mean, generator=rng()),
        lambda: bootstrap_interval(np.mean, np.zeros(0), generator=rng()),
    ],
)
def test_M11_M12_bad_input_is_refused(call) -> None:
    with pytest.raises(ConfigError) as caught:
        call()
    assert caught.value.mend and ": " in str(caught.value)

"""The likelihood as a setting: what it learns, what it says at predict, what is kept, and what is refused."""

from __future__ import annotations

import csv
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from lamina.data.tables.targets import ClassTarget, CountTarget, NumberTarget
from lamina.errors import CheckpointError, ConfigError
from lamina.likelihoods import (
    Bernoulli,
    Categorical,
    FullGaussian,
    Gaussian,
    GaussianMixture,
    Heads,
    Laplace,
    Poisson,
    Power,
    StudentT,
)
from lamina.methodology.problem import likelihood_for
from lamina.methodology.spread import FEWEST, has_learnt_scale, spread_shift
from lamina.runs.predictor import Predictor
from lamina.workflows.evaluate import evaluate
from lamina.workflows.fit import fit
from lamina.workflows.predict import predict
from methodology.tables import line, problem, settings, table, trained, write
from workflows.made import QUICK, people

CLASSES = ClassTarget("kind", ("a", "b", "c"))
TWO = ClassTarget("yes", (False, True))
NUMBER, OTHER = NumberTarget("size", 0.0, 1.0, "", -1.0, 1.0), NumberTarget("height", 0.0, 1.0, "", -1.0, 1.0)
COUNT = CountTarget("visits", "", 1.0)


def test_the_choice_is_for_the_targets_of_its_kind_and_the_others_keep_theirs() -> None:
    assert likelihood_for((NUMBER,), beta=0.5) == Gaussian(beta=0.5)
    assert likelihood_for((NUMBER,), beta=0.5, chosen="gaussian:scale=2") == Gaussian(scale=2.0, beta=0.5)
    assert likelihood_for((NUMBER,), chosen="power:exponent=1.2") == Power(1.2)
    assert likelihood_for((COUNT,), chosen="poisson") == Poisson()
    assert likelihood_for((TWO,), chosen="categorical") == Categorical(2)
    assert likelihood_for((TWO,), chosen="bernoulli") == Bernoulli()
    mixed = likelihood_for((CLASSES, NUMBER, OTHER, COUNT), 0.1, 0.5, "student-t:freedom=3")
    students = (StudentT(freedom=3.0), StudentT(freedom=3.0))
    assert mixed == Heads((Categorical(3, 0.1), *students, Poisson()), ("kind", "size", "height", "visits"))


def test_some_read_several_numbers_together() -> None:
    assert likelihood_for((NUMBER, OTHER), chosen="full-gaussian") == FullGaussian(2)
    assert likelihood_for((NUMBER, OTHER), chosen="gaussian-mixture:components=3") == GaussianMixture(3, 2)
    assert likelihood_for((NUMBER,), chosen="gaussian-mixture:components=3") == GaussianMixture(3)


@pytest.mark.parametrize(
    ("targets", "chosen", "words"),
    [
        ((NUMBER,), "poisson", "poisson is for counts, and size holds numbers"),
        ((COUNT,), "laplace", "laplace is for numbers, and visits holds counts"),
        ((CLASSES,), "student-t", "student-t is for numbers, and kind holds classes"),
        ((NUMBER,), "categorical", "categorical is for classes, and size holds numbers"),
        ((CLASSES,), "bernoulli", "kind has 3"),
        ((NUMBER,), "full-gaussian", "for two numbers or more"),
        ((NUMBER, CLASSES), "full-gaussian", "must all be numbers"),
        ((NUMBER, COUNT), "gaussian-mixture:components=2", "must all be numbers"),
    ],
)
def test_a_likelihood_that_does_not_fit_the_target_is_refused(targets, chosen, words) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        likelihood_for(targets, chosen=chosen)
    assert caught.value.mend


def test_bernoulli_has_no_label_smoothing() -> None:
    with pytest.raises(ConfigError, match="label smoothing"):
        likelihood_for((TWO,), 0.1, chosen="bernoulli")


DATA = line(120)


@pytest.mark.parametrize(("task", "used"), [("classes", "bernoulli"), ("count", "poisson")])
def test_beta_is_refused_where_the_likelihood_that_was_chosen_has_none(task: str, used: str) -> None:
    data = {**DATA, "y": np.arange(120) % (2 if task == "classes" else 40)}
    with pytest.raises(ConfigError, match=f"spread is learnt, and likelihood is {used}"):
        problem(data, ["y"], settings(task=task, beta=0.2))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"likelihood": "laplace", "beta": 0.2}, "beta is for a Gaussian whose spread is learnt"),
        ({"likelihood": "gaussian:scale=1", "beta": 0.2}, "beta is for a Gaussian whose spread is learnt"),
        ({"likelihood": "gaussian-mixture:components=2", "bag": 2}, "do not correspond"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(changes, words) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        problem(DATA, ["y"], settings(**changes))
    assert caught.value.mend


def test_hints_need_heads() -> None:
    columns = DATA | {"z": DATA["x"] ** 2, "w": DATA["x"] ** 3}
    with pytest.raises(ConfigError, match="hints need a head for each"):
        problem(columns, ["y", "z"], settings(likelihood="full-gaussian", hints="w"))


def test_another_likelihood_than_the_gaussian_is_judged_by_itself() -> None:
    """A few outliers would otherwise decide when training stops."""
    assert problem(DATA, ["y"], settings())[1].monitor == "valid_rmse"
    assert problem(DATA, ["y"], settings(likelihood="gaussian"))[1].monitor == "valid_rmse"
    assert problem(DATA, ["y"], settings(likelihood="student-t"))[1].monitor == "valid_loss"


INTERVALS = {
    "laplace": lambda m, s: stats.laplace.interval(0.9, m, s),
    "student-t:freedom=3": lambda m, s: stats.t.interval(0.9, 3, m, s),
    "power:exponent=1.5": lambda m, s: stats.gennorm.interval(0.9, 1.5, m, s),
    "gaussian": lambda m, s: stats.norm.interval(0.9, m, s),
}


@pytest.mark.parametrize("chosen", INTERVALS)
def test_answers_and_intervals_are_those_of_the_distribution(chosen: str) -> None:
    predictor = trained(DATA, ["y"], settings(likelihood=chosen)).predictor
    inputs, _ = predictor.prepare(table({"x": [-1.0, 0.0, 2.0]}))
    r = predictor.outputs(inputs).double().numpy()
    (target,) = predictor.targets
    centre, scale = r[:, 0], np.exp(r[:, 1] / np.sqrt(1 + (r[:, 1] / 14) ** 2))
    low, high = INTERVALS[chosen](centre, scale)
    (answer,) = predictor.predict(table({"x": [-1.0, 0.0, 2.0]}))
    np.testing.assert_allclose(answer.prediction, target.mean + target.scale * centre, rtol=1e-6)
    np.testing.assert_allclose(answer.low, target.mean + target.scale * low, rtol=1e-6)
    np.testing.assert_allclose(answer.high, target.mean + target.scale * high, rtol=1e-6)


def test_outliers_move_a_student_t_fit_less_than_a_gaussian_one() -> None:
    columns = line(300, noise=0.1)
    bad = np.random.default_rng(1).choice(300, 30, replace=False)
    columns["y"][bad] += 40.0
    far = {}
    for chosen in ("gaussian", "laplace", "student-t:freedom=2"):
        asked = settings(likelihood=chosen, model="linear", epochs=60, learning_rate=0.05)
        (answer,) = trained(columns, ["y"], asked).predictor.predict(table({"x": [-1.0, 0.0, 1.0]}))
        far[chosen] = np.abs(answer.prediction - np.array([-2.0, 1.0, 4.0])).max()
    assert far["student-t:freedom=2"] < 0.5 < 2.0 < far["gaussian"]
    assert far["laplace"] < 0.5 * far["gaussian"]


def test_a_mixture_sees_both_branches_where_a_gaussian_sees_their_mean() -> None:
    chance = np.random.default_rng(0)
    x, side = chance.normal(size=600), chance.choice([-1.0, 1.0], 600)
    columns = {"x": x, "y": 5 * side + 0.2 * chance.normal(size=600)}
    loss = {}
    for chosen in ("gaussian", "gaussian-mixture:components=2"):
        asked = settings(likelihood=chosen, model="linear", epochs=60, learning_rate=0.02)
        given, whole = problem(columns, ["y"], asked)
        predictor = trained(columns, ["y"], asked).predictor
        rows = torch.from_numpy(given.split.test)
        loss[chosen] = -predictor.log_prob(predictor.outputs(given.inputs, rows), given.encoded[rows]).mean()
        assert whole.likelihood == chosen
    assert isinstance(predictor.likelihood, GaussianMixture)
    means = predictor.likelihood.means(predictor.outputs(given.inputs, rows)).squeeze(-1)
    means = means * predictor.targets[0].scale + predictor.targets[0].mean
    torch.testing.assert_close(means.min(1).values, torch.full((len(rows),), -5.0), rtol=0, atol=0.7)
    torch.testing.assert_close(means.max(1).values, torch.full((len(rows),), 5.0), rtol=0, atol=0.7)
    # Differential entropies in closed form: N(0, 5²) against two branches of spread 0.2, told apart with log 2.
    gap = 0.5 * np.log(25.04 / 0.04) - np.log(2)
    assert loss["gaussian"] - loss["gaussian-mixture:components=2"] > 0.7 * gap


def test_a_full_gaussian_learns_that_two_numbers_go_together() -> None:
    chance = np.random.default_rng(0)
    x, common = chance.normal(size=500), chance.normal(size=500)
    columns = {"x": x, "u": x + common, "v": 2 * x - common + 0.5 * chance.normal(size=500)}
    asked = settings(likelihood="full-gaussian", model="linear", epochs=60, learning_rate=0.02)
    predictor = trained(columns, ["u", "v"], asked).predictor
    assert predictor.likelihood == FullGaussian(2)
    new = table({"x": [-1.0, 0.5]})
    u, v = predictor.predict(new)
    np.testing.assert_allclose(u.prediction, [-1.0, 0.5], atol=0.3)
    np.testing.assert_allclose(v.prediction, [-2.0, 1.0], atol=0.4)
    covariance = predictor.likelihood.covariance(predictor.outputs(predictor.prepare(new)[0])).numpy()
    correlation = covariance[:, 0, 1] / np.sqrt(covariance[:, 0, 0] * covariance[:, 1, 1])
    np.testing.assert_allclose(correlation, -1 / np.sqrt(1.25), atol=0.1)
    half = stats.norm.ppf(0.95)
    np.testing.assert_allclose(
        (v.high - v.low) / 2, half * np.sqrt(covariance[:, 1, 1]) * predictor.targets[1].scale, rtol=1e-5
    )


@pytest.mark.parametrize("likelihood", [Laplace(), Power(1.5), StudentT(freedom=3.0)])
def test_every_learnt_scale_is_recalibrated(likelihood) -> None:
    """Of numbers drawn from the distribution itself at scale 1, what claims e^-1 is shifted back by 1."""
    assert has_learnt_scale(likelihood)
    n = 20_000
    centres = torch.zeros(n, 2, dtype=torch.float64)
    targets = likelihood.sample(centres, torch.Generator().manual_seed(0))
    claimed = -1.0 / np.sqrt(1 - 1 / 196)
    delta = spread_shift(likelihood, torch.stack([centres[:, 0], torch.full((n,), claimed)], 1), targets)
    assert delta == pytest.approx(-claimed, abs=0.03)
    assert spread_shift(likelihood, centres[: FEWEST - 1], targets[: FEWEST - 1]) == 0.0


@pytest.mark.parametrize("other", [Gaussian(scale=1.0), GaussianMixture(2), FullGaussian(2), Poisson(), Gaussian(2)])
def test_nothing_else_is_recalibrated(other) -> None:
    assert not has_learnt_scale(other)


@pytest.mark.slow
def test_a_run_keeps_its_likelihood_and_its_report_shows_it(tmp_path: Path) -> None:
    people(tmp_path / "people.csv", 120)
    asked = QUICK.with_changes({"likelihood": "student-t:freedom=3", "epochs": 4}, where="test")
    run = fit(str(tmp_path / "people.csv"), targets=["spend"], settings=asked, out=str(tmp_path / "run"))
    assert tomllib.loads((run.folder / "run.toml").read_text())["settings"]["likelihood"] == "student-t:freedom=3"
    assert Predictor.load(run.folder).likelihood == StudentT(freedom=3.0)
    facts = json.loads((run.folder / "report.json").read_text())
    assert "student-t:freedom=3" in facts["run"]["model"]
    assert 0 <= facts["targets"][0]["numbers"]["coverage"] <= 1
    page = (run.folder / "report.html").read_text()
    assert "student-t:freedom=3" in page and "negative log-likelihood" in page
    predict(str(run.folder), str(tmp_path / "people.csv"), output=str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert all(float(row["low"]) < float(row["prediction"]) < float(row["high"]) for row in rows)
    judged = evaluate(str(run.folder), str(tmp_path / "people.csv"))["scores"]["spend"]
    assert judged["nll"]["value"] is not None


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["gaussian-mixture:components=2", "full-gaussian"])
def test_several_numbers_read_together_make_a_run(tmp_path: Path, chosen: str) -> None:
    source = write(tmp_path / "t.csv", line(150) | {"z": np.random.default_rng(5).normal(size=150)})
    asked = settings(likelihood=chosen)
    run = fit(str(source), targets=["y", "z"], settings=asked, out=str(tmp_path / "run"))
    assert set(run.scores) == {"y", "z"}
    predict(str(run.folder), str(source), output=str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open() as file:
        names = set(next(csv.reader(file)))
    assert {"y_prediction", "y_low", "y_high", "z_prediction", "z_low", "z_high"} <= names
    assert set(evaluate(str(run.folder), str(source))["scores"]) == {"y", "z"}


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", line(150))
    asked = settings(likelihood="gaussian-mixture:components=2", schedule="constant", patience=50, epochs=3)
    short = fit(str(source), settings=asked, out=str(tmp_path / "short"))
    longer = asked.with_changes({"epochs": 5}, where="test")
    with pytest.raises(ConfigError, match="likelihood: gaussian-mixture:components=2 -> laplace"):
        fit("", settings=longer.with_changes({"likelihood": "laplace"}, where="test"), resume=str(short.folder))
    fit("", settings=longer, resume=str(short.folder))
    whole = fit(str(source), settings=longer, out=str(tmp_path / "whole"))
    files = [run.folder / "model" / "model.safetensors" for run in (short, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_model_whose_likelihood_has_another_number_of_targets_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    predictor = trained(DATA, ["y"], settings()).predictor
    path = replace(predictor, targets=(*predictor.targets, predictor.targets[0])).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="do not fit together"):
        Predictor.load(path)

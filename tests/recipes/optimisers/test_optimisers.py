"""The comparison of optimisers: problems, trainings, the same budget for each, tables of made results."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from lamina.data.batch import Batch
from lamina.likelihoods.gaussian import Gaussian
from lamina.recipes.draw import drawn
from lamina.recipes.optimisers.contest import TRIAL_SEED, Entrant, conclude, entrants, plan
from lamina.recipes.optimisers.problems import PROBLEMS, load_parts
from lamina.recipes.optimisers.table import OPTIMISERS, optimiser
from lamina.recipes.optimisers.train import mean_loss, measurement, trial
from lamina.recipes.recipe import Options, Results

OPTIONS = Options(seeds=3)


def test_problems_have_three_parts_without_overlap_and_networks_of_their_outputs() -> None:
    for problem in PROBLEMS.values():
        parts = load_parts(problem.name)
        sizes = [part.size for part in (parts.train, parts.valid, parts.test)]
        assert sizes == ([264, 89, 89] if problem.name == "table" else [1_078, 359, 360])
        rows = [{tuple(row) for row in part.inputs.flatten(1).tolist()} for part in (parts.train, parts.test)]
        assert len(rows[0] & rows[1]) < 5
        network = problem.network(torch.Generator().manual_seed(0))
        outputs = network(parts.valid.inputs)
        assert outputs.shape == (parts.valid.size, problem.likelihood.n_outputs)
        again = problem.network(torch.Generator().manual_seed(0))
        assert torch.equal(outputs, again(parts.valid.inputs))
        loss = mean_loss(network, parts.train, problem.likelihood)
        assert loss < {"table": 2.5, "pictures": 3.0, "sequence": 3.0, "autoencoder": 60.0}[problem.name]
        assert sum(p.numel() for p in network.parameters()) < 5_000


def test_the_table_is_scaled_by_its_training_part() -> None:
    train = load_parts("table").train
    together = torch.column_stack([train.inputs, train.targets])
    torch.testing.assert_close(together.mean(0), torch.zeros(11), atol=1e-5, rtol=0)
    torch.testing.assert_close(together.std(0, correction=0), torch.ones(11), atol=1e-5, rtol=0)


def test_the_sequence_is_read_in_the_order_of_its_rows() -> None:
    network = PROBLEMS["sequence"].network(torch.Generator().manual_seed(0))
    pictures = torch.rand(3, 1, 8, 8)
    state = None
    for row in range(8):
        _, state = network.rows(pictures[:, 0, row : row + 1], state)
    torch.testing.assert_close(network(pictures), network.output(state[0]))


def test_loss_is_the_mean_of_the_examples() -> None:
    network = nn.Linear(1, 1)
    x, t = torch.randn(7, 1), torch.randn(7)
    expected = (0.5 * (network(x).squeeze(1) - t) ** 2 + 0.5 * math.log(2 * math.pi)).mean().item()
    assert mean_loss(network, Batch(x, t), Gaussian(1, scale=1.0)) == pytest.approx(expected, rel=1e-5)


def test_every_optimiser_has_as_many_candidates_that_read_differently() -> None:
    assert len({each.name for each in OPTIMISERS}) == len(OPTIMISERS)
    for each in OPTIMISERS:
        assert len(each.candidates) == 4
        assert len({each.shown.format(**setting) for setting in each.candidates}) == 4
        assert each.kind in {"gradient", "closure"}
        assert optimiser(each.name) is each


@pytest.mark.parametrize("each", OPTIMISERS, ids=lambda each: each.name)
def test_every_optimiser_trains_the_table_and_gives_the_same_twice(each: Any) -> None:
    setting = dict(each.candidates[-1 if each.name == "Newton, damped" else 2])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = measurement(name=each.name, setting=setting, problem="table", epochs=3, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = measurement(name=each.name, setting=setting, problem="table", epochs=3, seed=5)
    assert [row[1] for row in first["curve"]] == [row[1] for row in again["curve"]]
    assert first["test_loss"] == again["test_loss"]
    assert len(first["curve"]) == 4
    assert first["train_loss"] == first["curve"][-1][1] < first["curve"][0][1]
    assert first["seconds"] == first["curve"][-1][0] > 0
    assert first["curve"][0][0] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("problem", ["pictures", "sequence", "autoencoder"])
@pytest.mark.parametrize("name", ["Hessian-free", "K-FAC", "Newton, trust region", "L-BFGS", "TONGA"])
def test_curvature_works_on_every_kind_of_network(problem: str, name: str) -> None:
    setting = dict(optimiser(name).candidates[1])
    found = measurement(name=name, setting=setting, problem=problem, epochs=1, seed=0)
    assert found["train_loss"] < found["curve"][0][1]


def test_trial_gives_the_least_validation_loss_and_the_test_loss_is_of_that_epoch() -> None:
    task, setting = PROBLEMS["table"], {"lr": 0.05}
    found = measurement(name="SGD", setting=setting, problem="table", epochs=12, seed=0)
    losses = [trial(name="SGD", setting=setting, problem="table", epochs=e, seed=0)["valid_loss"] for e in (1, 6, 12)]
    assert losses == sorted(losses, reverse=True)
    # the same training by hand, PyTorch alone
    from lamina.data.stream import epoch_order

    parts, network = load_parts("table"), task.network(torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05)
    seen = [(mean_loss(network, parts.valid, task.likelihood), mean_loss(network, parts.test, task.likelihood))]
    for epoch in range(12):
        for rows in epoch_order(264, 0, epoch).split(32):
            optimizer.zero_grad()
            (0.5 * (network(parts.train.inputs[rows]).squeeze(1) - parts.train.targets[rows]) ** 2).mean().backward()
            optimizer.step()
        seen.append((mean_loss(network, parts.valid, task.likelihood), mean_loss(network, parts.test, task.likelihood)))
    valid, test = min(seen)
    assert losses[-1] == pytest.approx(valid, rel=1e-4)
    assert found["test_loss"] == pytest.approx(test, rel=1e-4)


def test_a_training_that_diverges_ends_early_and_is_no_choice() -> None:
    found = measurement(name="SGD", setting={"lr": 1e6}, problem="table", epochs=9, seed=0)
    assert len(found["curve"]) < 9
    assert not math.isfinite(found["train_loss"])


def test_bold_driver_never_lets_the_loss_rise() -> None:
    found = measurement(name="bold driver", setting={"lr": 30.0}, problem="table", epochs=15, seed=0)
    losses = [row[1] for row in found["curve"]]
    assert losses[-1] < losses[0]


def error(name: str, problem: str, seed: int) -> float:
    """Make a training loss that follows from name, problem and seed."""
    base = {"table": 1.0, "pictures": 0.5, "sequence": 0.7, "autoencoder": 20.0}[problem]
    gain = (
        0.0 if name == "SGD" else 0.3 if name in {"Adam", "SGD, momentum 0.9", "L-BFGS", "Levenberg-Marquardt"} else 0.1
    )
    return base * (1 - gain) + 0.01 * seed + 0.001 * (seed % 2) * len(name)


def finished(options: Options = OPTIONS) -> Results:
    results = Results()
    while any(job.key not in results for job in plan(options, {}, results).jobs):
        for job in plan(options, {}, results).jobs:
            a: Any = job.arguments
            if job.function is trial:
                place = list(optimiser(a["name"]).candidates).index(a["setting"])
                results[job.key] = {"valid_loss": [None, 0.4, 0.3, 0.5][place]}
            else:
                loss = error(a["name"], a["problem"], a["seed"])
                curve = [[0.0, 100.0], [1.0, loss + 0.1], [2.0, loss]]
                results[job.key] = {"train_loss": loss, "test_loss": loss + 0.2, "curve": curve, "seconds": 2.0}
    return results


def test_the_same_number_of_trials_for_each_and_then_the_measurements() -> None:
    first = plan(OPTIONS, {}, Results())
    count = sum(len(some) for some in entrants(OPTIONS).values())
    assert len(first.jobs) == 4 * count
    assert {job.function for job in first.jobs} == {trial}
    assert {job.arguments["seed"] for job in first.jobs} == {TRIAL_SEED}
    assert first.later_jobs == 3 * count
    last = plan(OPTIONS, {}, finished())
    assert len(last.jobs) == 7 * count
    assert len({job.key for job in last.jobs}) == len(last.jobs)
    assert sum(job.cost for job in last.jobs) == pytest.approx(sum(job.cost for job in first.jobs) + first.later)
    assert {job.arguments["setting"]["lr"] for job in last.jobs if job.arguments["name"] == "Adam"
            and job.function is measurement} == {1e-2}  # fmt: skip


def test_optimisers_that_cannot_be_used_are_left_out_and_named() -> None:
    names = {problem: {one.each.name for one in some} for problem, some in entrants(OPTIONS).items()}
    assert "extended Kalman filter" in names["table"]
    assert "extended Kalman filter" not in names["pictures"]
    tables = conclude(OPTIONS, {}, finished()).tables
    assert "extended Kalman filter" in tables[1].note
    assert "Not for this problem" not in tables[0].note


def test_table_has_students_intervals_and_differences_paired_by_seed() -> None:
    tables = conclude(OPTIONS, {}, finished()).tables
    for problem, table in zip(PROBLEMS, tables, strict=True):
        for row in table.to_dict()["rows"]:
            name, _, setting, train, difference, test, _, seconds = row
            losses = np.array([error(name, problem, seed) for seed in range(3)])
            plain = np.array([error("SGD", problem, seed) for seed in range(3)])
            low, high = stats.t.interval(0.95, 2, loc=losses.mean(), scale=stats.sem(losses))
            assert (train["value"], train["low"], train["high"]) == pytest.approx((losses.mean(), low, high))
            assert test["value"] == pytest.approx(losses.mean() + 0.2)
            assert seconds == 2.0
            if name == "SGD":
                assert difference is None
                assert setting == "ε = 0.05"
                continue
            gap = losses - plain
            assert difference["value"] == pytest.approx(gap.mean())
            half = stats.t.ppf(0.975, 2) * stats.sem(gap)
            assert difference["high"] - difference["value"] == pytest.approx(half, abs=1e-12)


def test_checks_hold_and_notice_what_does_not_train_or_diverges() -> None:
    results = finished()
    assert all(check.met for check in conclude(OPTIONS, {}, results).checks)

    def broken(name: str, **figures: Any) -> list[bool]:
        made = Results(results)
        for key, found in made.items():
            if key.startswith("measurement") and f'"name":"{name}"' in key:
                made[key] = {**found, **figures}
        return [check.met for check in conclude(OPTIONS, {}, made).checks]

    assert broken("Newton, damped", train_loss=None) == [True, True, True, True, True]  # nothing guards it
    assert broken("RMSProp", train_loss=None) == [False, False, True, True, True]
    assert broken("RMSProp", train_loss=200.0) == [True, False, True, True, True]
    assert broken("Adam", train_loss=50.0) == [True, True, True, False, True]
    assert broken("SGD, momentum 0.9", train_loss=50.0) == [True, True, False, True, True]
    assert broken("L-BFGS", train_loss=50.0) == [True, True, True, True, False]


def test_figures_are_drawn_also_where_something_diverged() -> None:
    results = finished()
    for key, found in results.items():
        if key.startswith("measurement") and '"name":"Adam"' in key:
            results[key] = {**found, "train_loss": None, "curve": [[0.0, 100.0], [1.0, None]]}
    for figure in conclude(OPTIONS, {}, results).figures:
        assert drawn(figure)[f"{figure.name}.png"].startswith(b"\x89PNG")


def test_quick_form_tries_every_second_candidate_for_fewer_passes() -> None:
    quick = Entrant(OPTIMISERS[0], PROBLEMS["table"], Options(1, quick=True))
    full = Entrant(OPTIMISERS[0], PROBLEMS["table"], Options(1))
    assert list(quick.candidates) == list(full.candidates)[::2]
    assert quick.trials[0].arguments["epochs"] < full.trials[0].arguments["epochs"]
    assert quick.cost < full.cost

"""What the two tables share: sets, networks, support vector machines, settings, comparisons."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.svm import SVC
from torch import nn

from lamina.autoencoders.autoencoder_layer import AutoencoderLayer
from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy.rbm_layer import RBMLayer
from lamina.errors import ConfigError
from lamina.recipes.pretraining import train
from lamina.recipes.pretraining.compare import COLUMNS, Cells, two_proportion_z, with_interval
from lamina.recipes.pretraining.sets import SETS, load_parts, settled_sizes
from lamina.recipes.pretraining.settings import UPDATES, WIDTH, all_said, said, seconds, setting
from lamina.recipes.pretraining.svm import support_vectors
from lamina.training.greedy import pretrain_greedy
from lamina.training.learning_rate import LearningRate

TUNE = {"epochs": 4, "patience": 2, "rate": 0.01, "batch": 20}
PRETRAIN = {"epochs": 2, "rate": 0.05, "momentum": 0.5, "sparsity": 0.2, "batch": 20}
SIZES = [200, 50, 100]


def run(start: str = "rbm", depths: tuple[int, ...] = (1, 2), seed: int = 0, **changes: Any) -> dict[str, Any]:
    at: dict[str, Any] = {"widths": [12, 10], "tune": TUNE, "pretrain": PRETRAIN}
    at |= {"dropout": 0.2, "input_dropout": 0.1} | changes
    return train.networks(
        name="basic", digits="digits", sizes=SIZES, start=start, depths=list(depths), setting=at, seed=seed
    )


@pytest.mark.parametrize("name", [name for name in SETS if name != "convex"])  # which takes ten seconds however small
def test_every_set_is_made_in_its_sizes(name: str) -> None:
    parts = load_parts(name, "digits", (60, 20, 30))
    assert [part.inputs.shape for part in parts] == [(60, 784), (20, 784), (30, 784)]
    assert all(part.inputs.min() >= 0 and part.inputs.max() <= 1 for part in parts)
    assert parts.train.targets is not None
    assert int(parts.train.targets.max()) == SETS[name].classes - 1
    assert load_parts(name, "digits", (60, 20, 30)) is parts


def test_sizes_are_as_published_or_a_tenth() -> None:
    assert {name: settled_sizes(name, "mnist", quick=False) for name in SETS} == {
        **dict.fromkeys(SETS, (10_000, 2_000, 50_000)),
        "rect": (1_000, 200, 50_000),
        "convex": (6_000, 2_000, 50_000),
    }
    assert settled_sizes("rot", "mnist", quick=True) == (1_000, 200, 5_000)
    assert settled_sizes("rect", "mnist", quick=True) == (1_000, 200, 5_000)
    assert sum(settled_sizes("rot", "digits", quick=False)) <= 1_797
    assert settled_sizes("convex", "digits", quick=False) == (6_000, 2_000, 50_000)


@pytest.mark.parametrize("start", ["random", "rbm", "autoencoder", "denoising", "today"])
def test_networks_of_every_start_and_depth_are_trained_and_scored_the_same_twice(start: str) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    pretrain = {**PRETRAIN, "corruption": 0.2}
    found = run(start, pretrain=pretrain)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert run(start, pretrain=pretrain) == found
    assert run(start, pretrain=pretrain, seed=1) != found
    assert len(found["pretrain_loss"]) == (0 if start in ("random", "today") else 2)
    assert set(found["depths"]) == {"1", "2"}
    for score in found["depths"].values():
        assert 0 <= score["test_error"] <= 1 and 1 <= score["epoch"] <= score["epochs"] <= 4


@pytest.mark.parametrize(("kind", "sparsity"), [("rbm", 0.2), ("rbm", None), ("autoencoder", None)])
def test_U04_a_depth_starts_with_the_layers_that_all_depths_share(kind: str, sparsity: float | None) -> None:
    found = run(kind, pretrain={**PRETRAIN, "sparsity": sparsity})
    parts = load_parts("basic", "digits", (200, 50, 100))
    taught = train.logistic([784, 12, 10], 10, 0)
    machine = RBMLayer(0.05, momentum=0.5, sparsity=sparsity, centred=sparsity is not None, draw_data=True)
    coder = AutoencoderLayer(0.05, optimizer=partial(torch.optim.SGD, momentum=0.5))
    pretrain_greedy(
        taught,
        InMemory(Batch(parts.train.inputs), 20),
        machine if kind == "rbm" else coder,
        epochs=2,
        callbacks=lambda _: [LearningRate(lambda progress: 1 - 0.99 * progress)],
        generator=torch.Generator().manual_seed(0),
    )
    for depth in (1, 2):
        network = train.logistic([784, 12, 10][: depth + 1], 10, 0)
        fresh = copy.deepcopy(network.state_dict())
        for k in range(1, depth + 1):
            network.get_submodule(f"linear{k}").load_state_dict(taught.get_submodule(f"linear{k}").state_dict())
        assert torch.equal(network.state_dict()["output.weight"], fresh["output.weight"])
        again = train.fine_tuned(network, parts, TUNE, 0)
        assert again == pytest.approx(found["depths"][str(depth)], rel=1e-5)


def test_only_the_first_machine_decays() -> None:
    inputs = load_parts("basic", "digits", (200, 50, 100)).train.inputs
    found, without, by_hand = (train.logistic([784, 12, 10], 10, 0) for _ in range(3))
    train.pretrained(found, Batch(inputs), "rbm", {**PRETRAIN, "first_decay": 0.5}, 0)
    train.pretrained(without, Batch(inputs), "rbm", PRETRAIN, 0)
    machine = RBMLayer(0.05, momentum=0.5, sparsity=0.2, centred=True, draw_data=True)
    generator = torch.Generator().manual_seed(0)
    falling = [LearningRate(lambda progress: 1 - 0.99 * progress)]
    for rest, teacher in ((by_hand, replace(machine, weight_decay=0.5)), (by_hand[2:], machine)):
        with torch.no_grad():
            seen = inputs if rest is by_hand else by_hand[:2](inputs)
        stream = InMemory(Batch(seen), 20)
        pretrain_greedy(rest, stream, teacher, epochs=2, layers=1, callbacks=lambda _: falling, generator=generator)
    for name, weight in by_hand.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight)
    assert found.linear1.weight.norm() < 0.9 * without.linear1.weight.norm()


@pytest.mark.parametrize(
    ("name", "rate", "first"),
    [("adam", 0.02, None), ("adam", 0.02, 0.1), ("adam-falling", 0.05, 0.1), ("sgd", 0.5, None), ("sgd", 0.5, 0.2)],
)
def test_U04_fine_tuning_is_gradient_descent_written_out_and_takes_the_best_epoch(
    name: str, rate: float, first: float | None
) -> None:
    parts = load_parts("basic", "digits", (200, 50, 100))
    network = train.logistic([784, 12], 10, 3)
    by_hand = copy.deepcopy(network)
    weights = list(by_hand.parameters())
    rates = [rate * (first or 1.0)] * 2 + [rate] * 2
    groups = [{"params": [weight], "lr": own} for weight, own in zip(weights, rates, strict=True)]
    optimizer = (torch.optim.SGD if name == "sgd" else torch.optim.Adam)(groups)
    scores = []
    for epoch in range(12):
        for k, batch in enumerate(InMemory(parts.train, 20, seed=3).batches(epoch)):
            for group, own in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = own if name == "adam" else own * (1 - 0.99 * (10 * epoch + k) / 120)
            optimizer.zero_grad()
            nn.functional.cross_entropy(by_hand(batch.inputs), batch.targets).backward()  # type: ignore[arg-type]
            optimizer.step()
        with torch.no_grad():
            valid, test = (
                float((by_hand(part.inputs).argmax(1) != part.targets).double().mean())
                for part in (parts.valid, parts.test)
            )
        scores.append((valid, epoch + 1, test))
    named = {**({} if name == "adam" else {"optimizer": name}), **({} if first is None else {"first": first})}
    found = train.fine_tuned(network, parts, {**TUNE, **named, "rate": rate, "epochs": 12, "patience": 99}, 3)
    valid, epoch, test = min(scores)
    assert (found["valid_error"], found["epoch"], found["test_error"]) == pytest.approx((valid, epoch, test))
    assert found["epochs"] == 12
    assert len({score[0] for score in scores}) > 3


def test_starting_weights_are_uniform_in_one_over_the_root_of_the_inputs() -> None:
    network = train.logistic([100, 400, 50], 10, 0)
    for name, fan_in in (("linear1", 100), ("linear2", 400), ("output", 50)):
        layer = network.get_submodule(name)
        assert 0.95 / fan_in**0.5 < float(layer.weight.detach().abs().max()) <= 1.001 / fan_in**0.5  # type: ignore[operator]
        assert not layer.bias.any()  # type: ignore[operator]


def test_outputs_that_are_not_finite_are_errors() -> None:
    outputs = torch.tensor([[2.0, 1.0], [float("nan"), 1.0], [0.0, 1.0], [float("inf"), 1.0]])
    assert float(train.error(outputs, torch.tensor([0, 0, 0, 0]))) == 0.75


def test_support_vectors_are_those_of_scikit_learns_own_kernel() -> None:
    found = support_vectors(name="rot", digits="digits", sizes=[300, 60, 80], gammas=[0.01, 0.03])
    parts = load_parts("rot", "digits", (300, 60, 80))
    x, y, v, t = (np.asarray(a) for a in (*_arrays(parts.train), *_arrays(parts.valid)))
    errors = {
        (gamma, c): float((SVC(C=c, gamma=gamma).fit(x, y).predict(v) != t).mean()) for gamma, c, _ in found["tried"]
    }
    assert [row[2] for row in found["tried"]] == pytest.approx(list(errors.values()))
    assert [row[1] for row in found["tried"]] == [10.0, 10.0, 1.0, 100.0]
    assert (found["gamma"], found["C"]) == min(errors, key=lambda key: errors[key])
    assert found["valid_error"] == min(errors.values())
    both = SVC(C=found["C"], gamma=found["gamma"]).fit(np.concatenate([x, v]), np.concatenate([y, t]))
    test, labels = _arrays(parts.test)
    assert found["test_error"] == pytest.approx(float((both.predict(test) != labels).mean()))


def _arrays(part: Batch) -> tuple[Any, Any]:
    assert part.targets is not None
    return part.inputs.double().numpy(), part.targets.numpy()


def test_settings_are_a_tenth_of_the_epochs_in_the_quick_form_and_have_as_many_updates() -> None:
    for start in ("random", "rbm", "autoencoder", "denoising", "today"):
        full, quick = (setting("rot", start, 3, 10_000, quick=quick) for quick in (False, True))
        small = setting("rot", start, 3, 1_000, quick=False)
        assert full["widths"] == [WIDTH] * 3
        for phase in ("pretrain", "tune") if "pretrain" in full else ("tune",):
            assert quick[phase]["epochs"] == full[phase]["epochs"] // 10 >= 1
            if full[phase].get("optimizer") == "sgd":  # its noise is part of the method, so its batches stay
                assert full[phase]["batch"] == small[phase]["batch"] == quick[phase]["batch"] == 10
            else:
                assert 10_000 // full[phase]["batch"] == 1_000 // small[phase]["batch"] == UPDATES
        assert ("pretrain" in full) == (start in train.LEARNERS)
        assert f"rate {full['tune']['rate']:g}" in said(full)
        assert seconds("rot", start, [3], 10_000, quick=True) < seconds("rot", start, [3], 10_000, quick=False)
    by_descent, by_adam = (seconds(name, "autoencoder", [3], 10_000, quick=False) for name in ("rot", "basic"))
    assert by_descent > 1.5 * by_adam  # ten times the updates, and the weights go through memory in each
    on_noise = setting("bg-rand", "denoising", 3, 10_000, quick=False, corruption=0.4)
    assert on_noise["pretrain"]["corruption"] == 0.4
    others = setting("basic", "denoising", 3, 10_000, quick=False)["tune"]
    assert "optimizer" not in others and others["batch"] == 100
    on_turned = setting("rot", "autoencoder", 3, 10_000, quick=False)["tune"]
    assert on_noise["tune"] == on_turned and on_turned["optimizer"] == "sgd"
    assert setting("rot", "denoising", 3, 10_000, quick=False)["tune"] == others | {"rate": 1e-3}
    machines = setting("bg-rand", "rbm", 3, 10_000, quick=False)
    assert machines["tune"]["optimizer"] == "adam-falling" and machines["tune"]["batch"] == 100
    assert said(machines).endswith(
        ", weight decay 0.001 in the first layer, then Adam, 30 epochs at rate 0.008, the first layer at 0.025 of it, "
        "both falling to a hundredth, the epoch with the least validation error kept"
    )
    words = all_said({"SdA": "denoising", "DBN": "rbm"}, ["basic", "rot"], 3, 10_000, quick=False)
    assert [part.split(":")[0] for part in words.split("; ")] == ["SdA", "SdA on rot", "DBN"]
    assert words.count(f"at rate {others['rate']:g}, patience") == 2


def test_verdicts_are_those_of_a_two_proportion_test() -> None:
    for wrong, published in ((1_500, 3.03), (1_700, 3.03), (1_300, 3.03)):
        table = [[wrong, 50_000 - wrong], [round(500 * published), 50_000 - round(500 * published)]]
        chi = stats.chi2_contingency(table, correction=False)
        cell = Cells([wrong / 50_000], [0.02], 50_000, published, True)
        z = two_proportion_z(wrong / 50_000, 50_000, published / 100, 50_000)
        assert z**2 == pytest.approx(chi.statistic)
        word = "same" if chi.pvalue > 0.05 else "better" if wrong < 1_500 else "worse"
        assert cell.verdict.startswith(word) and f"{z:+.1f}" in cell.verdict
    assert two_proportion_z(0.2, 100, 0.1, 400) == pytest.approx(0.1 / (0.12 * 0.88 * (1 / 100 + 1 / 400)) ** 0.5)
    assert two_proportion_z(0.0, 10, 0.0, 10) == 0.0
    with pytest.raises(ConfigError):
        two_proportion_z(1.2, 10, 0.5, 10)


def test_a_cell_has_interval_spread_and_distance() -> None:
    cell = Cells([0.030, 0.036], [0.02, 0.03], 50_000, 3.46, True)
    ends = stats.binomtest(1_650, 50_000).proportion_ci(method="wilson")
    assert cell.percent == pytest.approx(3.3)
    assert (cell.estimate.low, cell.estimate.high) == pytest.approx((100 * ends.low, 100 * ends.high))
    assert cell.row == [2, cell.estimate, "3.00 to 3.60", pytest.approx(2.5), "3.46 ± 0.16", cell.verdict]
    assert len(cell.row) == len(COLUMNS)
    assert cell.near(0.17) and not cell.near(0.15)
    assert Cells([0.03], [0.02], 5_000, 3.46, False).verdict == "not comparable"
    alone = Cells([0.03], [0.02], 5_000, None, True)
    assert alone.verdict == "" and alone.row[2] == "" and alone.row[4] == ""


@pytest.mark.parametrize(
    ("percent", "printed"), [(3.03, "0.15"), (15.22, "0.31"), (47.39, "0.44"), (1.99, "0.12"), (24.05, "0.37")]
)
def test_published_intervals_are_the_printed_ones(percent: float, printed: str) -> None:
    assert with_interval(percent) == f"{percent:.2f} ± {printed}"

"""One training: pure, the regulariser at work, the test part out of sight until the end."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lamina.data.batch import Batch
from lamina.recipes.regularisation import digits, train
from lamina.recipes.regularisation.digits import Digits, drawn, load_digits, settle
from lamina.recipes.regularisation.parts import Regulariser
from lamina.recipes.regularisation.regularisers import REGULARISERS
from lamina.recipes.regularisation.train import measurement, trial
from lamina.training.threads import threads

ON: dict[str, Any] = {"data": "digits", "size": 128, "steps": 12, "seed": 3}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the runner does."""
    with threads(1):
        yield


def test_parts_do_not_overlap_and_do_not_depend_on_the_seed() -> None:
    parts = load_digits("digits")
    assert (parts.pool.size, parts.valid.size, parts.test.size) == (1_100, 247, 450)
    rows = torch.cat([part.inputs.flatten(1) for part in (parts.pool, parts.valid, parts.test)])
    from sklearn.datasets import load_digits as bundled

    # every picture once: the same rows of levels 0 to 16 as scikit-learn's, however often each occurs
    expected = Counter(map(tuple, bundled().data.astype(int).tolist()))
    assert Counter(map(tuple, (rows * 16).round().int().tolist())) == expected
    assert 0.0 <= float(rows.min()) < float(rows.max()) == 1.0
    load_digits.cache_clear()
    again = load_digits("digits")
    assert torch.equal(again.valid.inputs, parts.valid.inputs)


def test_a_seed_draws_its_own_examples_without_repeats() -> None:
    pool = Batch(torch.arange(50.0).unsqueeze(1), torch.arange(50))
    one, two = (drawn(pool, 20, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert one.targets is not None
    assert two.targets is not None
    assert len(set(one.targets.tolist())) == 20
    assert one.targets.tolist() != two.targets.tolist()
    assert torch.equal(one.inputs.squeeze(1).long(), one.targets)


@pytest.mark.parametrize("each", REGULARISERS, ids=lambda each: each.name)
def test_every_candidate_trains_and_changes_the_network(each: Regulariser) -> None:
    plain = trial(name="none", setting={}, **ON)
    found = [
        trial(name=each.name, setting=dict(setting), **ON) for setting in (each.candidates[0], each.candidates[-1])
    ]
    for one in found:
        assert set(one) == {"valid_error", "valid_loss"}
        assert 0.0 <= one["valid_error"] <= 1.0
        assert math.isfinite(one["valid_loss"])
    if each.name == "none":
        assert found == [plain, plain]
    elif not each.name.startswith("early stopping"):  # which stops or does not
        assert {one["valid_loss"] for one in found} != {plain["valid_loss"]}


@pytest.mark.parametrize(
    "name",
    ["none", "dropout", "weight noise", "label noise", "pairs of neighbours", "virtual adversarial", "augmentation"],
)
def test_a_run_is_a_pure_function_of_its_arguments(name: str) -> None:
    setting = dict(next(each for each in REGULARISERS if each.name == name).candidates[-1])
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = measurement(name=name, setting=setting, **ON)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert measurement(name=name, setting=setting, **ON) == first
    assert measurement(name=name, setting=setting, **{**ON, "seed": 4}) != first


def test_a_trial_never_sees_the_test_part(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = load_digits("digits")

    class Hidden(Digits):
        @property
        def test(self) -> Batch:  # type: ignore[override]
            raise AssertionError("the test part was looked at")

    hidden = object.__new__(Hidden)
    for field in ("pool", "valid"):
        object.__setattr__(hidden, field, getattr(parts, field))
    monkeypatch.setattr(train, "load_digits", lambda *_: hidden)
    for each in REGULARISERS:
        trial(name=each.name, setting=dict(each.candidates[0]), **{**ON, "steps": 2})
    with pytest.raises(AssertionError, match="looked at"):
        measurement(name="none", setting={}, **{**ON, "steps": 2})


def test_figures_are_the_share_of_errors_and_the_mean_loss() -> None:
    outputs = torch.zeros(4, 10)
    outputs[0, 3] = outputs[1, 3] = 2.0
    outputs[3] = float("nan")
    part = Batch(outputs, torch.tensor([3, 4, 0, 0]))
    error, loss = train._figures(torch.nn.Identity(), part)
    assert error == 0.5  # the second is wrong, and the last is no number; of equal outputs the first counts
    assert math.isnan(loss)
    error, loss = train._figures(torch.nn.Identity(), part.rows(0, 3))
    level = math.log(9 + math.exp(2))
    assert error == pytest.approx(1 / 3)
    assert loss == pytest.approx((level - 2 + level + math.log(10)) / 3, rel=1e-6)


def test_bagging_averages_networks_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Batch] = []
    good = train._fitted
    monkeypatch.setattr(train, "_fitted", lambda parts, some, *rest: seen.append(some) or good(parts, some, *rest))
    network, examples = train._train("bagging, 5 networks", {}, train.Runs(**{**ON, "steps": 3}))
    assert len(seen) == 5
    assert len({some.inputs.sum().item() for some in seen}) == 5
    for some in seen:
        assert some.size == examples.size == 128
        assert len(torch.unique(some.inputs.flatten(1), dim=0)) < 100  # about 63 % of the examples
    x = load_digits("digits").valid.inputs
    with torch.no_grad():
        mean = torch.stack([member(x).softmax(1) for member in network.members]).mean(0)  # type: ignore[union-attr]
        torch.testing.assert_close(network(x).softmax(1), mean)


def test_without_mnist_the_bundled_digits_are_taken_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMINA_DATA", str(tmp_path))
    said: list[str] = []
    assert settle(False, None, True, said.append) == "digits"
    assert "bundled digits" in said[-1]
    assert settle(True, None, True, said.append) == "digits"
    assert len(said) == 1


def test_digits_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_digits("digits").pool = load_digits("digits").test  # type: ignore[misc]
    assert digits.VALIDATION["digits"] == 247

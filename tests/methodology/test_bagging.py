"""The samples on which bagged networks are trained, and how they answer together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

import lamina
from lamina.errors import ConfigError
from lamina.methodology.bagging import bagged
from methodology.tables import problem, settings, table, trained


@dataclass(frozen=True)
class Split:
    train: np.ndarray


@dataclass(frozen=True)
class Problem:
    split: Split


@dataclass(frozen=True)
class Settings:
    seed: int
    bag: int


@dataclass(frozen=True)
class Plan:
    problem: Problem
    settings: Settings
    suffix: str = ""


class EnoughError(Exception):
    pass


def test_R15_each_network_has_a_bootstrap_sample_of_its_own() -> None:
    rows = np.arange(1000, 1400)
    seen: list[Plan] = []

    class One:
        signal = None

    def train_one(plan: Plan) -> One:
        seen.append(plan)
        if len(seen) == 3:
            raise EnoughError
        return One()

    with pytest.raises(EnoughError):
        bagged(Plan(Problem(Split(rows)), Settings(5, 3)), train_one)  # type: ignore[arg-type]
    assert [plan.settings.seed for plan in seen] == [5, 6, 7]
    assert [plan.suffix for plan in seen] == ["", "-2", "-3"]
    drawn = [plan.problem.split.train for plan in seen]
    for sample in drawn:
        assert len(sample) == 400 and np.isin(sample, rows).all()
        assert len(np.unique(sample)) / 400 == pytest.approx(1 - np.exp(-1), abs=0.08)  # 1 - (1 - 1/n)^n
    assert all((a != b).any() for a, b in [(drawn[0], drawn[1]), (drawn[0], drawn[2]), (drawn[1], drawn[2])])


X = np.random.default_rng(0).normal(size=(150, 2))
CLASSES = {"a": X[:, 0], "b": X[:, 1], "kind": np.where(X[:, 0] > 0.4, "x", np.where(X[:, 1] > 0, "y", "z"))}
BAG = {"model": "mlp", "hidden": "6", "bag": 5, "epochs": 4, "learning_rate": 0.01}


@pytest.mark.parametrize("classes", [2, 3])
def test_R15_networks_that_vote_give_each_class_its_share_of_the_votes(classes: int, tmp_path: Path) -> None:
    columns = CLASSES if classes == 3 else {**CLASSES, "kind": np.where(CLASSES["kind"] == "z", "y", CLASSES["kind"])}
    asked = settings(**BAG, combine="vote")
    done = trained(columns, ["kind"], asked)
    found = lamina.load(done.predictor.save(tmp_path / "model"))
    assert found.card.combine == "vote" and found.card.members == 5
    new = np.random.default_rng(1).normal(size=(300, 2))
    (answer,) = found.predict(table({"a": new[:, 0], "b": new[:, 1]}))
    prepared = torch.from_numpy(found.preparation.transform(table({"a": new[:, 0], "b": new[:, 1]}))[0])
    with torch.no_grad():
        each = [member(prepared).numpy() for member in found.model.members]
    chosen = np.stack([(z[:, 0] > 0).astype(int) if classes == 2 else z.argmax(1) for z in each])
    shares = (chosen[:, :, None] == np.arange(classes)).mean(0)
    np.testing.assert_allclose(answer.probabilities, shares, atol=1e-6)
    assert (np.sort(shares, 1)[:, -1] < 1).any()  # they do not all agree
    averaged = trained(columns, ["kind"], settings(**BAG)).predictor
    for mine, theirs in zip(averaged.model.members, found.model.members, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert averaged.card.combine == ("sigmoid" if classes == 2 else "softmax")


@pytest.mark.parametrize(
    ("targets", "changes", "words"),
    [
        (["kind"], {"bag": 1}, "nobody to vote with"),
        (["a"], {}, "not for numbers"),
        (["kind", "b"], {}, "not for several targets"),
    ],
)
def test_votes_are_refused_where_there_are_none(targets: list[str], changes: dict, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        problem(CLASSES, targets, settings(**{**BAG, "combine": "vote", **changes}))
    assert caught.value.where == "combine" and caught.value.mend

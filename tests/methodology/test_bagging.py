"""The samples on which bagged networks are trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from lamina.methodology.bagging import bagged


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

"""Contests: what is chosen, and which jobs come when."""

from __future__ import annotations

from dataclasses import dataclass

from lamina.recipes.recipe import Job, Results
from lamina.recipes.tuning import Setting, chosen, plan_contests


def work(**arguments: object) -> dict[str, object]:
    """Stand for a training."""
    return dict(arguments)


@dataclass(frozen=True)
class Made:
    """A contest whose jobs are never run."""

    name: str
    candidates: tuple[Setting, ...]
    cost: float = 2.0

    @property
    def trials(self) -> list[Job]:
        return [Job(work, {"name": self.name, "of": dict(c)}, self.cost) for c in self.candidates * (self.many)]

    @property
    def many(self) -> int:
        return int(len(self.candidates) > 1)

    def measurements(self, setting: Setting) -> list[Job]:
        return [Job(work, {"name": self.name, "with": dict(setting), "seed": s}, self.cost) for s in range(3)]


ONE, TWO, THREE = {"a": 1}, {"a": 2}, {"a": 3}


def test_the_least_figure_is_chosen_then_the_next_and_null_is_the_greatest() -> None:
    contest = Made("x", (ONE, TWO, THREE))
    found = [{"error": None, "loss": 0.0}, {"error": 0.2, "loss": None}, {"error": 0.2, "loss": 5.0}]
    results = Results({job.key: one for job, one in zip(contest.trials, found, strict=True)})
    assert chosen(contest, results, "error", "loss") == THREE
    assert chosen(contest, results, "loss") == ONE
    del results[contest.trials[0].key]
    assert chosen(contest, results, "error") is None
    assert chosen(Made("y", (TWO,)), Results(), "error") == TWO


def test_measurements_follow_the_trials_of_their_own_contest() -> None:
    contests = [Made("x", (ONE, TWO)), Made("y", (THREE,), 5.0)]
    first = plan_contests(contests, Results(), 3, "loss")
    assert [job.arguments for job in first.jobs] == [
        {"name": "x", "of": ONE}, {"name": "x", "of": TWO}, *({"name": "y", "with": THREE, "seed": s} for s in range(3))
    ]  # fmt: skip
    assert (first.later, first.later_jobs) == (6.0, 3)
    done = Results({job.key: {"loss": float(job.arguments["of"]["a"])} for job in contests[0].trials})
    last = plan_contests(contests, done, 3, "loss")
    assert [job.arguments["with"] for job in last.jobs if "with" in job.arguments] == [ONE] * 3 + [THREE] * 3
    assert (last.later, last.later_jobs) == (0.0, 0)

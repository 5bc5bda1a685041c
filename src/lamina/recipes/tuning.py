"""Contests of methods: the trials of each one's candidates, then the measurements of the candidate that was chosen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from lamina.recipes.recipe import Job, Plan, Results

Setting = Mapping[str, Any]
"""Arguments of a method, in JSON's types."""


class Contest(Protocol):
    """One method on one problem."""

    @property
    def candidates(self) -> Sequence[Setting]:
        """The settings tried."""

    @property
    def trials(self) -> Sequence[Job]:
        """The trial of each candidate; none where there is only one."""

    @property
    def cost(self) -> float:
        """Of one run."""

    def measurements(self, setting: Setting) -> Sequence[Job]:
        """Return the runs whose figures are reported."""


def chosen(contest: Contest, results: Results, *figures: str) -> Setting | None:
    """Return the candidate with the least figure, of equal ones that with the least next figure.

    Args:
        contest: The method's.
        results: Of finished jobs; null in the log stands for a figure that was not finite, and is the greatest.
        figures: Names of figures of the trials' results.

    Returns:
        The setting, or None where trials are still to come.
    """
    candidates, trials = contest.candidates, contest.trials
    if len(candidates) == 1:
        return candidates[0]
    if not results.have(trials):
        return None

    def rank(number: int) -> list[float]:
        found = results[trials[number].key]
        return [math.inf if found[figure] is None else found[figure] for figure in figures]

    return candidates[min(range(len(trials)), key=rank)]


def plan_contests(contests: Iterable[Contest], results: Results, seeds: int, *figures: str) -> Plan:
    """Name the trials, and of each method whose trials are done the measurements.

    Args:
        contests: In the order in which they should be done.
        results: Of finished jobs.
        seeds: Measurements of each.
        figures: See ``chosen``.

    Returns:
        The jobs that are known, and what those to come will cost.
    """
    jobs: list[Job] = []
    later, later_jobs = 0.0, 0
    for contest in contests:
        jobs += contest.trials
        setting = chosen(contest, results, *figures)
        if setting is None:
            later, later_jobs = later + seeds * contest.cost, later_jobs + seeds
        else:
            jobs += contest.measurements(setting)
    return Plan(jobs, later, later_jobs)

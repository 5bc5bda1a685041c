"""What a recipe is: independent jobs, and how their results become tables, figures and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from lamina.io import dump_json
from lamina.recipes.catalogue import Entry, find_entry
from lamina.recipes.table import Table

Result = dict[str, Any]
"""What a job gives back: numbers, text, lists and mappings of them."""

Facts = Mapping[str, Any]
"""What was settled before the first job and must stay so, for instance which data set there was."""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for.

    Attributes:
        seeds: How many seeds, at least 1; they are 0, 1, 2, ….
        quick: The smaller form.
        data_dir: Where named data sets lie.
        offline: Never fetch data.
        rows: Which rows of the recipe's tables, by name; empty is all.
    """

    seeds: int
    quick: bool = False
    data_dir: str | None = None
    offline: bool = False
    rows: tuple[str, ...] = ()

    def wants(self, row: str) -> bool:
        """Return whether a row was asked for."""
        return not self.rows or row in self.rows


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work, a pure function of its arguments.

    Attributes:
        function: A function of a module, so that another process can import it.
        arguments: What it is called with, in JSON's types; with the function's name they identify the job.
        cost: About how long it takes, in units of the recipe's own choice; for the time left.
        place: Further arguments that do not change the result, as the folder of the data.
    """

    function: Callable[..., Result]
    arguments: Mapping[str, Any]
    cost: float = 1.0
    place: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What identifies the job in the log."""
        return f"{self.function.__name__} {dump_json(dict(sorted(self.arguments.items())))}"

    @property
    def words(self) -> str:
        """The same for a person who waits."""
        return ", ".join(
            [self.function.__name__, *(f"{name} {value}" for name, value in self.arguments.items() if value)]
        )

    def run(self) -> Result:
        """Return its result."""
        return self.function(**self.arguments, **self.place)


class Results(dict[str, Result]):
    """Results of finished jobs by their keys."""

    def of(self, jobs: Sequence[Job]) -> list[Result]:
        """Return the results of jobs that are done, in their order."""
        return [self[job.key] for job in jobs]

    def have(self, jobs: Sequence[Job]) -> bool:
        """Return whether all of these are done."""
        return all(job.key in self for job in jobs)


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs that are known by now.

    Attributes:
        jobs: Done ones too, in the order in which they should be done.
        later: Cost of those that follow from results which are not there yet.
        later_jobs: How many those are.
    """

    jobs: Sequence[Job]
    later: float = 0.0
    later_jobs: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """A statement that must hold, or the rerun has failed.

    Attributes:
        what: The statement.
        met: Whether it holds.
        found: What was found.
    """

    what: str
    met: bool
    found: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture of the results.

    Attributes:
        name: Its file's name without the ending.
        title: What is seen, one line.
        draw: Draws on an empty matplotlib figure.
        size: Width and height in inches.
    """

    name: str
    title: str
    draw: Callable[[Any], None]
    size: tuple[float, float] = (6.4, 4.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a finished rerun shows.

    Attributes:
        tables: In the order in which they are read.
        checks: What must hold.
        figures: Where people would rather look.
        notes: How the figures were made; sentences.
    """

    tables: Sequence[Table]
    checks: Sequence[Check] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()


def _nothing_to_settle(options: Options, say: Callable[[str], None]) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A claim, the jobs that test it, and what is made of them.

    Attributes:
        plan: ``plan(options, facts, results) -> Plan``; asked again when its jobs are done, until it names no new one.
        conclude: ``conclude(options, facts, results) -> Outcome``.
        settle: ``settle(options, say) -> facts``: what has to be found out before the first job; JSON's types.
        rows: Names of the rows that can be asked for one by one. A recipe that has some is filled bit by bit: its plan
            is the jobs of the rows and seeds that are asked for and whatever else is done.
    """

    plan: Callable[[Options, Facts, Results], Plan]
    conclude: Callable[[Options, Facts, Results], Outcome]
    settle: Callable[[Options, Callable[[str], None]], dict[str, Any]] = _nothing_to_settle
    rows: tuple[str, ...] = ()


def load_recipe(name: str) -> tuple[Entry, Recipe]:
    """Return a recipe by name; an unknown one is a ``ConfigError``.

    Returns:
        What is known of it, and the recipe.
    """
    entry = find_entry(name)
    recipe: Recipe = import_module(entry.module).recipe
    return entry, recipe

"""``lamina reproduce``: run a recipe's jobs, go on where a killed run was, and leave tables, figures and their data."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

from lamina.errors import CheckpointError, ConfigError, Interrupted, nearest, shown
from lamina.io import (
    lock_folder,
    make_folder,
    new_numbered,
    read_json,
    sweep,
    write_file,
    write_json,
)
from lamina.recipes.catalogue import Entry, find_entry
from lamina.recipes.draw import drawn
from lamina.recipes.recipe import Check, Options, Outcome, Recipe, load_recipe
from lamina.recipes.runner import Finished, Standing, run_jobs
from lamina.runs.folder import versions
from lamina.workflows.display import Display, Silent

CARD, RESULT, TABLE = "recipe.json", "result.json", "table.md"
_SMALLER = "a smaller form (--quick): fewer and shorter runs, its figures are no evidence"


@dataclass(frozen=True)
class Reproduced:
    """What a rerun left.

    Attributes:
        folder: Holds the log, the tables and the figures.
        text: The tables, as in ``table.md``.
        content: The same as data, as in ``result.json``.
        checks: What had to hold.
        figures: Files of the figures.
        seconds: Processor seconds of all jobs.
    """

    folder: Path
    text: str
    content: dict[str, Any]
    checks: tuple[Check, ...]
    figures: tuple[Path, ...]
    seconds: float

    @property
    def missed(self) -> tuple[Check, ...]:
        """The checks that were not met."""
        return tuple(check for check in self.checks if not check.met)


def reproduce(
    name: str | None = None,
    *,
    seeds: int | None = None,
    quick: bool = False,
    out: str | None = None,
    resume: str | None = None,
    jobs: int = 1,
    rows: str | None = None,
    data_dir: str | None = None,
    offline: bool = False,
    display: Display | None = None,
) -> Reproduced:
    """Run a recipe and leave a folder with its tables.

    Each finished job is a line of the folder's log. A run that ended early goes on by the same ``out`` or by
    ``resume``, without doing finished jobs again, and leaves the same tables as one that was not interrupted.

    A recipe with rows is filled bit by bit: each call on its folder may ask for other rows and more seeds, and the
    tables hold all that is done. Lines of the log of another machine's folder may be added to this one's.

    Args:
        name: The recipe; may be left out with ``resume``.
        seeds: How many seeds; the recipe's own number unless given.
        quick: The smaller form.
        out: The folder; ``runs/reproduce-<name>-<number>`` if not given.
        resume: A folder to go on with; it keeps its recipe, seeds and form.
        jobs: Processes that work at once.
        rows: Which rows of the tables, names with commas between them; all unless given. Only some recipes have them.
        data_dir: Where named data sets lie.
        offline: Never fetch data.
        display: Shows what goes on.

    Returns:
        What was left; checks that were not met are in ``missed``.

    Raises:
        ConfigError: If there is no such recipe, or the folder holds something else.
        CheckpointError: If the folder to go on with is no rerun, or damaged.
        Interrupted: If a signal came; what was finished is kept.
    """  # noqa: DOC502
    display = display or Silent()
    for what, number in (("--seeds", seeds), ("--jobs", jobs)):
        if number is not None and number < 1:
            raise ConfigError(f"must be at least 1, got {number}", where=what)
    if resume is not None and out is not None:
        raise ConfigError("--out and --resume exclude each other", mend="give --resume DIR alone to go on with a run")
    entry = find_entry(name) if name is not None else None
    card = None
    if resume is not None:
        if not (Path(resume) / CARD).exists():
            raise CheckpointError(
                f"has no {CARD}, so it is no rerun",
                where=shown(resume, 200),
                mend="give the folder that `lamina reproduce` wrote",
            )
        card = read_json(Path(resume) / CARD, "recipe")
        entry = entry or find_entry(str(card["recipe"]))
        seeds, quick = seeds or int(card["seeds"]), quick or bool(card["quick"])
    elif out is not None and (Path(out) / CARD).exists():
        card = read_json(Path(out) / CARD, "recipe")
    elif out is not None:
        _refuse_filled(out)
    if entry is None:
        raise ConfigError(
            "no recipe was named", where="lamina reproduce", mend="`lamina reproduce` alone lists the recipes"
        )
    _, recipe = load_recipe(entry.name)
    seeds = seeds or (entry.seeds if not quick else min(entry.seeds, 2))
    options = Options(seeds, quick, data_dir, offline, _named_rows(rows, entry, recipe))
    if card is not None:
        _refuse_other(card, entry, options, resume or out or "", fillable=bool(recipe.rows))
    else:
        facts = recipe.settle(options, lambda text: display.fact("data", "", text))
        folder = new_numbered("runs", f"reproduce-{entry.name}") if out is None else make_folder(out)
        card = {
            "recipe": entry.name,
            "seeds": options.seeds,
            "quick": options.quick,
            "facts": facts,
            "started": datetime.now().astimezone().isoformat(timespec="seconds"),
            "versions": versions(),
        }
        with lock_folder(folder):
            write_json(folder / CARD, card, "recipe")
    folder = Path(resume or out or folder)
    card["seeds"] = options.seeds  # of this call, where a recipe is filled bit by bit
    display.started(str(folder), 0, "cpu", jobs)
    with lock_folder(folder):
        sweep(folder)
        with _signals_told(entry.name, folder):
            finished = run_jobs(
                recipe, options, card["facts"], folder, workers=jobs, tell=lambda at: _tell(display, at)
            )
            if finished.note:
                display.fact("note", "", finished.note)
            display.working("tables and figures")
            outcome = recipe.conclude(options, card["facts"], finished.results)
            return _leave(folder, entry, card, finished, outcome)


def _refuse_filled(out: str) -> None:
    path = Path(out)
    found = [place.name for place in path.iterdir() if not place.name.startswith(".")] if path.is_dir() else []
    if found or (path.exists() and not path.is_dir()):
        raise ConfigError(
            "is not empty and holds no rerun" if found else "is a file, and a folder is needed",
            where=shown(out, 200),
            mend="give another --out",
        )


def _named_rows(rows: str | None, entry: Entry, recipe: Recipe) -> tuple[str, ...]:
    """Return the rows asked for; none stands for all.

    Raises:
        ConfigError: If the recipe has no such row, or none that can be asked for.
    """
    if rows is None:
        return ()
    if not recipe.rows:
        raise ConfigError(f"{entry.name} is run as a whole", where="--rows", mend="leave it out")
    asked = tuple(part.strip().casefold() for part in rows.split(","))
    for name in asked:
        if name not in recipe.rows:
            raise ConfigError(
                f'{entry.name} has no row "{shown(name)}"{nearest(name, list(recipe.rows))}',
                where="--rows",
                mend=f"name some of {','.join(recipe.rows)}",
            )
    return asked


def _refuse_other(card: dict[str, Any], entry: Entry, options: Options, folder: str, *, fillable: bool = False) -> None:
    differ = [
        f"{what} {shown(card[what])}, now {shown(now)}"
        for what, now in (("recipe", entry.name), ("seeds", options.seeds), ("quick", options.quick))
        if card[what] != now and not (fillable and what == "seeds")
    ]
    ours = versions()
    differ += [f"{what} {shown(was)}, now {shown(ours.get(what))}" for what, was in card["versions"].items()
               if ours.get(what) != was]  # fmt: skip
    if differ:
        raise ConfigError(
            f"was begun with {'; '.join(differ)}",
            where=shown(folder, 200),
            mend="go on as it was begun, or give another --out",
        )


def _tell(display: Display, at: Standing) -> None:
    left = "" if at.seconds_left is None or at.done == at.total else f", about {_time(at.seconds_left)} left"
    display.working(f"{at.done} of {at.total} jobs{left}  {at.last}"[:150])


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


@contextlib.contextmanager
def _signals_told(name: str, folder: Path) -> Iterator[None]:
    """End cleanly on Ctrl-C and SIGTERM: what is finished lies in the log, and the error says how to go on.

    Raises:
        Interrupted: In place of the signal.
    """
    received = signal.SIGINT

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received = signal.Signals(number)
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if main else None
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(
            received,
            f"stopped by {received.name}; the finished jobs are kept",
            where=shown(folder, 200),
            mend=f"go on with: lamina reproduce {name} --resume {shown(folder, 200)}",
        ) from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _leave(folder: Path, entry: Entry, card: dict[str, Any], finished: Finished, outcome: Outcome) -> Reproduced:
    content: dict[str, Any] = {
        **{key: card[key] for key in ("recipe", "seeds", "quick", "facts", "versions")},
        "claim": entry.claim,
        "source": entry.source,
        "jobs": len(finished.results),
        "cpu_seconds": round(finished.seconds, 1),
        "tables": [table.to_dict() for table in outcome.tables],
        "checks": [{"what": check.what, "met": check.met, "found": check.found} for check in outcome.checks],
        "figures": [f"{figure.name}.svg" for figure in outcome.figures],
        "notes": list(outcome.notes),
    }
    text = _page(content, outcome)
    write_file(folder / TABLE, text.encode("utf-8"))
    places = []
    for figure in outcome.figures:
        for name, data in drawn(figure).items():
            write_file(folder / name, data)
            places.append(folder / name)
    write_json(folder / RESULT, content, "reproduction")
    return Reproduced(folder, text, content, tuple(outcome.checks), tuple(places), finished.seconds)


def _page(content: dict[str, Any], outcome: Outcome) -> str:
    runs = content["versions"]
    how = (
        f"{content['jobs']} jobs, seeds 0 to {content['seeds'] - 1}, {content['cpu_seconds']:.0f} processor seconds; "
        f"lamina {runs['lamina']}, torch {runs['torch']}, numpy {runs['numpy']}, {runs['machine']}."
    )
    parts = [f"# {content['recipe']}", content["claim"], f"Source: {content['source']}."]
    if content["quick"]:
        parts.append(f"**This is {_SMALLER}.**")
    parts += [table.to_markdown() for table in outcome.tables]
    parts += list(outcome.notes)
    if outcome.checks:
        parts.append("\n".join(f"- {'holds' if c.met else 'DOES NOT HOLD'}: {c.what} ({c.found})"
                               for c in outcome.checks))  # fmt: skip
    parts += [f"![{figure.title}]({figure.name}.svg)" for figure in outcome.figures]
    return "\n\n".join([*parts, how]) + "\n"

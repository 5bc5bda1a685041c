"""``lamina reproduce``."""

from __future__ import annotations

import click

from lamina._version import __version__
from lamina.cli._group import Command
from lamina.cli._output import print_json
from lamina.cli._state import State
from lamina.cli.display import ScreenDisplay
from lamina.errors import CheckNotMet, shown

EXAMPLES = """
lamina reproduce
lamina reproduce xor
lamina reproduce regularisation --quick --jobs 2
lamina reproduce regularisation --out evidence
lamina reproduce --resume evidence
lamina reproduce vincent2008 --rows basic,bg-rand --seeds 2 --out table
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("name", required=False)
@click.option("--seeds", type=int, metavar="N", help="How many seeds; the recipe's own number unless given.")
@click.option("--quick", is_flag=True, help="A smaller form that runs in seconds to minutes; it is no evidence.")
@click.option("--out", metavar="DIR", help="The folder; runs/reproduce-NAME-1, -2, ... unless given. Goes on if begun.")
@click.option("--resume", metavar="DIR", help="Go on with a run that ended early; finished jobs are not done again.")
@click.option("--jobs", type=int, default=1, show_default=True, metavar="N", help="Processes that work at once.")
@click.option("--rows", metavar="NAMES", help="Only these rows, with commas between; for recipes filled bit by bit.")
@click.option("--data-dir", metavar="DIR", help="Where named data sets lie; LAMINA_DATA says the same.")
@click.option("--offline", is_flag=True, help="Never fetch data.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_obj
def command(
    state: State,
    /,
    *,
    name: str | None,
    seeds: int | None,
    quick: bool,
    out: str | None,
    resume: str | None,
    jobs: int,
    rows: str | None,
    data_dir: str | None,
    offline: bool,
    as_json: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Rerun the recipe NAME and print its tables; without NAME, list the recipes.

    Exit code 7 if something that must hold does not; everything is written first.
    """  # noqa: DOC501
    if name is None and resume is None:
        _list(as_json)
        return
    if name is not None:
        from lamina.recipes.catalogue import find_entry

        find_entry(name)  # refuses before anything heavy is imported
    display = ScreenDisplay(progress=not quiet, results=False, on_run=state.begin_run)
    display.say(f"lamina {__version__}  reproduce {name or shown(resume, 200)}")
    from lamina.workflows.reproduce import reproduce

    try:
        done = reproduce(
            name,
            seeds=seeds,
            quick=quick,
            out=out,
            resume=resume,
            jobs=jobs,
            rows=rows,
            data_dir=data_dir,
            offline=offline,
            display=display,
        )
    finally:
        display.close()
    if as_json:
        print_json({"folder": str(done.folder), **done.content})
    else:
        click.echo(done.text)
        told = ScreenDisplay()
        told.line("folder", str(done.folder))
        for figure in done.figures:
            if figure.suffix == ".png":
                told.line("figure", str(figure))
    if done.missed:
        raise CheckNotMet(
            f"does not hold: {'; '.join(check.what for check in done.missed)}",
            where=done.content["recipe"],
            mend=f"{shown(done.folder, 200)}/result.json has what was found",
        )


def _list(as_json: bool) -> None:
    from lamina.recipes.catalogue import ENTRIES

    if as_json:
        recipes = [{"name": e.name, "claim": e.claim, "source": e.source, "minutes": e.minutes} for e in ENTRIES]
        print_json({"recipes": recipes})
        return
    width = max(len(entry.name) for entry in ENTRIES)
    for entry in ENTRIES:
        click.echo(f"{entry.name:<{width}}  {entry.claim}")

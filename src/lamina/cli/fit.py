"""``lamina fit``."""

from __future__ import annotations

from typing import Any

import click

from lamina._version import __version__
from lamina.cli._group import Command
from lamina.cli._options import read_settings, setting_options, show_settings
from lamina.cli._output import print_json
from lamina.cli._sources import check_file, check_run, check_source
from lamina.cli._state import State
from lamina.cli.display import ScreenDisplay
from lamina.errors import ConfigError

EXAMPLES = """
lamina fit churn.csv --target Churn
lamina fit photos/ --epochs 20 --minutes 10
lamina fit digits --seed 1 --set hidden=128,128 --set dropout=0.2
lamina fit sales.parquet --target price --time date --test sales-2026.parquet
lamina fit --resume runs/churn-1
"""


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("source", required=False)
@click.option("--target", "targets", multiple=True, metavar="COL", help="What is predicted; repeat for several.")
@click.option("--test", metavar="FILE", help="Rows to test on, instead of a share of the source.")
@setting_options
@click.option("--out", metavar="DIR", help="The run folder; runs/NAME-1, -2, ... unless given.")
@click.option("--resume", metavar="DIR", help="Go on with a run that was stopped, to the same bits.")
@click.option("--overwrite", is_flag=True, help="Replace the folder given with --out.")
@click.option("--allow-new-data", is_flag=True, help="Resume although the source has changed since.")
@click.option("--data-dir", metavar="DIR", help="Where named data sets lie; LAMINA_DATA says the same.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout instead of result lines.")
@click.option("--quiet", is_flag=True, help="Print results only.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--settings", is_flag=True, is_eager=True, expose_value=False, callback=show_settings,
              help="List every setting, and end.")  # fmt: skip
@click.pass_obj
def command(
    state: State,
    /,
    *,
    source: str | None,
    targets: tuple[str, ...],
    test: str | None,
    out: str | None,
    resume: str | None,
    overwrite: bool,
    allow_new_data: bool,
    data_dir: str | None,
    as_json: bool,
    quiet: bool,
    debug: bool,
    assignments: tuple[str, ...],
    config: str | None,
    **given: Any,
) -> None:
    """Fit a model to SOURCE and write a run folder with the model and a report.

    SOURCE is a table (.csv, .tsv, .parquet, .jsonl, .feather), an .npz with x and y, a folder of pictures by class, or
    the name of a data set (`lamina data list`).
    """
    display = ScreenDisplay(progress=not quiet, results=not as_json, on_run=state.begin_run)
    display.say(f"lamina {__version__}  fit {source or resume or ''}".rstrip())
    _check(source, resume, out, test)
    base = None
    if resume is not None:
        from lamina.cli._resume import settings_of

        base = settings_of(resume)
    settings, notes = read_settings(given, assignments, config, base)
    for note in notes:
        display.fact("note", "", note)
    state.import_ahead("torch")
    from lamina.workflows.fit import fit

    try:
        result = fit(
            source or "",
            targets=targets,
            settings=settings,
            test=test,
            out=out,
            resume=resume,
            overwrite=overwrite,
            allow_new_data=allow_new_data,
            data_dir=data_dir,
            display=display,
        )
    finally:
        display.close()
    if as_json:
        print_json(
            {
                "run": str(result.folder),
                "report": str(result.report),
                "scores": result.scores,
                "seconds": result.seconds,
                "stopped": result.stopped,
                "diagnosis": result.diagnosis,
            }
        )


def _check(source: str | None, resume: str | None, out: str | None, test: str | None) -> None:
    """Refuse what can be refused before anything is read.

    Raises:
        ConfigError: If the source is missing, or options exclude each other.
    """
    if resume is not None and out is not None:
        raise ConfigError(
            "--resume and --out exclude each other", mend="a resumed run stays in its folder; leave out --out"
        )
    if source is None and resume is None:
        raise ConfigError("the argument SOURCE is missing", where="lamina fit", mend="for instance: lamina fit iris")
    if resume is not None:
        check_run(resume)
    if source is not None:
        check_source(source)
    if test is not None:
        check_file(test)

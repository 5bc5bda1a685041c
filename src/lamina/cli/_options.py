"""The options that decide a training, turned into checked settings; TOML files, and which of the two wins."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from lamina.errors import ConfigError, shown
from lamina.runs.settings import Settings, describe

F = TypeVar("F", bound=Callable[..., Any])

# option, the setting it sets, its metavar (None: a switch; its value), and what its help says
_SETTING_OPTIONS: list[tuple[str, str, str | None, str]] = [
    ("--seed", "seed", "N", "Decides split, weights, order and noise."),
    ("--epochs", "epochs", "N", "Most passes over the training part."),
    ("--minutes", "minutes", "X", "Stop training after this long."),
    ("--model", "model", "NAME", "mlp, linear, resnet, convnet; chosen by the structure of the data."),
    ("--task", "task", "KIND", "classes, number or count; chosen from the target's values."),
    ("--learning-rate", "learning_rate", "X", "Largest learning rate (--lr is the same)."),
    ("--device", "device", "NAME", "auto, cpu, cuda, cuda:0, mps."),
    ("--threads", "threads", "N", "CPU threads; chosen by the work of a step."),
    ("--split", "split", "A,B,C", "Shares for training, validation, test; 0.65,0.1,0.25 (or 65/10/25) unless given."),
    ("--group", "group", "COL", "Column whose equal values stay in one part."),
    ("--time", "time", "COL", "Column by which earlier rows train and later rows test."),
    ("--use", "use", "COL,...", "Columns to keep that would be left out."),
    ("--ignore", "ignore", "COL,...", "Columns to leave out."),
    ("--categorical", "categorical", "COL,...", "Columns to treat as categories."),
    ("--drop-unlabelled", "drop_unlabelled", None, "Leave out rows without a target."),
    ("--skip-bad", "skip_bad", None, "Leave out pictures that cannot be read."),
    ("--clip-inf", "clip_inf", None, "Replace infinite cells by the largest finite ones."),
    ("--encoding", "encoding", "NAME", "Character encoding of a text table, as latin-1."),
    ("--delimiter", "delimiter", "CHAR", "Column separator of a text table."),
    ("--decimal", "decimal", "SIGN", "Decimal sign of a text table, . or a comma, where both can be meant."),
    ("--no-header", "header", None, "The first row of a text table holds data, not names."),
    ("--require", "require", "WHAT", "baseline: exit with 7 if a baseline is better."),
]
_READING = frozenset({"encoding", "delimiter", "decimal", "header"})
_OFF = frozenset({"header"})  # switches that switch a setting off
_MANY = frozenset({"use", "ignore", "categorical"})
_FROM_OPTION = {setting: option for option, setting, _, _ in _SETTING_OPTIONS}

# words that people bring from elsewhere; none was ever a setting here, and none is accepted silently
_OTHER_WORDS = {
    "lr": "learning_rate",
    "max_lr": "learning_rate",
    "bs": "batch_size",
    "batch": "batch_size",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "max_epochs": "epochs",
    "n_epochs": "epochs",
    "num_epochs": "epochs",
    "optim": "optimizer",
    "scheduler": "schedule",
    "lr_schedule": "schedule",
    "random_state": "seed",
    "hidden_sizes": "hidden",
    "hidden_layer_sizes": "hidden",
    "layers": "hidden",
    "max_norm": "clip_norm",
    "gpu": "device",
    "amp": "precision",
    "label_smoothing": "smoothing",
    "image_width": "image_size",
}


def setting_options(function: F) -> F:
    """Add the options that set a setting, ``--set`` and ``--config``.

    Returns:
        The function, for click to make a command of.
    """
    extra = [
        click.option("--config", metavar="FILE.toml", help="Read settings from a TOML file; options win over it."),
        click.option(
            "--set", "assignments", multiple=True, metavar="KEY=VALUE", help="Any setting; --settings lists them."
        ),
    ]
    for option in extra:
        function = option(function)
    for name, setting, metavar, text in reversed(_SETTING_OPTIONS):
        names = [name, "--lr"] if setting == "learning_rate" else [name]
        if metavar is None:
            function = click.option(*names, setting, is_flag=True, default=None, help=text)(function)
        else:
            many = setting in _MANY
            function = click.option(*names, setting, metavar=metavar, multiple=many, help=text)(function)
    return function


def reading_options(function: F) -> F:
    """Add the options that say how an input is read, for commands that do not train.

    Returns:
        The function, for click to make a command of.
    """
    data_dir = click.option("--data-dir", metavar="DIR", help="Where named data sets lie; LAMINA_DATA says the same.")
    function = data_dir(function)
    for name, setting, metavar, text in reversed(_SETTING_OPTIONS):
        if setting in _READING:
            switch = {"is_flag": True, "default": None} if metavar is None else {"metavar": metavar}
            function = click.option(name, setting, help=text, **switch)(function)
    return function


def refusing_option(function: F) -> F:
    """Add ``--refuse-below``, for commands that answer.

    Returns:
        The function, for click to make a command of.
    """
    text = "Do not answer where the probability of the predicted class is below this, 0 to 1."
    return click.option("--refuse-below", type=float, default=0.0, metavar="T", help=text)(function)


def show_settings(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """List every setting with its type, default and meaning, and end."""
    if not wanted or context.resilient_parsing:
        return
    rows = describe()
    width = max(len(row[0]) for row in rows)
    for name, kind, default, text in rows:
        click.echo(f"{name:<{width}}  {text}")
        click.echo(f"{'':<{width}}    {kind}; default {default}")
    context.exit(0)


def read_settings(
    given: Mapping[str, Any], assignments: tuple[str, ...], config: str | None, base: Settings | None = None
) -> tuple[Settings, list[str]]:
    """Return the settings that options, assignments and a TOML file make together.

    Args:
        given: Setting name to what its option was given, None or empty where it was not.
        assignments: ``key=value`` texts of ``--set``.
        config: A TOML file, or None.
        base: What is changed; the defaults unless given.

    Returns:
        The settings, and notes on what overrode what.

    Raises:
        ConfigError: Naming the option, or the file and line.
    """
    settings, notes = base if base is not None else Settings(), []
    from_file: dict[str, int] = {}
    if config is not None:
        settings, from_file = _read_config(settings, config)
    changed: dict[str, str] = {}
    for name, value in given.items():
        if value is None or value == ():
            continue
        option = _FROM_OPTION[name]
        settings = settings.with_changes({name: _meaning(name, value)}, where=option)
        changed[name] = option
    for text in assignments:
        key, sign, value = text.partition("=")
        name, where = key.strip().replace("-", "_"), f"--set {shown(text)}"
        if not sign:
            raise ConfigError("must be key=value", where=where, mend="for instance --set batch_size=64")
        _refuse_other_words(name, where)
        if name in changed:
            raise ConfigError(
                f"{changed[name]} and --set {shown(name)} exclude each other", where=where, mend="give one of them"
            )
        settings = settings.with_changes({name: value.strip()}, where=where)
        changed[name] = f"--set {name}"
    for name, option in changed.items():
        if name in from_file:
            line = f" line {from_file[name]}" if from_file[name] else ""
            notes.append(f"{option} overrides {name} of {shown(config, 200)}{line}")
    if settings.learning_rate is not None and settings.learning_rate > 10:
        notes.append(f"learning_rate {settings.learning_rate:g} is unusually large; training may diverge")
    return settings, notes


def _meaning(name: str, value: Any) -> object:
    if value is True:
        return name not in _OFF
    if name == "split" and "/" in value:  # as it is printed: 65/10/25
        try:
            shares = [float(part) for part in value.split("/")]
        except ValueError:
            return value
        return tuple(share / 100 for share in shares) if abs(sum(shares) - 100) < 1e-6 else tuple(shares)
    return [part for text in value for part in text.split(",") if part] if name in _MANY else value


def _read_config(settings: Settings, config: str) -> tuple[Settings, dict[str, int]]:
    """Apply a TOML file key by key, so that a message can name its line.

    Returns:
        The settings, and the line of each key.

    Raises:
        ConfigError: If a key is unknown or its value cannot be used.
    """
    table, text = read_toml_file(config)
    lines: dict[str, int] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        line = line_of(text, key)
        where = f"{shown(config, 200)} line {line}" if line else shown(config, 200)
        _refuse_other_words(name, where)
        if isinstance(value, dict) and name != "penalty":
            raise ConfigError(
                f'there is no table "[{shown(key)}]" of settings',
                where=where,
                mend="write the settings at the top of the file, one `key = value` a line",
            )
        settings = settings.with_changes({name: value}, where=where)
        lines[name] = line
    return settings, lines


def _refuse_other_words(name: str, where: str) -> None:
    if name in _OTHER_WORDS:
        successor = _OTHER_WORDS[name]
        raise ConfigError(
            f'there is no setting "{shown(name)}"; it is called "{successor}" here',
            where=where,
            mend=f"write {successor} instead",
        )


def read_toml_file(path: str) -> tuple[dict[str, Any], str]:
    """Read a TOML file that the user wrote.

    Returns:
        Its content and its text.

    Raises:
        ConfigError: If it does not exist, is a folder, or breaks TOML's rules (with line and column).
    """
    from lamina.cli._sources import check_file
    from lamina.io import read_toml

    check_file(path)
    if Path(path).is_dir():
        inside = ", ".join(shown(name, 30) for name in sorted(os.listdir(path))[:3]) or "nothing"
        raise ConfigError(
            f"is a folder, not a TOML file (it holds {inside})", where=shown(path, 200), mend="--config takes a file"
        )
    return read_toml(path, guarded=False), Path(path).read_text(encoding="utf-8", errors="replace")


def line_of(text: str, key: str) -> int:
    """Return the line on which a top-level key stands, or 0 if it cannot be told."""
    found = re.search(rf"^[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*=|^[ \t]*\[+{re.escape(key)}\b", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 0

"""One JSON object on stdout, for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import click


def print_json(content: Mapping[str, object]) -> None:
    """Print strict JSON on one line: ASCII, null for what is not finite."""
    from lamina.io import dump_json

    click.echo(dump_json(content))


def as_mapping(result: Any) -> dict[str, object]:
    """Return a workflow's result, a dataclass, with its paths as text.

    Returns:
        Field name to value.
    """
    if not is_dataclass(result):
        return dict(result)
    values = {entry.name: getattr(result, entry.name) for entry in fields(result)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}

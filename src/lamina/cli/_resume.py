"""The settings of a run that is to go on: options given again are changes to them."""

from __future__ import annotations

from pathlib import Path

from lamina.errors import shown
from lamina.runs.settings import Settings


def settings_of(run: str) -> Settings:
    """Return the settings that a run was begun with.

    Args:
        run: The run folder.

    Returns:
        The settings in its ``run.toml``; a missing or damaged one is a ``CheckpointError``.
    """
    from lamina.io import read_toml, refuse_foreign

    refuse_foreign(run)
    place = Path(run) / "run.toml"
    return Settings().with_changes(read_toml(place, guarded=True).get("settings", {}), where=shown(place, 200))

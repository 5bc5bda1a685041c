"""``lamina report``: draw a run's page again from its facts."""

from __future__ import annotations

from pathlib import Path

from lamina.errors import CheckpointError
from lamina.report.page import read_facts, render_to
from lamina.runs.folder import RunFolder
from lamina.workflows.display import Display, Silent


def report(run: str, display: Display | None = None) -> Path:
    """Render ``report.html`` from ``report.json``.

    Args:
        run: The run folder.
        display: Shows where the page is.

    Returns:
        The page.

    Raises:
        CheckpointError: If the run has no facts yet.
    """
    folder = RunFolder.existing(run)
    if not folder.facts.exists():
        raise CheckpointError(
            "has no report.json: the fit has not come so far",
            where=str(folder.path),
            mend=f"go on with: lamina fit --resume {folder.path}",
        )
    render_to(folder.path, read_facts(folder.path))
    (display or Silent()).line("report", str(folder.page))
    return folder.page

"""Keeps the history on disk, a line an epoch."""

from __future__ import annotations

from pathlib import Path

from lamina.io import append_record, read_records, truncate_records
from lamina.training.callback import Callback
from lamina.training.run import Run


class Journal(Callback):
    """Appends each epoch's record to ``history.jsonl``; on resume cuts the file back to where the checkpoint stands.

    Stands after the callbacks that add figures to the record.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_start(self, run: Run) -> None:
        """Make the file agree with the history that the run starts from."""
        known = run.history.records
        written = read_records(self.path) if self.path.exists() else []
        if len(written) > len(known):
            truncate_records(self.path, len(known))
        for record in known[len(written) :]:
            append_record(self.path, record)

    def on_epoch(self, run: Run) -> None:
        """Append the record; a checkpoint makes it lasting, so the disk need not be waited for."""
        append_record(self.path, run.history.current, sync=False)

"""What a command tells the entrance: the run folder it began, and a library that is still being imported."""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass


@dataclass
class State:
    """Of one call of the command line.

    Attributes:
        debug: Whether tracebacks are shown.
        run: The run folder, once there is one.
        importing: The thread that imports a heavy library ahead, if any.
    """

    debug: bool = False
    run: str | None = None
    importing: threading.Thread | None = None

    def begin_run(self, run: str) -> None:
        """Remember the run folder, for what may have to be written there."""
        self.run = run

    def import_ahead(self, *names: str) -> None:
        """Begin to import libraries in a thread; an error there is raised again by whoever needs the library."""

        def load() -> None:
            for name in names:
                try:
                    importlib.import_module(name)
                except Exception:
                    continue

        self.importing = threading.Thread(target=load, daemon=True, name="import")
        self.importing.start()

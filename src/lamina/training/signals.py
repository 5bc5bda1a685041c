"""Ends a run cleanly on a signal: the step in hand is finished, the state saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from lamina.training.callback import Callback
from lamina.training.run import Run


class StopOnSignal(Callback):
    """SIGINT, SIGTERM and SIGHUP ask the run to stop after the present step; a second one ends it at once.

    ``received`` is the signal's number afterwards, 0 if none came. Handlers can be set only in the main thread; in
    another one nothing is done. SIGHUP stays ignored where it was (``nohup``).

    As a context manager it listens for longer than a run: a signal that comes while the run is being prepared stops it
    before its first step. Python's own way, an exception at any place, can be lost there: libraries that load parts of
    themselves on first use catch everything.
    """

    SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}
        self._run: Run | None = None
        self._lasting = self._told = False

    def __enter__(self) -> StopOnSignal:
        self._listen()
        self._lasting = True
        return self

    def __exit__(self, *error: object) -> None:
        self._put_back()
        self._lasting = False
        if self.received and not self._told and error[0] is None:
            signal.raise_signal(self.received)  # it came after the last run

    def on_start(self, run: Run) -> None:
        """Set the handlers, or hand on what they have received."""
        self._run = run
        if not self._lasting:
            self._listen()
        elif self.received:
            self._tell(run)

    def _listen(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for name in self.SIGNALS:
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._put_back()
        self.received = number
        if self._run is not None:
            self._tell(self._run)

    def _tell(self, run: Run) -> None:
        self._told = True
        run.stopping = signal.Signals(self.received).name
        run.interrupted = True

    def _put_back(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_end(self, run: Run) -> None:
        """Put the former handlers back, unless others listen on."""
        if not self._lasting:
            self._put_back()
        self._run = None

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
    """

    SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}
        self._run: Run | None = None

    def on_start(self, run: Run) -> None:
        """Set the handlers."""
        self._run = run
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
            self._run.stopping = signal.Signals(number).name
            self._run.interrupted = True

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_end(self, run: Run) -> None:
        """Put the former handlers back."""
        if threading.current_thread() is threading.main_thread():
            self._put_back()
        self._run = None

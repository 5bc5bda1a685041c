"""What a workflow tells, on the screen: a live line on a terminal, few plain lines elsewhere; results on stdout.

Everything may hold data, so every text is escaped and printed with markup off. A stream that nobody reads any more is
given up quietly: the work goes on.
"""

from __future__ import annotations

import os
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from lamina.cli._words import bar, count, figure, left, pace
from lamina.errors import shown
from lamina.workflows.display import BaselineRow, ProgressFacts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

_LONGEST = 4000
_LABEL = 10
_SECONDS_BETWEEN_LINES = 5.0
_FRACTION_BETWEEN_LINES = 0.1


class Channel:
    """A text stream that may be closed at the other end, and that may not know all letters."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.lost = stream, False
        encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
        self.unicode = encoding in {"utf8", "utf16", "utf32"}
        self.encoding = getattr(stream, "encoding", None) or "ascii"

    def write(self, text: str) -> int:
        """Write, or give the stream up for good.

        Returns:
            The number of characters taken.
        """
        if not self.lost:
            try:
                self.stream.write(text)
                self.stream.flush()
            except (OSError, ValueError):
                self.lost = True
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        """Say whether a terminal reads it.

        Returns:
            True for a terminal.
        """
        try:
            return self.stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self.stream.fileno()


class ScreenDisplay:
    """Shows a workflow's facts and progress on stderr, and its results on stdout.

    Args:
        progress: Whether anything is shown besides results.
        results: Whether the result lines are printed; off where one JSON object is.
        out: Where results go, stdout unless given.
        err: Where progress goes, stderr unless given.
        on_run: Called with the run folder's name once it is known.
        scores_are_results: Print tables of scores on stdout; elsewhere they are steps on the way.
    """

    def __init__(
        self,
        *,
        progress: bool = True,
        results: bool = True,
        out: TextIO | None = None,
        err: TextIO | None = None,
        on_run: Callable[[str], None] | None = None,
        scores_are_results: bool = False,
    ) -> None:
        self._out, self._err = Channel(out or sys.stdout), Channel(err or sys.stderr)
        self._progress, self._results, self._on_run = progress, results, on_run
        self._scores_are_results = scores_are_results
        self._terminal = self._err.isatty() and os.environ.get("TERM", "") not in {"dumb", ""}
        self._console: Console | None = None
        self._live: Live | None = None
        self._reading = ""
        self._last_time, self._last_fraction = float("-inf"), -1.0
        self._layer = ""
        self._unsaid: ProgressFacts | None = None

    # --- the protocol ---

    def started(self, run: str, seed: int, device: str, threads: int) -> None:
        """Name the run folder, seed, device and threads."""
        if self._on_run is not None:
            self._on_run(run)
        noun = "thread" if threads == 1 else "threads"
        self._say(f"run: {self._text(run, 200)}  seed {seed}  device {self._text(device)} ({threads} {noun})")

    def reading(self, source: str) -> None:
        """Say that reading begins; off a terminal one line tells both beginning and end."""
        self._reading = self._text(source, 200)
        if self._terminal:
            self._show_live(f"reading {self._reading} ...")

    def read(self, summary: str, seconds: float) -> None:
        """Say what was read and how long it took."""
        self._say(f"reading {self._reading} ... {self._text(summary)}, {seconds:.1f} s")

    def fact(self, label: str, name: str, text: str) -> None:
        """Say one inferred thing."""
        body = f"{self._text(name):<16}  {self._text(text)}" if name else self._text(text)
        self._say(f"  {self._text(label):<9} {body}", hanging=12 + (18 if name else 0))

    def scores(self, title: str, rows: Sequence[BaselineRow]) -> None:
        """Print a table of scores, one row a line; on a narrow screen one figure a line."""
        metrics = list(dict.fromkeys(metric for row in rows for metric in row.scores))
        cells = [[_score(row.scores.get(metric)) for metric in metrics] for row in rows]
        names = [f"  {self._text(row.name, 40)}" for row in rows]
        title = self._text(title)
        first = max([len(title), *map(len, names)]) + 2
        widths = [max(len(self._text(m)), *(len(line[i]) for line in cells)) for i, m in enumerate(metrics)]
        say = self._result if self._scores_are_results else self._say
        if not self._scores_are_results:
            say("")
        if self._terminal and first + sum(widths) + 2 * len(widths) > self._width():
            say(title)
            for name, line in zip(names, cells, strict=True):
                say(name)
                for metric, cell in zip(metrics, line, strict=True):
                    say(f"    {self._text(metric)} {cell}")
            return
        head = "  ".join(f"{self._text(m):<{w}}" for m, w in zip(metrics, widths, strict=True))
        say(f"{title:<{first}}{head}".rstrip())
        for name, line in zip(names, cells, strict=True):
            say(f"{name:<{first}}{'  '.join(f'{c:<{w}}' for c, w in zip(line, widths, strict=True))}".rstrip())

    def training(self, description: str) -> None:
        """Say what is trained."""
        self._end_progress()
        self._last_time, self._last_fraction = float("-inf"), -1.0
        self._say(f"training {self._text(description, 300)}")

    def progress(self, facts: ProgressFacts) -> None:
        """Renew the live line; off a terminal print a line now and then. The last state is always printed."""
        if facts.layer != self._layer:  # another layer, or the whole network: its own lines from the start
            self._layer = facts.layer
            self._last_time, self._last_fraction = float("-inf"), -1.0
        self._unsaid = facts
        if self._terminal:
            self._show_live(self._progress_line(facts))
            return
        now = time.monotonic()
        whole = facts.fraction >= 1.0 and self._last_fraction < 1.0
        if not whole and (
            now - self._last_time < _SECONDS_BETWEEN_LINES
            or (facts.fraction - self._last_fraction < _FRACTION_BETWEEN_LINES and now - self._last_time < 60)
            or facts.train is None
        ):
            return
        if facts.train is None and facts.valid is None:
            return
        self._last_time, self._last_fraction, self._unsaid = now, facts.fraction, None
        self._say(self._progress_line(facts))

    def working(self, what: str) -> None:
        """Say that a longer piece of work begins; on a terminal only, and only while it lasts."""
        self._end_progress()
        if self._terminal:
            self._show_live(f"{self._text(what)} ...")

    def line(self, label: str, text: str) -> None:
        """Print a result on stdout."""
        self._end_progress()
        self._result(f"{self._text(label):<{_LABEL}} {self._text(text, _LONGEST)}", hanging=_LABEL + 1)

    # --- what the commands use besides ---

    def say(self, text: str) -> None:
        """Print a line of progress."""
        self._say(self._text(text, _LONGEST))

    def close(self) -> None:
        """Take the live line away."""
        self._end_progress()
        self._clear_live()

    # --- how ---

    def _say(self, text: str, hanging: int = 2) -> None:
        if self._progress:
            self._clear_live()
            self._print(self._err, text, hanging)

    def _end_progress(self) -> None:
        """Leave the last state of a training as a line, without the time left."""
        if self._unsaid is not None and (self._unsaid.train is not None or self._unsaid.valid is not None):
            facts, self._unsaid = self._unsaid, None
            self._say(self._progress_line(replace(facts, seconds_left=None)))

    def _result(self, text: str, hanging: int = 2) -> None:
        if self._results:
            self._clear_live()
            self._print(self._out, text, hanging)

    def _print(self, channel: Channel, text: str, hanging: int) -> None:
        if channel.isatty():
            width = self._width()
            if len(text) > width:
                indent = " " * (hanging if hanging < width // 2 else 2)
                text = textwrap.fill(
                    text, width, subsequent_indent=indent, drop_whitespace=True, replace_whitespace=False
                )
        channel.write(text + "\n")

    def _width(self) -> int:
        try:
            return max(10, os.get_terminal_size(self._err.fileno()).columns or 80)
        except (OSError, ValueError):
            return 80

    def _text(self, value: object, limit: int = 200) -> str:
        text = shown(value, limit)
        return text if self._err.unicode and self._out.unicode else text.replace("…", "...")

    def _progress_line(self, facts: ProgressFacts) -> str:
        narrow = self._terminal and self._width() < 70
        metric = facts.metric.removeprefix("valid_")
        parts = [self._text(facts.layer, 40)] if facts.layer else []
        parts.append(f"epoch {count(facts.epoch)}/{count(facts.max_epochs)}")
        if not narrow:
            parts.append(bar(facts.fraction))
        if facts.train is not None:
            parts.append(f"train {figure(facts.train)}")
        if facts.valid is not None:
            word = "valid" if metric == "loss" else f"valid {self._text(metric, 30)}"
            parts.append(f"{word} {figure(facts.valid)}")
        if facts.best is not None:
            at = f" @ {facts.best_epoch}" if facts.best_epoch is not None else ""
            parts.append(f"best {figure(facts.best)}{at}")
        if facts.seconds_per_epoch is not None and not narrow:
            parts.append(pace(facts.seconds_per_epoch))
        if facts.seconds_left is not None:
            parts.append(left(facts.seconds_left))
        return "  " + "  ".join(parts)

    def _show_live(self, text: str) -> None:
        if not self._progress or self._err.lost:
            return
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        if self._console is None:
            self._console = Console(file=self._err, markup=False, highlight=False, emoji=False)  # type: ignore[arg-type]
        # the console asks for the width each time, so a terminal that was resized is drawn right
        line = Text(text, no_wrap=True, overflow="crop", style="" if os.environ.get("NO_COLOR") else "dim")
        if self._live is None:
            self._live = Live(
                line,
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start(refresh=True)
        else:
            self._live.update(line, refresh=True)

    def _clear_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _score(entry: tuple[float, float | None, float | None] | None) -> str:
    if entry is None:
        return "-"
    value, low, high = entry
    return figure(value) if low is None or high is None else f"{figure(value)} [{figure(low)}, {figure(high)}]"

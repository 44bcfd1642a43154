"""How far a command is: a bar on a terminal, a line a minute elsewhere, and lines in the log."""

from __future__ import annotations

import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from egotools.texts import counted

from .display import duration, write
from .log import output
from .text import is_terminal, visible

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

PATIENCE = 1.0  # seconds before a bar is shown
FIRST, EVERY = 10.0, 60.0  # seconds before the first line, and between lines
REFRESH = 0.1  # seconds between two looks at a bar
UNITS = {"looking up": "files", "fitting": "seeds"}  # of stages that count something else than their command
ROWS = {"writing frames": "file"}  # what stages make that make no rows


@dataclass(frozen=True)
class Standing:
    """How far one stage of the work is. Its rate is of what was done since the first figures, at `began`."""

    stage: str
    unit: str
    began: float  # time.monotonic()
    at: float  # when these figures came
    done: float = 0
    total: int | None = None
    rows: int | None = None
    done_before: float = 0
    rows_before: int = 0

    def counts(self) -> list[str]:
        """What is done."""
        rows = [] if self.rows is None else [counted(self.rows, ROWS.get(self.stage, "row"))]
        return [] if self.total is None else [f"{int(self.done)} of {self.total} {self.unit}", *rows]

    def pace(self, now: float) -> list[str]:
        """Rate and time left, as far as they can be known; of work that is not counted the time that it has taken."""
        if self.total is None:
            return [duration(now - self.began)]
        is_over = self.done >= self.total
        elapsed, done = (self.at if is_over else now) - self.began, self.done - self.done_before
        if done <= 0 or elapsed <= 0:
            return []
        rows = self.rows_before if self.rows is None else self.rows
        count, unit = (
            (done, self.unit)
            if rows == self.rows_before
            else (rows - self.rows_before, f"{ROWS.get(self.stage, 'row')}s")
        )
        left = (self.total - self.done) * elapsed / done
        return [f"{count / elapsed:.3g} {unit}/s", *([] if is_over else [f"{duration(left)} left"])]


class Progress:
    """Shows how far a command is, on stderr, until its block is left; with `--quiet` only the log has it.

    It is called with a stage's name, how much of it is done, of how much, and how many rows that made.

    Args:
        unit: what is counted.
        stage: what is done before anything is counted.
    """

    def __init__(self, unit: str = "clips", stage: str = "") -> None:
        self._unit, self._output = unit, output()
        now = time.monotonic()
        self._standing = Standing(stage, unit, now, now) if stage else None
        has_terminal = is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"
        self._bar = Bar() if has_terminal and not self._output.quiet else None
        self._has_told = False
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __call__(self, stage: str, done: float, total: int | None = None, rows: int | None = None) -> None:
        before, now = self._standing, time.monotonic()
        if before is not None and before.stage == stage:
            self._standing = replace(before, at=now, done=done, total=total, rows=rows)
        else:
            self._close_stage()
            unit = UNITS.get(stage, self._unit)
            self._standing = Standing(stage, unit, now, now, done, total, rows, done, rows or 0)

    def __enter__(self) -> Progress:
        if self._bar is not None or self._output.logs or not self._output.quiet:
            self._watcher.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()
        if self._bar is not None:
            self._bar.stop(self._standing)
        self._close_stage()

    def _watch(self) -> None:
        next_line = time.monotonic() + FIRST
        while not self._over.wait(REFRESH if self._bar else max(next_line - time.monotonic(), 0)):
            now, standing = time.monotonic(), self._standing
            if standing is None:
                continue
            if self._bar is not None and now - standing.began > PATIENCE:
                self._bar.show(standing, now)
            if now >= next_line:
                next_line = now + EVERY
                what = ", ".join([*standing.counts(), *standing.pace(now)])
                self._tell(f"{standing.stage}: {what}", is_for_all=True)
                self._has_told = True

    def _close_stage(self) -> None:
        standing, self._standing = self._standing, None
        if standing is not None:
            took = duration(time.monotonic() - standing.began)
            what = f"{', '.join(standing.counts())} in {took}" if standing.counts() else took
            self._tell(f"{standing.stage}: {what}", is_for_all=self._has_told)
        self._has_told = False

    def _tell(self, line: str, *, is_for_all: bool) -> None:
        """A line of the log; `is_for_all`: and of stderr, unless a bar is there."""
        self._output.keep(line)
        if is_for_all and self._bar is None and not self._output.quiet:
            write(visible(line, sys.stderr), err=True)


class Bar:
    """A bar on the terminal of stderr, with rate and time left."""

    def __init__(self) -> None:
        self._progress: RichProgress | None = None

    def show(self, standing: Standing, now: float) -> None:
        """Draws it anew."""
        # Any: what rich takes as further fields of a task
        figures: dict[str, Any] = {"counts": ", ".join(standing.counts()), "pace": ", ".join(standing.pace(now))}
        description = visible(standing.stage, sys.stderr)
        if self._progress is None:
            self._progress = _rich_progress()
            self._progress.add_task(description, total=standing.total, **figures)
            self._progress.start()
        task = self._progress.task_ids[0]
        self._progress.update(task, description=description, completed=standing.done, total=standing.total, **figures)

    def stop(self, standing: Standing | None) -> None:
        """Leaves the last figures on the terminal."""
        if self._progress is None:
            return
        if standing is not None:
            self.show(standing, time.monotonic())
        self._progress.stop()


def _rich_progress() -> RichProgress:
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    texts = [TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[counts]", "fields[pace]")]
    spinner = SpinnerColumn("dots" if console.encoding.startswith("utf") else "line")
    return RichProgress(spinner, texts[0], BarColumn(), *texts[1:], console=console)

"""What people see (tables, progress, remarks) and what programs read (JSON on stdout)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from egotools.config import to_json

PATIENCE = 1.0  # seconds before a bar of stages is shown


def note(text: str) -> None:
    """A remark for the person, on stderr."""
    click.echo(text, err=True)


def show_json(value: Any) -> None:
    """A result for a program, on stdout."""
    click.echo(to_json(value))


def show_report(content: Mapping[str, Any], kept: str = "", *, as_json: bool) -> bool:
    """A report's remarks, and what is kept of it; as JSON the report itself. Whether tables are still to be shown."""
    for remark in content["remarks"]:
        note(f"note: {remark}")
    if kept:
        note(kept)
    if as_json:
        show_json(content)
    return not as_json


def show_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """A table on stdout; numbers are aligned to the right, floats shown with four digits."""
    console = Console(width=None if Console().is_terminal else 200)
    table = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[index], (int, float, type(None))) for row in rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    console.print(table)


def show_mapping(values: Mapping[str, object], *, title: str | None = None) -> None:
    """Names and values, one a line, on stdout."""
    show_table(["", ""], [[name, value] for name, value in values.items()], title=title)


def cell(value: object) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)


def progress_bar() -> Progress:
    """A bar on stderr with rate and remaining time; its tasks have a field `rate`."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


@contextmanager
def stages(unit: str = "clips") -> Iterator[Callable[[str, float, int], None]]:
    """A bar on stderr for work in stages, each with its text, how much is done and of how much; short work has none."""
    bar = progress_bar()
    task = bar.add_task("", total=None, rate="")
    begun: dict[str, float] = {}

    def show(stage: str, done: float, total: int) -> None:
        if stage not in begun:
            begun.clear()  # the stage before is over
            bar.reset(task)
        elapsed = time.monotonic() - begun.setdefault(stage, time.monotonic())
        if elapsed > PATIENCE:
            bar.start()
            rate = f"{done / elapsed:.3g} {unit}/s"
            bar.update(task, description=stage, completed=round(done, 2), total=total, rate=rate)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


class Bar:
    """A progress bar over `total` clips, with a rate in `unit` a second; appears with the first of them."""

    def __init__(self, description: str, total: int, unit: str) -> None:
        self.unit = unit
        self._bar = progress_bar()
        self._task = self._bar.add_task(description, total=total, rate="")
        self._started = time.monotonic()

    def show(self, done: float, units: int) -> None:
        """So many clips, and units, since the start."""
        self._bar.start()
        rate = units / max(time.monotonic() - self._started, 1e-6)
        self._bar.update(self._task, completed=round(done, 2), rate=f"{rate:.1f} {self.unit}/s")

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar.live.is_started:
            self._bar.stop()


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"

"""`egotools cache ls --watch`: the list of caches again and again, until all are complete."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from egotools.texts import counted

from . import display
from .groups import Command
from .text import is_terminal

if TYPE_CHECKING:
    from egotools.rebuild.watching import Watched

FLAG, SECONDS = "--watch", 2.0
COLUMNS = ["cache", "clips", "rows", "size", "rate", "time left", "unfinished", "written by"]


class Watching(Command):
    """A command whose `--watch` takes a number or none: `--watch caches`, `--watch 5 caches`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        words = [word for at, word in enumerate(args) for word in _with_number(word, args[at + 1 : at + 2])]
        return super().parse_args(context, words)


def _with_number(word: str, after: Sequence[str]) -> list[str]:
    is_number = bool(after) and after[0].replace(".", "", 1).isdecimal()
    return [word, str(SECONDS)] if word == FLAG and not is_number else [word]


def watch(caches: Sequence[Path], seconds: float) -> None:
    """Shows the caches every so many seconds; ends when all are complete, or by Ctrl-C."""
    from egotools.rebuild.watching import Watch, is_over

    watched = Watch(caches, remark=display.note)
    show, close = _table() if is_terminal(sys.stdout) else (_show_lines, lambda: None)
    try:
        while not is_over(found := _shown(watched.look(), show)):
            time.sleep(seconds)
    except KeyboardInterrupt:  # how a watch is ended
        found = []
    finally:
        close()
    if found:
        failed = sum(each.failed for each in found)
        but = f", but {counted(failed, 'clip')} failed" if failed else ""
        display.note(f"complete: nobody writes, and all clips are there{but}")


def _shown(found: list[Watched], show: Any) -> list[Watched]:  # Any: one of the functions below
    show(found)
    return found


def _show_lines(found: Sequence[Watched]) -> None:
    moment = datetime.now().astimezone().isoformat(timespec="seconds")
    for each in found:
        clips, rows, size, rate, left, unfinished, writer = _cells(each)
        more = [left and f"{left} left", unfinished and f"unfinished: {unfinished}", writer]
        facts = [f"{clips} clips", f"{rows} rows", size, rate, *more]
        display.say(f"{moment} {each.path}: {', '.join(filter(None, facts))}")
    if not found:
        display.say(f"{moment} no caches yet")


def _table() -> tuple[Any, Any]:  # Any: what draws the table, and what ends it
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from .table import render

    live = Live(console=Console(), auto_refresh=False)
    live.start()

    def show(found: Sequence[Watched]) -> None:
        rows = [[str(each.path), *_cells(each)] for each in found]
        text, _ = render(COLUMNS, rows, title=None, first_to_go=("size", "written by", "rows"))
        live.update(Text.from_ansi(text), refresh=True)

    return show, live.stop


def _cells(each: Watched) -> list[str]:
    """Clips, rows, size, rate, time left, unfinished clips, and who writes."""
    clips = str(each.clips) if each.total is None else f"{each.clips} of {each.total}"
    if each.failed:
        clips += f" ({each.failed} failed)"
    rate = f"{each.clips_per_second:.3g} clips/s, {each.rows_per_second:.3g} rows/s" if each.writer else ""
    left = "" if each.seconds_left is None else display.duration(each.seconds_left)
    first = [f"{id} ({it.rows} of {counted(it.begun.total, 'row')})" for id, it in list(each.unfinished.items())[:2]]
    more = [f"{len(each.unfinished) - 2} more"] if len(each.unfinished) > 2 else []
    state = each.writer or each.problem or ("" if each.is_complete else "nobody writes it")
    return [clips, str(each.rows), display.size(each.bytes), rate, left, ", ".join([*first, *more]), state]

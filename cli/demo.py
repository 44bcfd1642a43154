"""`egotools demo`: the whole story, told step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from . import display, options
from .progress import Progress


@click.command()
@click.argument(
    "folder", metavar="[VIDEOS_DIR]", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Folder for the manifest, the caches, reports and pictures.",
)
@click.option(
    "--length",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds of the clips that the videos are cut into.",
)
@options.telling
def demo(folder: Path | None, out: Path, length: float) -> None:
    """Tell the whole story on VIDEOS_DIR, from manifest to pictures; without it, on three small real clips.

    Each step shows the line that does the same by hand. Sub-folders with two videos or more each are labels; else
    each clip has to find its own video. Needs the extra `demo`: pip install 'egotools[demo]'

    \b
    egotools demo
    egotools demo videos/ --out demo
    """
    from egotools.demo import demo as tell

    began = time.monotonic()
    outcome = tell(folder, out, Screen(), length=length)
    display.say("")
    display.say(f"Done in {display.duration(time.monotonic() - began)}. Look at:")
    for picture in outcome.pictures:
        display.say(f"  {picture}")
    if outcome.problems:
        display.failure(f"{len(outcome.problems)} problems with files or clips, named above")
        click.get_current_context().exit(1)


class Screen:
    """The story on a terminal."""

    def step(self, title: str, command: str) -> None:
        display.say("")
        display.say(title, bold=True)
        for line in command.splitlines():
            display.say(f"$ {line}", fg="cyan")

    def say(self, text: str) -> None:
        display.say(f"  {text}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        display.show_table(columns, rows)

    @contextmanager
    def bar(self) -> Iterator[Progress]:
        with Progress() as progress:
            yield progress

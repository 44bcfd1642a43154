"""`egotools demo`: the whole pipeline, step by step."""

import time
from collections.abc import Sequence
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
    type=options.FOLDER,
    default=Path("demo"),
    show_default=True,
    help="Folder for the manifest, caches, reports and pictures.",
)
@click.option(
    "--length",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Length of the clips that the videos are cut into, in seconds.",
)
@options.telling
def demo(folder: Path | None, out: Path, length: float) -> None:
    """Run the whole pipeline on VIDEOS_DIR, from manifest to pictures; without it, on three small real clips.

    Each step shows the command that does the same. Sub-folders with at least two videos each are labels; otherwise
    the label is the video. Needs the extra `demo`: pip install 'egotools[demo]'

    \b
    egotools demo
    egotools demo videos/ --out demo
    """
    from egotools.demo import demo as run_demo

    began = time.monotonic()
    result = run_demo(folder, out, Screen(), length=length)
    display.say("")
    display.say(f"Done in {display.duration(time.monotonic() - began)}. Look at:")
    for picture in result.pictures:
        display.say(f"  {picture}")
    if result.problems:
        display.failure(f"{len(result.problems)} problems with files or clips, named above")
        click.get_current_context().exit(1)


class Screen:
    """Prints the steps on a terminal."""

    def step(self, title: str, command: str) -> None:
        display.say("")
        display.say(title, bold=True)
        for line in command.splitlines():
            display.say(f"$ {line}", fg="cyan")

    def say(self, text: str) -> None:
        display.say(f"  {text}")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        display.show_table(columns, rows)

    def bar(self) -> Progress:
        return Progress()

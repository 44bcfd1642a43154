"""`egotools manifest check`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from egotools.manifests.table import read_rows
from egotools.types import Clip

from .. import options
from ..display import note, show_json, show_table
from ..progress import Progress
from .writing import counted, source

if TYPE_CHECKING:
    from egotools.manifests.check import Problem

SHOWN = 50  # problems that the table shows; --json has all


@click.command()
@source
@click.option("--decode", is_flag=True, help="Decode every frame and sound; slow, and finds damage anywhere.")
@options.telling
@options.as_json
@click.pass_context
def check(context: click.Context, manifest_file: Path, decode: bool, as_json: bool) -> None:
    """Open every file once and report what is wrong.

    Reported: rows that cannot be used, files that are missing, empty, unreadable, truncated or damaged, clips that
    start or end after their file, and duplicates. Of each file the first frame, the middle one and the last are
    decoded; --decode reads all. What was repaired in a file, or is odd about it, is a remark. Exit status 1 if there
    is any problem other than remarks.

    \b
    egotools manifest check m.csv
    egotools manifest check m.csv --decode --json
    """
    from egotools.manifests.check import Problem, check_clips, files_of

    rows = [row for _, row in read_rows(manifest_file)]
    clips = [row for row in rows if isinstance(row, Clip)]
    problems = [Problem("", str(manifest_file), "row", str(row)) for row in rows if not isinstance(row, Clip)]
    files = len(files_of(clips))
    with Progress("files") as progress:
        problems += check_clips(clips, progress, decode="everything" if decode else "sample")
    _show_problems(problems, len(rows), files, as_json)
    context.exit(1 if any(not item.is_remark for item in problems) else 0)


def _show_problems(problems: Sequence[Problem], clips: int, files: int, as_json: bool) -> None:
    if as_json:
        wrong, odd = ([item for item in problems if item.is_remark is remark] for remark in (False, True))
        show_json({"clips": clips, "files": files, "problems": wrong, "remarks": odd})
        return
    if problems:
        rows = [[item.problem, item.id, item.path, item.detail] for item in problems[:SHOWN]]
        show_table(["problem", "clip", "file", "what"], rows, first_to_go=["file"])
    if len(problems) > SHOWN:
        note(f"{len(problems) - SHOWN} more; --json has all")
    kinds = Counter(item.problem for item in problems if not item.is_remark)
    summary = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "nothing wrong"
    if others := len(problems) - kinds.total():
        summary += f", {counted(others, 'remark')}"
    note(f"{counted(clips, 'clip')} in {counted(files, 'file')}: {summary}")

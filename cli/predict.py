"""`egotools predict`: a run on new videos, straight from their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import display, options
from .groups import Group
from .progress import Progress


@click.group(cls=Group)
def predict() -> None:
    """Apply a run to new videos, straight from their files.

    \b
    egotools predict memorability --run runs/m new.mp4
    """


@predict.command("memorability")
@click.option("--run", required=True, type=click.Path(path_type=Path), help="A run of 'egotools train memorability'.")
@options.resources
@options.trust
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.telling
@options.as_json
def memorability_command(run: Path, videos: tuple[Path, ...], as_json: bool, **given: Any) -> None:  # Any: resources
    """How well each video is remembered, from 0 to 1.

    Computes what the run was trained on, in one decoding pass, in memory and temporary files only.

    \b
    egotools predict memorability --run runs/m new.mp4 other.mp4
    egotools predict memorability --run runs/m --json new.mp4
    """
    from egotools.config import plain
    from egotools.methods.memorability.prediction import predict_memorability

    trusted, resources = options.trusted(given), options.resources_of(given)
    with Progress("videos") as progress:

        def predicting(done: float, rows: int) -> None:
            progress("predicting", done, len(videos), rows)

        found = predict_memorability(run, videos, trusted=trusted, resources=resources, progress=predicting)
    if as_json:
        display.show_json(plain(found.scored))
    elif found.scored:
        rows = [[str(each.path), each.score, each.deviation] for each in found.scored]
        display.show_table(["video", "score", "deviation"], rows, title=f"mean of {found.networks} networks")
    for path, reason in found.failed:
        display.failure(f"failed: {path}: {reason}")
    click.get_current_context().exit(1 if found.failed else 0)

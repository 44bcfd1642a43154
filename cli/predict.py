"""`egotools predict`: a run on new videos, straight from their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from egotools.methods.memorability.options import Sources

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
@click.option("--run", type=click.Path(path_type=Path), help="A run of 'egotools train memorability'.")
@click.option("--weights", type=click.Path(path_type=Path), help="Instead: a published checkpoint of M3-S.")
@options.from_fields(Sources, "sources")
@options.resources
@options.trust
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.telling
@options.as_json
def memorability_command(
    sources: Sources,
    run: Path | None,
    weights: Path | None,
    videos: tuple[Path, ...],
    as_json: bool,
    **given: Any,  # Any: resources
) -> None:
    """How well each video is remembered, from 0 to 1.

    Computes what the run or the weights were trained on, in one decoding pass, in memory and temporary files only.

    \b
    egotools predict memorability --run runs/m new.mp4 other.mp4
    egotools predict memorability --run runs/m --json new.mp4
    egotools predict memorability --weights m3s_memento10k.tar --pca pca_hog.pickle new.mp4
    """
    from egotools.config import plain
    from egotools.methods.memorability.prediction import predict_memorability
    from egotools.methods.memorability.released_prediction import predict_released

    if (run is None) == (weights is None):
        raise click.UsageError("--run DIR says which run to apply, or --weights FILE which published weights")
    if run is not None and sources != Sources():
        raise click.UsageError("--pca, --hrnet-weights, --csn-weights, --reference and --raw-order are for --weights")
    trusted, resources = options.trusted(given), options.resources_of(given)
    with Progress("videos") as progress:

        def predicting(done: float, rows: int) -> None:
            progress("predicting", done, len(videos), rows)

        if weights is not None:
            found = predict_released(weights, videos, sources, resources=resources, progress=predicting)
        elif run is not None:
            found = predict_memorability(run, videos, trusted=trusted, resources=resources, progress=predicting)
    for remark in found.remarks:
        display.note(f"note: {remark}")
    if as_json:
        display.show_json(plain(found.scored))
    elif found.scored:
        rows = [[str(each.path), each.score, each.deviation] for each in found.scored]
        display.show_table(["video", "score", "deviation"], rows, title=f"mean of {found.networks} networks")
    for path, reason in found.failed:
        display.failure(f"failed: {path}: {reason}")
    click.get_current_context().exit(1 if found.failed else 0)

"""`egotools manifest segmentation`."""

from __future__ import annotations

from pathlib import Path

import click

from .. import options
from ..display import failure, name_some, note
from ..progress import Progress
from .writing import counted, out, write_found


@click.command()
@click.option("--features", required=True, type=options.FOLDER, help="Folder with <video>.npy, features x frames.")
@click.option("--labels", required=True, type=options.FOLDER, help="Folder with <video>.txt, a label a line.")
@click.option("--mapping", required=True, type=options.FILE, help="Numbers and names of the classes: '0 take' a line.")
@click.option("--bundles", required=True, type=options.FOLDER, help="Folder with train.split1.bundle and so on.")
@click.option(
    "--fps", required=True, type=click.FloatRange(0, min_open=True), help="Frames per second of features and labels."
)
@click.option(
    "--split-number", default=1, show_default=True, type=click.IntRange(1), help="Which bundles make the splits."
)
@click.option("--cache", required=True, type=options.PATH, help="The new cache of the features, .lmdb or .h5.")
@click.option("--overwrite", is_flag=True, help="Replace an existing cache that was made differently.")
@out
@options.telling
def segmentation(
    features: Path,
    labels: Path,
    mapping: Path,
    bundles: Path,
    fps: float,
    split_number: int,
    cache: Path,
    overwrite: bool,
    out: Path,
) -> None:
    """List videos that have features and a label a frame, as GTEA, 50Salads and Breakfast are distributed.

    Writes the features of the folder as a cache, the videos of the bundles as a manifest with the splits train and
    test, and the labels as NAME.segments.csv beside it, in seconds. With another --split-number the cache stays as it
    is. Where features and labels of a video differ in length by a frame, or up to 1 %, the longer is cut.

    \b
    egotools manifest segmentation --features gtea/features --labels gtea/groundTruth --mapping gtea/mapping.txt \\
            --bundles gtea/splits --fps 15 --cache caches/gtea/i3d.lmdb --out gtea.csv
    """
    from egotools.datasets.frame_labels import read_layout
    from egotools.provenance import command_line, surroundings
    from egotools.stores.importing import Keys, import_arrays

    layout = read_layout(features, labels, mapping, bundles, fps=fps, split_number=split_number)
    origin = {"command": command_line(), **surroundings()}
    with Progress() as progress:
        made = import_arrays(
            features, cache, Keys(), frames=layout.frames, origin=origin, overwrite=overwrite, progress=progress
        )
    what = f"{counted(made.clips, 'clip')}, {made.rows} rows of {made.width} features"
    note(f"{cache}: {what}" + ("" if made.is_new else ", there already: nothing to do"))
    name_some("links that lead out of the folder, not followed", made.refused, tell=failure)
    write_found(out, layout.found)

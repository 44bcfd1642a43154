"""`egotools eval map`."""

from pathlib import Path

import click

from egotools.evaluate.map import Drawing
from egotools.evaluate.projection import Projecting

from .. import display, options
from ..configuration import MethodCommand
from ..progress import Progress


@click.command("map", cls=MethodCommand)
@options.manifest
@options.features
@options.reduce
@options.segments
@options.from_fields(Drawing, "drawing")
@options.from_fields(Projecting, "projecting")
@click.option(
    "--out", required=True, type=options.FOLDER, help="Folder for map.png, map.html, map.csv and report.json."
)
@options.telling
@options.as_json
def evaluate(
    drawing: Drawing,
    projecting: Projecting,
    manifest: Path,
    features: tuple[Path, ...],
    reduce: str,
    segments: Path | None,
    out: Path,
    as_json: bool,
) -> None:
    """Draw cached features as points: what is alike is near.

    Principal components keep large distances, t-SNE (of 50 components) small ones: there, sizes of groups and distances
    between them mean nothing. t-SNE by openTSNE, beyond 5,000 rows, needs the extra map; UMAP: pip install umap-learn.

    \b
    egotools eval map --features caches/e/clip.lmdb --manifest m.csv --color video --out maps/
    egotools eval map --features caches/e/clip.lmdb --manifest m.csv --reduce none --color time --out maps/
    egotools eval map --features caches/e/clip.lmdb --manifest m.csv --segments s.csv --color label --out maps/
    """
    from egotools.evaluate.map import draw_map

    rows = options.reduce_of(reduce, segments)
    if segments is not None and drawing.color is None:
        raise click.UsageError("--segments is for --color: name the column of labels at times, such as label")
    options.keep_for_us(out)
    with Progress("files", "reading and projecting") as progress:
        content = draw_map(
            out,
            manifest,
            features,
            projecting,
            drawing,
            reduce=rows,
            segments=segments,
            progress=progress,
        )
    if not display.show_report(content, f"picture, points and report are in {out}", as_json=as_json):
        return
    names = ("method", "library", "components", "explained_share", "perplexity", "neighbors", "divergence")
    there = [name for name in names if any(name in each for each in content["methods"])]
    shown = [[each.get(name) for name in there] for each in content["methods"]]
    title = f"eval map: {content['rows']} rows of {content['clips']} clips"
    display.show_table([name.replace("_", " ") for name in there], shown, title=title)

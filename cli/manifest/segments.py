"""`egotools manifest segments`: annotations at times to clips."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from egotools.annotations.events import Reading

from .. import options
from ..display import failure, name_some, note
from ..groups import Command
from ..progress import Progress
from .writing import out, write

if TYPE_CHECKING:
    from egotools.annotations.clips import Found

NAMED = 3  # examples of each kind


@click.command(cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=options.FILE)
@click.option("--videos", type=options.FOLDER, help="Folder of the videos; annotations name them by file name.")
@click.option("--manifest", type=options.FILE, help="CSV of clips, in place of --videos; annotations name their ids.")
@click.option(
    "--around", type=click.FloatRange(0, min_open=True), help="Make of each moment a segment of SECONDS on either side."
)
@click.option("--offset", type=float, default=0.0, help="Seconds of the video at the time 0 of the annotations.")
@click.option("--allow-overlaps", is_flag=True, help="Overlapping segments are meant, and no reason for exit status 1.")
@options.from_fields(Reading)
@out
@options.telling
@click.pass_context
def segments(
    context: click.Context,
    config: Reading,
    files: tuple[Path, ...],
    videos: Path | None,
    manifest: Path | None,
    around: float | None,
    offset: float,
    allow_overlaps: bool,
    out: Path,
) -> None:
    """List the segments that annotations name: tables, BORIS, ELAN, Datavyu, Praat, per-frame labels.

    One clip for each labeled segment, with its labels as columns, and `video`. The format is found by content, columns
    of tables by their names, which is said. Rows that cannot be used are counted and named, the others written; exit
    status 1.

    \b
    egotools manifest segments observations.csv --videos VIDEOS --out s.csv
    egotools manifest segments project.boris --videos VIDEOS --around 0.5 --out s.csv
    egotools manifest segments a.eaf b.eaf --tier behavior --videos VIDEOS --out s.csv
    egotools manifest segments segments.csv --manifest clips.csv --out s.csv
    """
    from egotools.annotations.clips import clips_of_annotations
    from egotools.annotations.reading import read_annotations
    from egotools.annotations.videos import Videos

    _check_places(files, videos, manifest, out)
    if not (isfinite(offset) and isfinite(around or 0)):
        raise click.UsageError("--offset and --around are seconds, not nan or inf")
    there = Videos.of_folder(videos, config.fps) if videos is not None else Videos.of_manifest(manifest or Path())
    annotations = read_annotations(files, config, there, around=around)
    with Progress("videos") as progress:
        found = clips_of_annotations(
            annotations, there, around=around, offset=offset, fps=config.fps, progress=progress
        )
    _tell(found, out, allow_overlaps)
    is_doubtful = bool(found.lost) or (bool(found.overlaps) and not allow_overlaps)
    context.exit(1 if is_doubtful or not found.clips else 0)


def _tell(found: Found, out: Path, allow_overlaps: bool) -> None:
    """Writes the manifest, and says what was found and what was not."""
    if found.clips:
        write(out, found.clips)
    for remark in found.remarks:
        note(f"  {remark}")
    name_some("overlapping segments, all written", found.overlaps, NAMED, note if allow_overlaps else failure)
    for kind, each in found.lost.items():
        name_some(kind, each, NAMED, failure)
    if not found.clips:
        failure(f"no segment can be used: {out} was not written")


def _check_places(files: tuple[Path, ...], videos: Path | None, manifest: Path | None, out: Path) -> None:
    from egotools.files.disk import real

    if (videos is None) == (manifest is None):
        raise click.UsageError("give either --videos, a folder, or --manifest, a CSV of clips")
    if real(out) in {real(path) for path in (*files, *([manifest] if manifest else []))}:
        raise click.UsageError(f"--out {out} is another file of this command; choose another name")

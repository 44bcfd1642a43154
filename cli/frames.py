"""`egotools frames`: clips as folders of frames or of optical flow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from egotools.extraction.frame_writing import FrameOptions
from egotools.texts import counted

from . import display, options
from .groups import Command
from .progress import Progress

if TYPE_CHECKING:
    from egotools.extraction.frame_folders import Folders


@click.command(cls=Command)
@options.manifest
@click.option("--out", required=True, type=options.FOLDER, help="Folder of the folders, and of manifest.csv.")
@options.from_fields(FrameOptions)
@click.option(
    "--layout",
    type=click.Choice(["id", "memdpc", "storyboard"]),
    default="id",
    show_default=True,
    help="id: a folder is called as its clip; memdpc: frame/CLASS/VIDEO and flow/CLASS/VIDEO, as MemDPC's scripts;"
    " storyboard: as id, files numbered from 0 (000000.jpg), as Memory Storyboard's script.",
)
@click.option("--label", default="label", show_default=True, help="Manifest column of memdpc's classes.")
@click.option("--limit", type=click.IntRange(1), help="Only the first clips.")
@click.option("--workers", type=click.IntRange(1), help="Processes; by default one a core.")
@options.telling
@options.as_json
@click.pass_context
def frames(
    context: click.Context,
    manifest: Path,
    out: Path,
    config: FrameOptions,
    layout: Literal["id", "memdpc", "storyboard"],
    label: str,
    limit: int | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Write clips as folders of JPEG frames, for training that reads them many times.

    OUT/manifest.csv lists the folders with the ids, splits and labels of the clips and the frames' rate. Files are
    numbered from 1 (image_00001.jpg, flow_00001.jpg). A folder is complete or not there: the same line again goes on.
    In pictures of flow green is the flow down, blue to the right, red is 128. --layout memdpc --quality 100 is what
    MemDPC's scripts write.

    \b
    egotools frames --manifest m.csv --out frames/ --size 256
    egotools frames --manifest kcam.csv --fps 10 --height 256 --out frames/kcam
    egotools frames --manifest m.csv --flow tvl1 --limit 2 --out flow/
    """
    from egotools.extraction.frame_folders import write_folders
    from egotools.manifests.table import read_manifest

    if config.flow:
        from egotools.extractors.optical_flow import check_opencv

        check_opencv("--flow needs", config.flow)
    clips = read_manifest(manifest)
    with Progress(stage="starting") as progress:
        try:
            found = write_folders(
                clips, out, config, layout=layout, label=label, limit=limit, workers=workers, progress=progress
            )
        except KeyboardInterrupt:
            display.note("finished folders are kept; rerun the command to resume")
            raise
    if as_json:
        display.show_json(_summary(found))
    else:
        _show(found)
    context.exit(1 if found.failed else 0)


def _summary(found: Folders) -> dict[str, Any]:
    failed = [{"id": clip.id, "error": reason} for clip, reason in found.failed]
    return {**vars(found), "clips": len(found.clips), "failed": failed}


def _show(found: Folders) -> None:
    there = len(found.clips) - found.made
    if found.clips:
        display.note(
            f"{found.manifest}: {counted(len(found.clips), 'folder')} with {counted(found.files, 'file')}"
            + (f", {there} of them there already" if there else "")
        )
    display.name_some("made again, for their files have changed", found.changed)
    for name, remarks in list(found.remarks.items())[:5]:
        for remark in remarks:
            display.note(f"  {name}: {remark}")
    for clip, reason in found.failed:
        display.failure(f"failed: {clip.id}: {reason}")

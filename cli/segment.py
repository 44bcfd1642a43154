"""`egotools segment`: clips cut where their features change, or at equal distances."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from egotools.derive.segments import Cutting
from egotools.texts import counted

from . import display, options
from .groups import Command
from .progress import Progress

if TYPE_CHECKING:
    from egotools.derive.segments import Segmented

MOST = 20  # clips in the table


@click.command(cls=Command)
@click.option("--features", required=True, type=options.FILE, help="Cache of features, a row for each time.")
@click.option("--manifest", type=options.FILE, help="CSV of clips; by default all clips of the cache.")
@options.from_fields(Cutting)
@click.option("--out", required=True, type=options.FILE, help="CSV of segments: id, start, end, label.")
@click.option("--picture", type=options.FILE, help="PNG: key frames under the similarity matrix.")
@click.option("--clip", help="The clip of the picture; by default the first one.")
@options.telling
@options.as_json
@click.pass_context
def segment(
    context: click.Context,
    features: Path,
    manifest: Path | None,
    config: Cutting,
    out: Path,
    picture: Path | None,
    clip: str | None,
    as_json: bool,
) -> None:
    """Cut clips into segments where their features change, without labels or training.

    --method cluster makes as many segments as asked, by greedy hierarchical clustering of time, as Memory Storyboard
    does: rows within a segment are alike. --method change finds cuts and other sudden changes without being told how
    many, --method uniform cuts at equal distances. Segments follow each other without gaps, and each has a number as
    its label, which no other one has. --picture shows one clip.

    \b
    egotools segment --features caches/a/resnet18.lmdb --method change --out segments.csv
    egotools segment --features caches/a/resnet18.lmdb --segments 12 --out segments.csv --picture storyboard.png
    egotools segment --features caches/a/resnet18.lmdb --class-length 180 --window 2000 --out segments.csv
    """
    from egotools.derive.segments import segment_cache
    from egotools.manifests.segments import write_segments

    _check_places(out, picture, features, manifest)
    if clip is not None and picture is None:
        raise click.UsageError("--clip is for --picture")
    with Progress(stage="segmenting") as progress:
        found = segment_cache(features, config, manifest, progress=progress)
        if found.clips:
            write_segments(out, [each for one in found.clips for each in one.segments()])
        drawn, remarks = _draw(found, features, manifest, picture, clip)
    remarks = [*found.remarks, *remarks]
    if as_json:
        display.show_json(_summary(found, out if found.clips else None, picture if drawn else None, remarks))
    elif found.clips:
        _show(found, out, picture if drawn else None)
    for remark in remarks:
        display.note(f"note: {remark}")
    for id, reason in found.failed:
        display.failure(f"failed: {id}: {reason}")
    if not found.clips:
        display.failure(f"no clip could be segmented: {out} was not written")
    context.exit(1 if found.failed or (picture and not drawn) else 0)


def _check_places(out: Path, picture: Path | None, features: Path, manifest: Path | None) -> None:
    from egotools.files.disk import real

    taken = {real(path) for path in (features, manifest) if path is not None}
    for flag, path in (("--out", out), ("--picture", picture)):
        if path is not None and real(path) in taken:
            raise click.UsageError(f"{flag} {path} is another file of this command; choose another name")
        taken.add(real(path or out))


def _draw(
    found: Segmented, features: Path, manifest: Path | None, picture: Path | None, id: str | None
) -> tuple[bool, list[str]]:
    """Whether the picture was written, and what to say about it."""
    from egotools.derive.segments import rows_of, source_of
    from egotools.derive.storyboard_picture import draw_storyboard
    from egotools.files.disk import write_whole
    from egotools.manifests.table import read_manifest
    from egotools.stores.opening import open_store

    if picture is None or not found.clips:
        return False, []
    clip = next((each for each in found.clips if id in (None, each.id)), None)
    if clip is None:
        return False, [f"{picture} was not written: {id!r} is no clip with segments (--clip)"]
    store = open_store(features)
    video = source_of(store, clip.id, [] if manifest is None else read_manifest(manifest))
    content, remarks = draw_storyboard(clip, rows_of(store, clip.id), video, store)
    write_whole(picture, content)
    if id is None and len(found.clips) > 1:
        remarks.append(f"{picture} shows {clip.id}, one of {len(found.clips)} clips; --clip chooses another")
    return True, remarks


def _summary(found: Segmented, out: Path | None, picture: Path | None, remarks: list[str]) -> dict[str, Any]:
    clips = [
        {"id": each.id, "segments": len(each), "mean_length": each.mean_length, "rows": int(each.edges[-1])}
        for each in found.clips
    ]
    failed = [{"id": id, "error": reason} for id, reason in found.failed]
    return {"out": out, "picture": picture, "clips": clips, "failed": failed, "remarks": remarks}


def _show(found: Segmented, out: Path, picture: Path | None) -> None:
    shown = found.clips[:MOST]
    rows = [[each.id, len(each), each.mean_length] for each in shown]
    if len(shown) < len(found.clips):
        rows.append([f"({len(found.clips) - MOST} more)", sum(map(len, found.clips[MOST:])), None])
    display.show_table(["clip", "segments", "mean length, s"], rows)
    drawn = f"; picture: {picture}" if picture is not None else ""
    told = f"{counted(sum(map(len, found.clips)), 'segment')} of {counted(len(found.clips), 'clip')}"
    display.note(f"{out}: {told}{drawn}")

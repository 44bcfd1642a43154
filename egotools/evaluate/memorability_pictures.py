"""The clips of the highest and lowest predicted scores, to be looked at."""

from __future__ import annotations

from pathlib import Path

from egotools.errors import EgotoolsError
from egotools.evaluate.memorability import Judged, extremes
from egotools.manifests import read_manifest
from egotools.plots import Shot, contact_sheet
from egotools.video import middle_frame

SHOWN = 8  # clips of each kind


def extremes_picture(judged: Judged, manifest: Path) -> tuple[bytes | None, list[str]]:
    """A contact sheet, most memorable clips above, least below, and remarks on clips that cannot be shown."""
    clips = {clip.id: clip for clip in read_manifest(manifest)}
    rows, unread = [], []
    for numbers in extremes(judged, SHOWN):
        shots = []
        for number in numbers:
            clip = clips[str(judged.table.ids[number])]
            if clip.path == Path():
                return None, ["no pictures of clips: the manifest names no files"]
            try:
                frame = middle_frame(clip)
            except EgotoolsError as error:
                unread.append(f"not shown: {error}")
                continue
            shots.append(Shot(frame, f"{judged.mean[number]:.3f} ({judged.target[number]:.3f})  {clip.id}"))
        rows.append(shots)
    if not any(rows):
        return None, unread
    title = "most and least memorable by their predicted scores (true scores)"
    return contact_sheet([row for row in rows if row], title=title), unread

"""Draw the picture of the README: one-second clips, and the moments most like them.

egotools manifest folder videos --out m.csv
egotools manifest windows m.csv --length 1 --out m.csv
egotools extract --manifest m.csv --out caches efficientnet-lite0 --fps 2
python moments.py m.csv caches/efficientnet-lite0.lmdb moments.png walk/0004 parking/0000 room/0016
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from egotools.evaluate.knn import normalized
from egotools.manifests.table import read_manifest
from egotools.media.video import middle_frame
from egotools.plots import Shot, contact_sheet
from egotools.tables.table import Table, read_table
from egotools.types import Clip

APART = 3.0  # seconds between two moments of one video
MOMENTS = 4  # beside each query
COLORS = 128  # a palette keeps the file small


def main(manifest: Path, cache: Path, out: Path, queries: Sequence[str]) -> None:
    """Write a contact sheet: each query on the left, then its moments with cosine, video and time."""
    clips = {clip.id: clip for clip in read_manifest(manifest)}
    table = read_table(manifest, [cache])
    rows = [[shot(clips[query]), *moments(table, clips, query)] for query in queries]
    sheet = contact_sheet(rows, title="One second of video, and the moments most like it")
    picture = Image.open(io.BytesIO(sheet)).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(out, optimize=True)


def moments(table: Table, clips: Mapping[str, Clip], query: str) -> list[Shot]:
    """The clips nearest to the query by cosine, none close in time to it or to one already chosen."""
    ids = table.ids.tolist()
    unit = normalized(table.values)
    cosine = unit @ unit[ids.index(query)]
    chosen, shots = [clips[query]], []
    for index in (-cosine).argsort():
        clip = clips[ids[index]]
        if len(shots) < MOMENTS and all(is_apart(clip, other) for other in chosen):
            chosen.append(clip)
            shots.append(shot(clip, f"{cosine[index]:.2f}  "))
    return shots


def is_apart(clip: Clip, other: Clip) -> bool:
    return clip.path != other.path or abs(clip.start - other.start) >= APART


def shot(clip: Clip, prefix: str = "") -> Shot:
    return Shot(middle_frame(clip), f"{prefix}{clip.path.stem}, {clip.start:.1f} s")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), sys.argv[4:])

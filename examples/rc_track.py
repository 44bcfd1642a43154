"""Manifests of a drive around a track with a small car, whose steering was recorded: a stream, and frames with labels.

    python examples/rc_track.py FOLDER --out .

FOLDER holds `rc_track1.mp4` (12,000 frames, 20 a second) and `rc_track1.csv`, one row a frame. Written are

- `rc.csv`: one clip, the first 9,000 frames, to be trained on as a stream;
- `rc-frames.csv`: every fourth frame as a clip, with the columns `action` (left, straight or right) and `steering`
  (-1 to 1; negative is left). Frames from 9,000 on are the split `test`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from egotools.manifests.table import write_manifest
from egotools.types import Clip

RATE = 20  # frames a second
STREAM = 9_000  # frames that are trained on
EVERY = 4
TURN = 0.2  # steering beyond which it is a turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path())
    asked = parser.parse_args()
    video, table = asked.folder.absolute() / "rc_track1.mp4", pd.read_csv(asked.folder / "rc_track1.csv")
    stream, images = asked.out / "rc.csv", asked.out / "rc-frames.csv"
    write_manifest(stream, [Clip("rc", video, end=STREAM / RATE)])
    write_manifest(images, frames(table, video))
    sys.stdout.write(f"{stream}: {STREAM} frames as one clip; {images}: every {EVERY}th of {len(table)} frames\n")


def frames(table: pd.DataFrame, video: Path) -> list[Clip]:
    """Every fourth frame as a clip."""
    actions = np.select([table.steering < -TURN, table.steering > TURN], ["left", "right"], "straight")
    clips = []
    for frame, steering, action in zip(table.frame, table.steering, actions, strict=True):
        if frame % EVERY == 0:
            split = "train" if frame < STREAM else "test"
            labels = {"action": str(action), "steering": f"{steering:g}"}
            clips.append(Clip(f"rc/{frame:05}", video, frame / RATE, (frame + 1) / RATE, split, labels))
    return clips


if __name__ == "__main__":
    main()

"""Videos of moving noise, each another, and manifests of them: what trainings on video are tested with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from media_files import write_video


def frames(number: int, count: int, *, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames [H, W, 3] of a coarse pattern that moves to the right, its speed and colors by number."""
    cells = np.random.default_rng(number).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    picture = cells.repeat(8, 0).repeat(8, 1)
    return [np.roll(picture, step * (number + 1), axis=1) for step in range(count)]


def write_videos(folder: Path, counts: Mapping[str, int], **size: int) -> Path:
    """A video of so many frames for each id, at 30 per second."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (id, count) in enumerate(counts.items()):
        write_video(folder / f"{id}.mp4", frames(number, count, **size))
    return folder


def write_manifest(path: Path, videos: Path, splits: Mapping[str, str], **labels: Mapping[str, str]) -> Path:
    """The ids with their split and further columns."""
    lines = [",".join(["id", "path", "split", *labels])]
    lines += [
        ",".join([id, str(videos / f"{id}.mp4"), split, *(column[id] for column in labels.values())])
        for id, split in splits.items()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path

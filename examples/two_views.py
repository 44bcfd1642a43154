"""Two-stream pre-training and segmentation on two views of one real video, in under a minute.

    python examples/two_views.py VIDEO FOLDER

The left half of the picture plays the labelled camera `v3`, the mirrored right half in gray the other one, `e4`. Each
sixth of the video is a recording; its thirds are the actions begin, middle and end. So the figures mean little: this
shows the commands, which it prints and runs.
"""

import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import av
import numpy as np

from egotools.manifests.segments import Segment, write_segments
from egotools.manifests.table import write_manifest
from egotools.media.video import open_frames
from egotools.types import Clip, Frame

RATE = 10  # frames per second of the views
SECONDS = 20  # at most
SPLITS = ("pair", "pair", "train", "train", "val", "test")
FILES = "--manifest a.csv --features caches/color.lmdb"
COMMANDS = (
    "extract --manifest a.csv --out caches color --bins 6 --fps 10",
    f"train two-stream --preset small --epochs 5 --chunk 2 {FILES} --out runs/ssl",
    "train segmentation --init run:runs/ssl --preset small --epochs 20 --chunk 2 --train-views v3"
    f" {FILES} --segments a.segments.csv --out runs/seg",
    "eval segmentation --run runs/seg --manifest a.csv --segments a.segments.csv --out reports/seg",
)


def main(video: Path, folder: Path) -> None:
    """Writes views, manifest and segments, then runs the commands in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    edges = np.linspace(0, write_views(video, folder), len(SPLITS) + 1)
    clips, segments = [], []
    for number, (split, start, end) in enumerate(zip(SPLITS, edges[:-1], edges[1:], strict=True)):
        for view in ("e4", "v3"):
            labels = {"recording": f"r{number}", "view": view}
            path = (folder / f"{view}.mp4").absolute()
            clips.append(Clip(f"r{number}/{view}", path, float(start), float(end), split, labels))
        thirds = np.linspace(start, end, 4)
        for label, one, other in zip(("begin", "middle", "end"), thirds[:-1], thirds[1:], strict=True):
            segments.append(Segment(f"r{number}", float(one), float(other), label, f"r{number}"))
    write_manifest(folder / "a.csv", clips)
    write_segments(folder / "a.segments.csv", segments)
    for line in COMMANDS:
        sys.stderr.write(f"\n$ egotools {line}\n")
        subprocess.run([sys.executable, "-m", "egotools", *shlex.split(line)], cwd=folder, check=True)


def write_views(video: Path, folder: Path) -> float:
    """Two halves of a video, of its first seconds if it is long, as `v3.mp4` and `e4.mp4`; their length in seconds."""
    with closing(open_frames(video)) as frames:
        begin = frames.info.times[0]
        end = min(frames.info.end, begin + SECONDS)
        indices = np.unique(frames.info.at(np.arange(begin, end, 1 / RATE)))
        pictures = np.stack([picture[: len(picture) // 2 * 2] for picture in frames.frames(indices)])
    half = pictures.shape[2] // 4 * 2
    gray = pictures[:, :, : -half - 1 : -1].mean(axis=3, keepdims=True).astype(np.uint8)
    write(folder / "v3.mp4", pictures[:, :, :half])
    write(folder / "e4.mp4", gray.repeat(3, axis=3))
    return len(pictures) / RATE


def write(path: Path, pictures: Frame) -> None:
    """Pictures [F, H, W, 3] as an MP4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.pix_fmt, stream.height, stream.width = "yuv420p", *pictures.shape[1:3]
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))

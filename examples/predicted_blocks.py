"""MemDPC on one real video, in under a minute: pre-training, features, nearest neighbors, a classifier.

    python examples/predicted_blocks.py VIDEO FOLDER

The video is cut into clips of two seconds; those of its thirds are of the classes begin, middle and end, and every
fourth clip is held out. The network sees 32 pixels, for 20 steps. So the figures mean little: this shows the commands,
which it prints and runs.
"""

import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np

from egotools.manifests.table import write_manifest
from egotools.media.video import open_frames
from egotools.types import Clip

SECONDS, LONGEST = 2.0, 60.0  # of a clip, and of all
THIRDS = ("begin", "middle", "end")
SEEN = "--size 32 --blocks 3 --length 5 --stride 1"
UNTRAINED = "memdpc --weights random:0 --size 32 --stride 1 --name untrained"
COMMANDS = (
    f"train memdpc --manifest m.csv {SEEN} --predict 1 --batch-size 4 --steps 20 --out runs/memdpc",
    f"extract --manifest m.csv --out caches run:runs/memdpc {UNTRAINED}",
    "eval retrieval --features caches/memdpc.lmdb --manifest m.csv --label third --k 1,3",
    "eval retrieval --features caches/untrained.lmdb --manifest m.csv --label third --k 1,3",
    f"train action --init run:runs/memdpc --manifest m.csv --label third {SEEN} --steps 10 --out runs/thirds",
    "eval action --run runs/thirds --manifest m.csv --crops five",
)


def main(video: Path, folder: Path) -> None:
    """Writes the manifest, then runs the commands in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder / "m.csv", clips_of(video.absolute()))
    for line in COMMANDS:
        sys.stderr.write(f"\n$ egotools {line}\n")
        done = subprocess.run([sys.executable, "-m", "egotools", *shlex.split(line)], cwd=folder, check=False)
        if done.returncode:
            sys.exit(done.returncode)


def clips_of(video: Path) -> list[Clip]:
    """Clips of two seconds, one after the other."""
    with closing(open_frames(video)) as frames:
        begin, end = float(frames.info.times[0]), float(frames.info.end)
    starts = np.arange(begin, min(end, begin + LONGEST) - SECONDS, SECONDS).tolist()
    return [
        Clip(
            id=f"{video.stem}/{number:03}",
            path=video,
            start=start,
            end=start + SECONDS,
            split="test" if number % 4 == 1 else "train",
            labels={"third": THIRDS[number * len(THIRDS) // len(starts)]},
        )
        for number, start in enumerate(starts)
    ]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))

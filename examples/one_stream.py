"""Memory Storyboard on one video, seen once: what it trains, and how it cuts the video. Takes a minute.

    python examples/one_stream.py VIDEO FOLDER

FOLDER gets a manifest, the run, a cache of its features, `segments.csv` and the picture `storyboard.png`: key frames
of the segments under the similarity of all frames.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from egotools.manifests.table import write_manifest
from egotools.types import Clip

SIZES = "--crop-size 32 --step-batch-size 8 --curr-batch-size 8 --replay-batch-size 24 --short-buffer-size 24"
MEMORIES = "--long-buffer-size 96 --subsample 2 --class-length 24"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    folder = asked.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder / "m.csv", [Clip(asked.video.stem, asked.video.absolute())])
    run, cache = folder / "run", folder / "caches"
    options = ["--preset", "small", *SIZES.split(), *MEMORIES.split(), "--out", run]
    egotools("train", "storyboard", "--manifest", folder / "m.csv", *options)
    egotools("extract", "--manifest", folder / "m.csv", "--out", cache, f"run:{run}", "--fps", 10)
    shown = ["--segments", 8, "--out", folder / "segments.csv", "--picture", folder / "storyboard.png"]
    egotools("segment", "--features", cache / "run.lmdb", *shown)


def egotools(*words: object) -> None:
    """Runs a command; ends where it fails."""
    done = subprocess.run([sys.executable, "-m", "egotools", *map(str, words)], check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()

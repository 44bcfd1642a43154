"""Whether MemDPC learns from real videos in 400 steps: figures of held-out videos, beside chance and the plateau.

    python benchmarks/memdpc_learning.py FOLDER [--seeds 0 1 2] [--steps 400]

A quarter of the videos of `../shared/data/videos` that have 121 or more frames (every fourth by name) is held out; the
rest is trained on by the command line, once a seed. Runs are kept in FOLDER: rerun the command to resume. Then each
network is shown batches of a span of each held-out video, and of the longest one's second half, since a batch is of
six; and batches of spans of the last fifth of a drive that it has not seen either.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import measuring
import torch

from egotools.loading.files import Files
from egotools.loading.kept_files import files_of
from egotools.loading.loader import loader
from egotools.loading.order import Order
from egotools.loading.spans import frames_of
from egotools.manifests.table import read_manifest, write_manifest
from egotools.methods.memdpc.clips import PRETRAINING, clips_of, examples_of
from egotools.methods.memdpc.network import WAYS, Pretraining
from egotools.methods.memdpc.options import SMALL, MemDPCOptions
from egotools.methods.usable import usable
from egotools.types import Clip
from egotools.weights.memdpc import load_memdpc, read_memdpc

FRAMES = 121
DRAWS = 20  # spans that are drawn from each held-out clip
DRIVE_PARTS = 24  # clips of the held-out fifth of the drive
OPTIONS = MemDPCOptions(**SMALL)
CHANCE = {"top1": 1 / (OPTIONS.batch_size * OPTIONS.predict), "clip": 1 / OPTIONS.batch_size}
PLATEAU = 2 * math.log(OPTIONS.batch_size * OPTIONS.predict)
WANTED = {"loss": PLATEAU - 0.3, "top1": 1.7 * CHANCE["top1"], "clip": 1.7 * CHANCE["clip"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=OPTIONS.steps)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    manifest = asked.folder / "m.csv"
    egotools("manifest", "folder", measuring.SHARED / "videos", "--out", asked.folder / "all.csv")
    clips, files = with_splits(asked.folder / "all.csv")
    write_manifest(manifest, clips)
    drive = drive_parts(measuring.SHARED / "streams" / "rc_track1.mp4")
    drive_files = files_of(drive, None, workers=1)
    held = [clip for clip in clips if clip.split == "test"]
    found = usable([clip for clip in clips if clip.split == "train"], files, OPTIONS.spans).found
    print(f"{len(found)} videos to learn from, {len(held)} held out: {', '.join(clip.id for clip in held)}")
    held = with_halves(held, files)
    print(f"wanted of held-out videos: {rounded(WANTED)}; the position-only plateau: loss {PLATEAU:.3f}")
    results = []
    for seed in asked.seeds:
        run = asked.folder / f"seed{seed}"
        options = ["--preset", "small", "--steps", asked.steps, "--seed", seed, "--workers", 1, "--quiet"]
        egotools("train", "memdpc", "--manifest", manifest, *options, "--out", run)
        model = Pretraining(OPTIONS.depth, predicted=OPTIONS.predict, slots=OPTIONS.slots)
        load_memdpc(model, read_memdpc(run / "memdpc.safetensors"))
        figures = measured(model, held, files)
        results.append(figures)
        print(f"seed {seed}: {rounded(figures)}; the drive: {rounded(measured(model, drive, drive_files))}")
        results[-1] |= features(asked.folder, run, seed)
        print(f"  windows of 4 s by video: {rounded({k: v for k, v in results[-1].items() if ' ' in k})}")
    means = {name: statistics.mean(each[name] for each in results) for name in results[0]}
    met = {name: means[name] < each if name == "loss" else means[name] >= each for name, each in WANTED.items()}
    print(f"means of {len(results)} seeds: {rounded(means)}: {'met' if all(met.values()) else f'MISSED: {met}'}")
    (asked.folder / "learning.json").write_text(json.dumps({"means": means, "wanted": WANTED, "seeds": results}))


def with_splits(listed: Path) -> tuple[list[Clip], Files]:
    """The clips of a manifest, of the splits train and test, and their files; unreadable ones are left out."""
    clips = read_manifest(listed)
    files = files_of(clips, None, workers=2)
    clips = [clip for clip in clips if clip.path in files.sources]
    long = sorted(clip.id for clip in clips if len(frames_of(clip, files.sources[clip.path])) >= FRAMES)
    held = set(long[::4])
    return [replace(clip, split="test" if clip.id in held else "train") for clip in clips], files


def with_halves(clips: list[Clip], files: Files) -> list[Clip]:
    """The longest clip replaced by its halves."""
    longest = max(clips, key=lambda clip: len(frames_of(clip, files.sources[clip.path])))
    info = files.sources[longest.path].info
    middle = float(info.times[len(info.times) // 2])
    halves = [replace(longest, id=f"{longest.id}/1", end=middle), replace(longest, id=f"{longest.id}/2", start=middle)]
    return [clip for clip in clips if clip is not longest] + halves


def drive_parts(path: Path) -> list[Clip]:
    """The last fifth of a drive of ten minutes, in parts."""
    edges = [480 + 120 * part / DRIVE_PARTS for part in range(DRIVE_PARTS + 1)]
    return [Clip(f"drive/{start:g}", path, start=start, end=end) for start, end in pairwise(edges)]


@torch.no_grad()
def measured(model: Pretraining, clips: Sequence[Clip], files: Files) -> dict[str, float]:
    """Means over batches of spans of the clips, in eval mode, with the augmentation of training, as published."""
    stretches = usable(clips, files, OPTIONS.spans).found
    examples = examples_of(stretches, OPTIONS, PRETRAINING)
    order = Order(len(examples), OPTIONS.batch_size, seed=0, epochs=DRAWS)
    finish = partial(clips_of, sampling=OPTIONS, device=torch.device("cpu"))
    read = loader(examples, order, seed=0, workers=1, device=torch.device("cpu"), finish=finish)
    figures = [{name: value.item() for name, value in model.eval()(batch).items()} for batch in read(0)]
    of = {"loss": ["loss"], "top1": [f"top1_{way}" for way in WAYS], "clip": [f"clip_{way}" for way in WAYS]}
    return {name: statistics.mean(each[part] for each in figures for part in parts) for name, parts in of.items()}


def features(folder: Path, run: Path, seed: int) -> dict[str, float]:
    """R@1 and a probe's accuracy of windows of all videos, whose class is the video: trained and untrained."""
    windows, caches = folder / "w.csv", folder / f"caches{seed}"
    egotools("manifest", "windows", folder / "all.csv", "--length", 4, "--out", windows)
    untrained = ["memdpc", "--weights", f"random:{seed}", "--size", OPTIONS.size, "--blocks", OPTIONS.blocks]
    names = ("trained", "untrained")
    two = [f"run:{run}", "--name", names[0], *untrained, "--name", names[1]]
    subprocess.run(  # one video is damaged: the others go on, and the exit status is 1
        [sys.executable, "-m", "egotools", *map(str, ["extract", "--manifest", windows, "--out", caches, *two])],
        check=False,
        stdout=subprocess.DEVNULL,
    )
    found = {}
    for name in names:
        for command, figure in (("retrieval", "R@1"), ("probe", "probe")):
            given = ["--features", caches / f"{name}.lmdb", "--manifest", windows, "--label", "video", "--json"]
            done = subprocess.run(
                [sys.executable, "-m", "egotools", "eval", command, *map(str, given)],
                check=True,
                capture_output=True,
                text=True,
            )
            found[f"{name} {figure}"] = json.loads(done.stdout)["accuracy"]
    return found


def egotools(*command: object) -> None:
    """Runs a command."""
    subprocess.run([sys.executable, "-m", "egotools", *map(str, command)], check=True, stdout=subprocess.DEVNULL)


def rounded(figures: dict[str, float]) -> str:
    """As text."""
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())


if __name__ == "__main__":
    main()

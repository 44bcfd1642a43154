"""Whether RepLAI learns: from made clips whose sound tells what is seen and what happens, and from real ones.

    python benchmarks/replai_learning.py FOLDER [--seeds 0 1 2] [--only made|real] [--option=--steps=300 ...]

Made clips (`replai_clips.py`): 512 to train on and 64 held out, as files; the command line finds their moments, trains
`--preset small` once a seed, and evaluates it beside the untrained network. A run without the state-change objective is
reported, too. A run whose loss is not finite counts as failed. Real clips: those of `../shared/data/videos` with sound;
moments of the first 70 % of each are trained on, those of the rest tested, 0.8 s lie between them so that they share no
sound. Medians over seeds. Everything is kept in FOLDER: rerun the command to resume.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import measuring
from replai_clips import write_clip

from egotools.manifests.table import write_manifest
from egotools.types import Clip

TRAIN, TEST = 512, 64
MINUTES = 10.0
EARLY, APART = 0.7, 0.8  # of a real clip that is trained on, and seconds between that and what is tested
SHORTEST = 1.3  # seconds of a real clip's part, of which 1.2 are a moment's windows
LENGTH, HOP = 2.2, 1.0  # of windows of a part, whose inner seconds, where moments may lie, touch
SUFFIXES = {".mp4", ".mkv", ".avi", ".webm"}
Figures = dict[str, float]
FAILED: Figures = {"minutes": math.inf}  # all else is 0


@dataclass(frozen=True)
class Wanted:
    """What a figure is to reach; a figure that is missing does not."""

    least: float
    most: float = math.inf

    def is_met(self, value: float) -> bool:
        """Whether a value lies between the two."""
        return self.least <= value <= self.most


MADE = {"auc": Wanted(0.85), "R@5": Wanted(0.2), "order": Wanted(0.9), "order, audio shuffled": Wanted(0.35, 0.65)}
MADE["minutes"] = Wanted(0, MINUTES)
REAL = {"auc": Wanted(0.7)}


def main() -> None:
    """Trains and evaluates what is not there yet, and prints all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", choices=["made", "real"])
    parser.add_argument("--option", action="append", default=[], help="for `train replai`, beside --preset small")
    asked = parser.parse_args()
    options = [word for each in asked.option for word in each.split("=", 1)]
    parts = {"made": (made_clips, MADE, [(), ("state-change",)]), "real": (real_clips, REAL, [()])}
    found = {}
    for name, (manifest_of, wanted, without) in parts.items():
        if asked.only in (None, name):
            folder = asked.folder / name
            folder.mkdir(parents=True, exist_ok=True)
            manifest = manifest_of(folder)
            print(f"{name} clips")
            found[name] = learned(folder, manifest, asked.seeds, without, wanted, options)
    (asked.folder / "learning.json").write_text(json.dumps(found, indent=2) + "\n")


def made_clips(folder: Path) -> Path:
    """The manifest of the made clips, which are written first; unless they are there already."""
    manifest = folder / "m.csv"
    if manifest.exists():
        return manifest
    clips = []
    for number in range(TRAIN + TEST):
        split = "train" if number < TRAIN else "test"
        path = folder / split / f"{number:04}.mp4"
        path.parent.mkdir(exist_ok=True)
        made = write_clip(path, number)
        labels = {"pitch": f"{made.pitch:.1f}", "direction": made.direction}
        clips.append(Clip(path.stem, path, split=split, labels=labels))
    write_manifest(manifest, clips)
    return manifest


def real_clips(folder: Path) -> Path:
    """The manifest of windows of the early and the late part of each clip with sound."""
    manifest = folder / "m.csv"
    parts = []
    for path in sorted((measuring.SHARED / "videos").iterdir()):
        seconds = seconds_with_sound(path) if path.suffix in SUFFIXES else 0.0
        early, late = EARLY * seconds - APART / 2, EARLY * seconds + APART / 2
        if seconds - late >= SHORTEST:
            ends = {"train": (0.0, early), "test": (late, seconds)}
            labels = {"video": path.name}
            parts += [Clip(f"{path.stem}/{split}", path, *ends[split], split, labels) for split in ends]
    write_manifest(folder / "parts.csv", parts)
    cut = ("--length", LENGTH, "--hop", HOP, "--min-length", SHORTEST)
    egotools("manifest", "windows", folder / "parts.csv", *cut, "--out", manifest)
    return manifest


def seconds_with_sound(path: Path) -> float:
    """How long a video with sound is; 0 if it has none, or is damaged."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video or not container.streams.audio:
                return 0.0
            return (container.duration or 0) / av.time_base
    except av.FFmpegError:
        return 0.0


def learned(
    folder: Path,
    manifest: Path,
    seeds: Sequence[int],
    without: Sequence[tuple[str, ...]],
    wanted: dict[str, Wanted],
    options: Sequence[str],
) -> dict[str, dict[str, list[Figures]]]:
    """Figures of each kind of network, a list over seeds; printed, with the medians."""
    egotools("extract", "--manifest", manifest, "--out", folder / "caches", "moments")
    moments = folder / "caches" / "moments.lmdb"
    data = ("--manifest", manifest, "--moments", moments)
    found: dict[str, list[Figures]] = {}
    for seed in seeds:
        found.setdefault("untrained", []).append(evaluated(f"random:{seed}", data))
        for left_out in without:
            name = " ".join(["trained", *(f"without {each}" for each in left_out)])
            run = folder / "-".join(["run", *left_out, str(seed)])
            figures = trained(run, data, seed, left_out, options)
            found.setdefault(name, []).append(figures)
            print(f"  seed {seed}, {name}: {shown(figures)}", flush=True)
    medians = {name: medians_of(each) for name, each in found.items()}
    for name, figures in medians.items():
        print(f"  median of {len(seeds)}, {name}: {shown(figures)}")
    reached = {name: "met" if each.is_met(medians["trained"][name]) else "MISSED" for name, each in wanted.items()}
    print(f"  wanted: {', '.join(f'{name} {verdict}' for name, verdict in reached.items())}")
    return {"medians": {name: [figures] for name, figures in medians.items()}, **found}


def trained(run: Path, data: Sequence[object], seed: int, without: Sequence[str], options: Sequence[str]) -> Figures:
    """Figures of a run, which is trained as far as it is not yet; those of a failure if its loss is not finite."""
    asked = ["--preset", "small", "--seed", seed, *(word for each in without for word in ("--without", each)), *options]
    begun = time.perf_counter()
    status = egotools("train", "replai", *data, *asked, "--out", run, "--quiet", check=False)
    seconds = run / "seconds.txt"  # of all tries, a line each
    with seconds.open("a") as lines:
        lines.write(f"{time.perf_counter() - begun:.1f}\n")
    if status:
        return FAILED
    return {**evaluated(run, data), "minutes": sum(map(float, seconds.read_text().split())) / 60}


def evaluated(run: object, data: Sequence[object]) -> Figures:
    """Figures of the split test."""
    line = [sys.executable, "-m", "egotools", "eval", "replai", "--json", "--run", run, *data]
    done = subprocess.run([*map(str, line)], check=True, capture_output=True, text=True)
    return {name: value for name, value in json.loads(done.stdout).items() if isinstance(value, float)}


def egotools(*command: object, check: bool = True) -> int:
    """Runs a command; its exit status."""
    line = [sys.executable, "-m", "egotools", *map(str, command)]
    return subprocess.run(line, check=check, stdout=subprocess.DEVNULL).returncode


def medians_of(seeds: Sequence[Figures]) -> Figures:
    """By name, over seeds; a failed run's figures are the worst."""
    names = {name for figures in seeds for name in figures}
    return {name: statistics.median(figures.get(name, 0.0) for figures in seeds) for name in sorted(names)}


def shown(figures: Figures) -> str:
    """As text."""
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items()) or "failed"


if __name__ == "__main__":
    main()

"""Whether RepLAI learns: from made clips whose sound tells what is seen and what happens, and from real ones.

    python benchmarks/replai_learning.py FOLDER [--seeds 0 1 2] [--only made|real] [--option=--steps=500 ...]

Made clips (`replai_clips.py`): 512 to train on and 64 held out, as files. The command line finds their moments, trains
`--preset small` once a seed, and evaluates it beside the same networks untrained; and once more without the objective
of the state change. A run that ends because its loss is not finite counts as failed: its figures are 0.

Real clips: those of `../shared/data/videos` with sound, in windows that overlap as much as is needed for each moment to
lie in one; there are few, so those from a prominence of 0.5 on are taken. The first 70 % of each video are trained on,
the rest is tested; 0.8 s lie between them, so that they share no sound. Telling these sounds apart is mostly telling
the recordings apart; the AUC within recordings is beside it.

Medians over seeds. Everything is kept in FOLDER: rerun the command to resume.
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
PROMINENCE, MOMENTS = (
    0.5,
    5,
)  # the least of a moment of a real clip, of which there are few; of a tested window, at most
SUFFIXES = {".mp4", ".mkv", ".avi", ".webm"}
Figures = dict[str, float]


@dataclass(frozen=True)
class Wanted:
    """What a figure is to reach; a figure that is missing does not."""

    least: float
    most: float = math.inf

    def is_met(self, value: float) -> bool:
        """Whether a value lies between the two."""
        return self.least <= value <= self.most


MADE = {"auc": Wanted(0.85), "r5": Wanted(0.2), "order": Wanted(0.9), "order_shuffled": Wanted(0.35, 0.65)}
MADE |= {"minutes": Wanted(0, MINUTES)}
REAL = {"auc": Wanted(0.7)}
SHOWN = ("auc", "auc_within", "r1", "r5", "order", "order_shuffled", "order_opposite", "clr_loss", "aot_loss")


@dataclass(frozen=True)
class Part:
    """Clips, and what is asked of them.

    Attributes:
        folder: where all of it is kept.
        manifest: of the clips.
        wanted: of the medians.
        variants: for each training, which objectives it is without.
        training: more options of `train replai`.
        testing: of `eval replai`.
    """

    folder: Path
    manifest: Path
    wanted: dict[str, Wanted]
    variants: Sequence[tuple[str, ...]]
    training: Sequence[object] = ()
    testing: Sequence[object] = ()

    @property
    def data(self) -> list[object]:
        """For commands."""
        return ["--manifest", self.manifest, "--moments", self.folder / "caches" / "moments.lmdb"]


def main() -> None:
    """Trains and evaluates what is not there yet, and prints all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", choices=["made", "real"])
    parser.add_argument("--option", action="append", default=[], help="of `train replai`, after --preset small")
    asked = parser.parse_args()
    options = [word for each in asked.option for word in each.split("=", 1)]
    found = {}
    for name in ("made", "real") if asked.only is None else (asked.only,):
        folder = asked.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{name} clips", flush=True)
        if name == "made":
            variants = [(), ("state-change",)]
            part = Part(folder, made_clips(folder), MADE, variants, testing=["--direction", "direction"])
        else:
            of_all = ["--per-clip", MOMENTS]
            part = Part(folder, real_clips(folder), REAL, [()], ["--prominence", PROMINENCE], of_all)
        found[name] = learned(part, asked.seeds, options)
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


def learned(part: Part, seeds: Sequence[int], options: Sequence[str]) -> dict[str, list[Figures]]:
    """Figures of each kind of network, a list over seeds; printed, with the medians."""
    egotools("extract", "--manifest", part.manifest, "--out", part.folder / "caches", "moments")
    found: dict[str, list[Figures]] = {}
    for seed in seeds:
        for without in part.variants:
            name = " ".join(["trained", *(f"without {each}" for each in without)])
            trained, untrained = run_of(part, seed, without, options)
            for kind, figures in ((name, trained), *([("untrained", untrained)] if not without else [])):
                found.setdefault(kind, []).append(figures)
                print(f"  seed {seed}, {kind}: {shown(figures)}", flush=True)
    medians = {name: medians_of(each) for name, each in found.items()}
    for name, figures in medians.items():
        print(f"  median of {len(seeds)}, {name}: {shown(figures)}")
    for name, each in part.wanted.items():
        print(f"  {name}: {'met' if each.is_met(medians['trained'].get(name, 0.0)) else 'MISSED'}", flush=True)
    return found


def run_of(part: Part, seed: int, without: Sequence[str], options: Sequence[str]) -> tuple[Figures, Figures]:
    """Figures of a run, which is trained as far as it is not yet, and of its networks untrained."""
    run = part.folder / "-".join(["run", *without, str(seed)])
    seconds = run.with_suffix(".seconds")  # of all tries
    asked = ["--preset", "small", "--seed", seed, *(word for each in without for word in ("--without", each))]
    line = [
        sys.executable,
        "-m",
        "egotools",
        "train",
        "replai",
        *map(str, [*part.data, *asked, *part.training, *options, "--out", run]),
    ]
    was_done, begun = (run / "report.json").exists(), time.perf_counter()
    done = subprocess.run([*line, "--quiet"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if not was_done:
        with seconds.open("a") as lines:
            lines.write(f"{time.perf_counter() - begun:.1f}\n")
    if done.returncode and "not finite" in done.stderr:
        return {"minutes": math.inf}, {}  # what is missing counts as 0
    if done.returncode:
        raise SystemExit(done.stderr)
    line = [*part.data, *part.testing, "--run", run, "--untrained", "--json"]
    line = [sys.executable, "-m", "egotools", "eval", "replai", *map(str, line)]
    content = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    trained, untrained = (
        {name: each[name] for name in SHOWN if each.get(name) is not None} for each in (content, content["untrained"])
    )
    return {**trained, "minutes": sum(map(float, seconds.read_text().split())) / 60}, untrained


def egotools(*command: object) -> None:
    """Runs a command."""
    subprocess.run([sys.executable, "-m", "egotools", *map(str, command)], check=True, stdout=subprocess.DEVNULL)


def medians_of(seeds: Sequence[Figures]) -> Figures:
    """By name, over seeds; a failed run's figures are the worst."""
    names = {name for figures in seeds for name in figures}
    return {name: statistics.median(figures.get(name, 0.0) for figures in seeds) for name in sorted(names)}


def shown(figures: Figures) -> str:
    """As text."""
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items()) or "failed"


if __name__ == "__main__":
    main()

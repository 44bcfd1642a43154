"""A probe of MemDPC off a cache against the reference's 100 epochs through the frozen network.

    python benchmarks/memdpc_probe.py [--weights random:0 | FILE | run:DIR] [--epochs 3] [--windows N] [--video FILE]
        [--folder DIR] [--json FILE] [--quick]

Real videos are cut into windows that have room for one span of 5 blocks, drawn or extracted; the label is the video,
every tenth window is tested on. On one side `egotools train action` without --finetune, as it runs: a run of one epoch
and one of `--epochs`, whose difference gives an epoch; 100 are extrapolated from that. On the other side `egotools
extract` of K views of the clips to learn from and `egotools train probe --head bn-dropout`. Extraction of the tested
clips is left out, as `eval action` is. Figures are processor seconds of commands, with all their processes; what a
command takes to start is measured with one clip, so that the ratio for large collections can be told, too.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import SHARED, Cost, Ratio, cost_of, real_clip, report

if TYPE_CHECKING:
    from egotools.types import Clip

EPOCHS = 100  # of the published protocol
TARGET = 0.8  # of EPOCHS / K
VIEWS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("center", ()),
    ("mirrored", ("--flip",)),
    ("corner", ("--crop", "top-left")),
)
SUFFIXES, DAMAGED = {".mp4", ".mkv", ".avi", ".webm"}, "corrupted.mp4"
SHOWN = ("--size", 64, "--blocks", 5)  # as `train memdpc --preset small`
EVERY = 10  # of so many windows one is tested on
FRAMES = 80  # of a window: more than 75, fewer than the 111 that have a second row
QUICK_FRAMES = 12
QUICK = ("--size", 32, "--blocks", 2, "--stride", 1)
BATCH, QUICK_BATCH = 8, 2
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of Linux

Run = Callable[..., tuple[Cost, dict[str, Any]]]  # a command's cost, and what it prints; Any: JSON values


@dataclass(frozen=True)
class Setting:
    """What both sides have in common."""

    folder: Path
    run: Run
    weights: str
    shown: tuple[object, ...]
    batch: int

    @property
    def initial(self) -> str:
        """The weights as `--init` takes them."""
        return str(self.folder / "random.safetensors") if self.weights.startswith("random:") else self.weights


def command(*words: object) -> tuple[Cost, dict[str, Any]]:
    """Runs a command in a process of its own, until the last process that it started has ended."""
    said: list[str] = []

    def work() -> None:
        before = children()
        line = [sys.executable, "-m", "egotools", *map(str, words)]
        said.append(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout)
        for pid in children() - before:
            os.waitpid(pid, 0)

    with adopting_orphans():
        cost = cost_of(work)
    return cost, json.loads(said[0])


def in_this_process(*words: object) -> tuple[Cost, dict[str, Any]]:
    """As `command`, without a process."""
    from click.testing import CliRunner
    from egotools.cli.main import root

    results: list[Any] = []
    line = [*map(str, words)]
    cost = cost_of(lambda: results.append(CliRunner().invoke(root, line, catch_exceptions=False)))
    return cost, json.loads(results[0].stdout)


@contextmanager
def adopting_orphans() -> Iterator[None]:
    """The server that forks a command's workers outlives it: as a child of ours its seconds are counted, too."""
    prctl = ctypes.CDLL(None).prctl
    prctl(SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(SUBREAPER, 0, 0, 0, 0)


def children() -> set[int]:
    """Ids of the processes below this one."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def windows_of(videos: Sequence[Path], frames: int, most: int | None) -> Iterator[Clip]:
    """Videos cut into windows of so many frames, two of each at least: one in ten to test on, the others to train."""
    from egotools.loading.kept_files import files_of
    from egotools.loading.spans import frames_of
    from egotools.types import Clip

    files = files_of([Clip(path.name, path) for path in videos])
    for number, path in enumerate(videos):
        times = files.sources[path].info.times if path in files.sources else ()
        edges = [float(time) for time in times[::frames]][: None if most is None else most + 1]
        label = f"{number}-{path.name}"
        for at, (begin, end) in enumerate(pairwise(edges) if len(edges) > 2 else ()):
            clip = Clip(f"{label}/{at}", path, begin, end, "test" if at % EVERY == 1 else "train", {"label": label})
            assert len(frames_of(clip, files.sources[path])) == frames, clip
            yield clip


def write_manifests(folder: Path, clips: Sequence[Clip], batch: int) -> dict[str, int]:
    """Writes `all.csv`, and parts of it: `train.csv`, `test.csv`, `one.csv`; gives the number of clips of each.

    Those to learn from fill whole batches, as `train action` leaves out what does not: videos lose their last windows.
    """
    from egotools.manifests.table import write_manifest

    train = sorted((clip for clip in clips if clip.split == "train"), key=lambda clip: clip.start)
    train = train[: len(train) // batch * batch]
    parts = {"train": train, "test": [clip for clip in clips if clip.split == "test"], "one": train[:1]}
    parts["all"] = [*parts["train"], *parts["test"]]
    for name, part in parts.items():
        write_manifest(folder / f"{name}.csv", part)
    return {name: len(part) for name, part in parts.items()}


def write_random_weights(setting: Setting) -> None:
    """The weights `random:SEED` as a checkpoint, from which `train action` begins."""
    import torch
    from safetensors.torch import save_file

    from egotools.nn.memdpc import MemDPC

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(setting.weights.removeprefix("random:")))
        save_file(MemDPC().state_dict(), setting.initial)


def frozen(setting: Setting, epochs: Sequence[int]) -> tuple[list[Cost], dict[str, float], float]:
    """What trainings of so many epochs cost; seconds of a step by stage, and accuracy, of the last."""
    costs = []
    for number in epochs:
        out = setting.folder / f"action{number}"
        asked = ("--init", setting.initial, "--label", "label", *setting.shown, "--batch-size", setting.batch)
        asked += ("--epochs", number, "--schedule", "60,80", "--workers", 1)
        cost, _ = setting.run(
            "train", "action", "--json", "--manifest", setting.folder / "all.csv", *asked, "--out", out
        )
        costs.append(cost)
    line = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    seconds = {name.removeprefix("seconds_"): value for name, value in line.items() if name.startswith("seconds_")}
    _, found = setting.run("eval", "action", "--json", "--run", out, "--manifest", setting.folder / "all.csv")
    return costs, seconds, found["accuracy"]


def extracted(setting: Setting, part: str, views: int, out: Path) -> Cost:
    """What the extraction of so many views of a part of the clips costs."""
    asked: list[object] = []
    for name, options in VIEWS[:views]:
        asked += ["memdpc", "--weights", setting.weights, *setting.shown, "--feature", "context", *options]
        asked += ["--name", name]
    return setting.run(
        "extract", "--json", "--manifest", setting.folder / f"{part}.csv", "--out", out, "--workers", 1, *asked
    )[0]


def probed(setting: Setting, caches: Path, views: int, epochs: int = EPOCHS) -> tuple[Cost, float]:
    """What the training of a probe on caches costs, and its accuracy."""
    center, *others = (caches / f"{name}.lmdb" for name, _ in VIEWS[:views])
    asked = [
        "--head",
        "bn-dropout",
        "--epochs",
        epochs,
        "--batch-size",
        setting.batch,
        "--label",
        "label",
        "--seeds",
        1,
    ]
    asked += [word for path in others for word in ("--view", path)]
    out = caches / f"probe{epochs}"
    where = ("--features", center, "--manifest", setting.folder / "all.csv", "--out", out)
    cost, found = setting.run("train", "probe", "--json", *where, *asked)
    return cost, found["accuracy"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="random:0", help="random:SEED, a file, or run:DIR")
    parser.add_argument("--epochs", type=int, default=3, help="of the longer training through the network, at least 2")
    parser.add_argument("--windows", type=int, help="of each video, at most")
    parser.add_argument("--video", type=Path, help="this file alone, as two")
    parser.add_argument("--folder", type=Path, help="keep caches and runs here; it must be new")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="short windows, in this process: shows that it runs")
    options = parser.parse_args(arguments)
    folder = SHARED / "videos"
    found = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES and path.name != DAMAGED)
    found += [path for path in [SHARED / "streams" / "rc_track1.mp4"] if path.exists()]
    options.videos = [options.video] * 2 if options.video else found or [real_clip()] * 2
    with tempfile.TemporaryDirectory() as aside:
        work = options.folder or Path(aside)
        work.mkdir(parents=True, exist_ok=True)
        if options.quick:
            setting = Setting(work, in_this_process, options.weights, QUICK, QUICK_BATCH)
        else:
            setting = Setting(work, command, options.weights, SHOWN, BATCH)
        measured(setting, options)


def measured(setting: Setting, options: argparse.Namespace) -> None:
    """All figures, printed."""
    most, frames = (4, QUICK_FRAMES) if options.quick else (options.windows, FRAMES)
    windows = list(windows_of(options.videos, frames, most))
    chance = 1 / len({clip.labels["label"] for clip in windows})
    clips = write_manifests(setting.folder, windows, setting.batch)
    if setting.weights.startswith("random:"):
        write_random_weights(setting)
    last = max(options.epochs, 2)
    (first, longer), seconds, accuracy = frozen(setting, (1, last))
    epoch = (longer - first).cpu / (last - 1)
    whole = first.cpu + (EPOCHS - 1) * epoch
    begun = first.cpu - epoch
    print(f"{clips['train']} clips to learn from, {clips['test']} to test on")
    print(
        f"{EPOCHS} epochs through the frozen network: {whole:.0f} s, extrapolated from 1 and {last}: {epoch:.1f} s each"
    )
    print(f"accuracy after {last} epochs through the network: {accuracy:.3f} (chance {chance:.3f})")
    figures: dict[str, Any] = {"epoch": epoch, "accuracy": accuracy, "start": begun, "seconds of a step": seconds}
    tested = setting.folder / "tested"
    extracted(setting, "test", 1, tested)
    start = extracted(setting, "one", 1, setting.folder / "one").cpu
    ratios = []
    for views in (1, len(VIEWS)):
        caches = Path(shutil.copytree(tested, setting.folder / f"caches{views}"))
        extraction = extracted(setting, "train", views, caches).cpu
        probe, reached = probed(setting, caches, views)
        note = f"{extraction:.1f} s extraction, {probe.cpu:.1f} s probe; accuracy {reached:.3f}"
        number = f"{views} view{'s' * (views > 1)}"
        target = None if options.quick else TARGET * EPOCHS / views
        ratio = Ratio(f"(t) {EPOCHS} epochs / {number}", whole / (extraction + probe.cpu), target, note)
        own = max(extraction - start, start / 100)
        note = f"100 epochs of {epoch:.1f} s, {own:.1f} s extraction, the probe left out"
        ratios += [
            ratio,
            Ratio(f"(t) {EPOCHS} epochs / {number}, without starting", EPOCHS * epoch / own, None, note),
        ]
        figures[number] = {"extraction": extraction, "probe": probe.cpu, "accuracy": reached}
    figures["start of an extraction"] = start
    ratios += shares(seconds, setting.batch)
    title = f"A probe of MemDPC, weights {setting.weights}, {clips['train']} clips to learn from, CPU seconds"
    report(title, ratios, options.json, figures=figures)


def shares(seconds: Mapping[str, float], batch: int) -> list[Ratio]:
    """Of decoding, augmentation (resampling and colors) and the step in a step of the frozen network."""
    parts = {
        "decoding": seconds["decoding"],
        "augmentation": seconds["resampling"] + seconds["finishing"],
        "step": seconds["step"],
    }
    whole = sum(parts.values())
    return [
        Ratio(f"(t) share of {name}, frozen epoch", value / whole, None, f"{value / batch * 1000:.0f} ms a clip, wall")
        for name, value in parts.items()
    ]


if __name__ == "__main__":
    main()

"""Decoding a few frames a second with and without passing over those that nobody asked for; the frames are the same.

    python benchmarks/skipping.py [--rounds 9] [--video FILE] [--json FILE] [--quick]

Each file of the shared folder is decoded at 1, 2 and 4 frames a second, both ways in turns in this one process; a
figure is the quotient of the least processor times over the rounds, which neighbours change least. Opening is not
counted.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from av.video.frame import PictureType
from measuring import SHARED, Cost, Ratio, cost_of, in_turns, median_costs, real_clip, report

from egotools.media import skipping
from egotools.media.containers import open_container
from egotools.media.video import Video, VideoIndex

RATES = (1.0, 2.0, 4.0)
SECONDS = 0.1  # processor time of a measurement at least
SUFFIXES = {".mp4", ".mkv", ".avi", ".webm"}
DAMAGED = "corrupted.mp4"


def files(videos: Path) -> Iterator[Path]:
    """The real files: those of a folder, and one of each of its folders, whose files are much alike."""
    yield from sorted(path for path in videos.iterdir() if path.suffix in SUFFIXES and path.name != DAMAGED)
    for folder in sorted(path for path in videos.iterdir() if path.is_dir()):
        yield min(path for path in folder.iterdir() if path.suffix in SUFFIXES)


def has_b_frames(path: Path) -> bool:
    """Whether anything can be passed over."""
    with open_container(path) as container:
        return any(frame.pict_type == PictureType.B for frame in container.decode(video=0))


def decoding(index: VideoIndex, path: Path, rate: float, repeats: int, *, skips: bool) -> Callable[[], Cost]:
    """What decodes a file's frames at a rate, so many times over; gives what decoding alone costs."""
    times = index.frames.times
    indices = np.unique(np.searchsorted(times, np.arange(times[0], index.frames.end, 1 / rate), side="right") - 1)

    def decode() -> Cost:
        cost = Cost(0.0, 0.0)
        with patch.object(skipping, "is_exact", skipping.is_exact if skips else lambda _: False):
            for _ in range(repeats):
                video = Video(path, index=index)
                frames = video.frames(indices)
                cost += cost_of(lambda: sum(1 for _ in frames))  # noqa: B023 - called at once
                video.close()
        return cost

    return decode


def quotient(path: Path, rate: float, rounds: int, seconds: float) -> tuple[float, dict[str, dict[str, float]]]:
    """How many times as long decoding takes without skipping, and what both cost."""
    video = Video(path)
    video.close()
    once = decoding(video.index, path, rate, 1, skips=True)
    repeats = max(1, round(seconds / max(once().cpu, 1e-3)))
    tasks = {name: decoding(video.index, path, rate, repeats, skips=name == "with") for name in ("with", "without")}
    swapped = dict(reversed(tasks.items()))  # neither way is always the first
    costs = [each for number in range(rounds) for each in in_turns(swapped if number % 2 else tasks, 1)]
    least = {name: min(cost[name].cpu for cost in costs) for name in tasks}  # neighbours only add to it
    return least["without"] / least["with"], median_costs(costs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--video", type=Path, help="this file alone")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one round: shows that it runs")
    options = parser.parse_args(arguments)
    rounds, seconds = (1, 0.0) if options.quick else (options.rounds, SECONDS)
    videos = SHARED / "videos"
    paths = [options.video] if options.video else list(files(videos)) if videos.is_dir() else [real_clip()]
    found: dict[str, dict[float, float]] = {}
    figures = {}
    with_b = {path.name for path in paths if has_b_frames(path)}
    for path in paths:
        found[path.name] = {}
        for rate in RATES:
            found[path.name][rate], figures[f"{path.name}, {rate:g} Hz"] = quotient(path, rate, rounds, seconds)
    ratios = [
        Ratio(f"{name}, {rate:g} Hz", value, None, "B frames" if name in with_b else "")
        for name, values in found.items()
        for rate, value in values.items()
    ]
    for rate in RATES if with_b else ():
        mean = statistics.geometric_mean(found[name][rate] for name in with_b)
        target = 1.3 if rate == 1 and not options.quick else None
        ratios.append(Ratio(f"(l) without / with skipping, {rate:g} Hz", mean, target, f"{len(with_b)} files"))
    worst = min(ratios[: len(RATES) * len(paths)], key=lambda ratio: ratio.value)
    ratios.append(Ratio("(l) the worst of all", worst.value, None if options.quick else 0.97, worst.name))
    report("Decoding without / with skipping, CPU seconds", ratios, options.json, figures=figures)


if __name__ == "__main__":
    main()

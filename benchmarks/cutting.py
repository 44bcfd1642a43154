"""Cutting segments out of cached rows of whole videos, against extracting the segments anew.

    python benchmarks/cutting.py [--rounds 3] [--video FILE] [--json FILE] [--quick]

10,000 segments of 2 to 20 s out of 100 clips of an hour, 2 rows of 128 float32 a second: `egotools derive cut` with its
reading, checking, writing and verifying, in this process. Extracting is `color` at 2 Hz, which costs little more than
decoding, of segments of a real video: processor seconds a second of video, the slope between few and many segments,
times the seconds of all segments. Rows are compared with a loop over rows. Memory is that of the command, without pages
of files; it is compared with that of as many segments out of a quarter of the hours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from measuring import Cost, PeakMemory, Ratio, cost_of, median_costs, real_clip, report

from egotools.derive.cut import Cut
from egotools.derive.deriving import Derived, derive
from egotools.extraction.engine import extract
from egotools.extraction.request import CacheRequest, Resources
from egotools.extractors.color import Color
from egotools.extractors.lookup import find_extractor
from egotools.manifests.table import read_manifest, write_manifest
from egotools.media.video import open_frames
from egotools.stores import Recipe, Source, open_store, open_writer
from egotools.types import Clip, Rows

HOUR, RATE, WIDTH = 3600, 2, 128
CHECKED = 200  # segments compared with a loop over rows
SECONDS = 2.0  # of an extracted segment


def fill(folder: Path, hours: int, segments: int) -> None:
    """A cache of clips of an hour, and a manifest of segments of them."""
    generator = np.random.default_rng(0)
    starts = np.arange(HOUR * RATE) / RATE
    times = np.stack([starts, starts + 1 / RATE], axis=1)
    with open_writer(folder / "whole.lmdb", Recipe({"extractor": "made", "version": 1})) as writer:
        for number in range(hours):
            writer.append(f"v{number:03}", Rows(generator.standard_normal((len(times), WIDTH), np.float32), times))
            writer.finish(f"v{number:03}", Source(f"/videos/{number:03}.mp4", size=1, mtime=1.0))
            writer.commit()
        writer.seal()
    first = generator.uniform(0, HOUR - 20, segments).round(2)
    last = (first + generator.uniform(2, 20, segments)).round(2)
    files = [Path(f"/videos/{number:03}.mp4") for number in generator.integers(0, hours, segments)]
    spans = zip(files, first.tolist(), last.tolist(), strict=True)
    write_manifest(folder / "s.csv", [Clip(f"s{at:05}", file, *span) for at, (file, *span) in enumerate(spans)])


def cut(folder: Path, round_: int) -> None:
    """Cuts all segments into a new cache."""
    wanted = Derived(folder / f"cut{round_}.lmdb", "cut", Cut(folder / "s.csv"), {"whole": folder / "whole.lmdb"})
    if derive(wanted).failed:
        raise SystemExit("some segments were not cut")


def compare(folder: Path) -> None:
    """Stops if rows are not those that a loop over the rows of their clip finds."""
    whole, found = open_store(folder / "whole.lmdb"), open_store(folder / "cut0.lmdb")
    for segment in read_manifest(folder / "s.csv")[:CHECKED]:
        rows = whole[f"v{segment.path.stem}"]
        end = segment.end or HOUR
        inside = [at for at, (a, b) in enumerate(rows.times.tolist()) if segment.start <= (a + b) / 2 < end]
        if not np.array_equal(found[segment.id].values, rows.values[inside]):
            raise SystemExit(f"the rows of {segment.id} differ from those of a loop")


def extraction(folder: Path, video: Path, count: int) -> Cost:
    """What extracting `count` segments of a real video costs."""
    with closing(open_frames(video)) as frames:
        length = frames.info.end
    starts = [min(number * SECONDS % length, max(length - SECONDS, 0.0)) for number in range(count)]
    clips = [Clip(f"{number}", video, start, start + SECONDS) for number, start in enumerate(starts)]
    with tempfile.TemporaryDirectory(dir=folder) as out:
        request = CacheRequest(Path(out) / "color.lmdb", Color(fps=float(RATE)), find_extractor("color"))
        cost = cost_of(lambda: extract(clips, [request], resources=Resources(device="cpu")))
    return cost


def peak_of_command(folder: Path) -> int:
    """Bytes that `egotools derive cut` holds at most."""
    line = ["derive", "cut", "--features", "whole.lmdb", "--manifest", "s.csv", "--out", "by-command", "--quiet"]
    with (
        subprocess.Popen([sys.executable, "-m", "egotools", *line], cwd=folder) as process,
        PeakMemory(process.pid) as peak,
    ):
        if process.wait():
            raise SystemExit("the command failed")
    return peak.bytes


def measured(folder: Path, video: Path, sizes: tuple[int, int], counts: tuple[int, int], rounds: int) -> list[Ratio]:
    """All figures, for so many hours and segments; extraction is the slope between two counts of segments."""
    (hours, segments), (few, many) = sizes, counts
    peaks: dict[int, int] = {}
    for share in (4, 1):
        place = folder / str(share)
        place.mkdir()
        fill(place, max(hours // share, 1), segments)
        peaks[share] = peak_of_command(place)
    costs = median_costs([{"cut": cost_of(partial(cut, folder / "1", each))} for each in range(rounds)])
    compare(folder / "1")
    extraction(folder, video, few)  # the first one imports
    turns = [{count: extraction(folder, video, count) for count in counts} for _ in range(rounds)]
    slopes = sorted((turn[many].cpu - turn[few].cpu) / ((many - few) * SECONDS) for turn in turns)
    slope = slopes[len(slopes) // 2]
    wanted = sum((clip.end or 0) - clip.start for clip in read_manifest(folder / "1/s.csv"))
    ours = costs["cut"]
    anew = f"{slope * wanted:.0f} s, {slope * 1000:.1f} ms a second of video"
    note = f"{anew} / {ours['cpu']:.2f} s, {ours['wall']:.1f} s on the clock"
    memory = f"{peaks[4] / 1e6:.0f} / {peaks[1] / 1e6:.0f} MB; rows of {hours * HOUR * RATE * WIDTH * 4 / 1e6:.0f} MB"
    return [
        Ratio(f"(y) {segments} segments, extracting / cutting", slope * wanted / ours["cpu"], 100.0, note),
        Ratio("(y) peak memory, all hours / a quarter", peaks[1] / peaks[4], 1.25, memory, is_limit=True),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="few segments of few hours: shows that it runs")
    options = parser.parse_args(arguments)
    video = options.video or real_clip("videos/bikes.mp4")
    sizes, counts = ((4, 200), (2, 22)) if options.quick else ((100, 10_000), (50, 450))
    with tempfile.TemporaryDirectory() as folder:
        ratios = measured(Path(folder), video, sizes, counts, 1 if options.quick else options.rounds)
    report("Cutting segments out of a cache", ratios, options.json)


if __name__ == "__main__":
    main()

"""Ray workers against the local engine, and how fast one process can write what workers send it.

    python benchmarks/cluster.py [--rounds 3] [--video FILE] [--only compute|decode|driver] [--json FILE] [--quick]

Needs Ray (egotools[ray]). All runs share one Ray on this machine; a run's workers start anew, as a command's would, and
what that costs cancels out: a run's cost is the slope between few and many files, with each worker busy in both. More
workers than cores cannot be faster; what they cost in processor seconds is then the price of sharing.

The driver's rate: rows [2048] float32 that are ready go through the collector and the writing into an LMDB on the local
disk, handed over in this process, or sent by Ray workers that compute nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measuring import TICK, Cost, Ratio, descendants, in_turns, median_costs, median_ratio, real_clip, report

WORKERS = (1, 2, 4)
WIDTH = 2048
ROWS = 256  # of a piece
# name -> (extractor, its options, files of the short and of the long run)
CASES: dict[str, tuple[str, dict[str, Any], int, int]] = {
    "compute": ("resnet18", {"weights": "random:0", "fps": 2.0}, 8, 40),
    "decode": ("color", {"fps": 0.5}, 8, 72),
}
QUICK: dict[str, tuple[str, dict[str, Any], int, int]] = {"decode": ("color", {"fps": 2.0}, 2, 4)}


def cost_of(work: Callable[[], object]) -> Cost:
    """What one call costs. Workers are killed when they are done, so that nobody can ask for their time: it is looked
    at ten times a second while they live.
    """
    seen: dict[tuple[int, str], int] = {}
    before: dict[tuple[int, str], int] = {}
    is_over = threading.Event()

    def look() -> None:
        for pid in [os.getpid(), *descendants(os.getpid())]:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            seen[pid, fields[19]] = sum(map(int, fields[11:13]))

    def watch() -> None:
        while not is_over.wait(0.1):
            look()

    look()
    before.update(seen)
    began = time.perf_counter()
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    work()
    wall = time.perf_counter() - began
    is_over.set()
    thread.join()
    look()
    return Cost(sum(ticks - before.get(process, 0) for process, ticks in seen.items()) / TICK, wall)


def files(video: Path, folder: Path, count: int) -> list[Any]:
    """Clips of the whole video under different names: for egotools they are different files."""
    from egotools.types import Clip

    folder.mkdir()
    for number in range(count):
        (folder / f"{number}{video.suffix}").symlink_to(video)
    return [Clip(str(number), folder / f"{number}{video.suffix}") for number in range(count)]


class Runs:
    """Extractions into ever new caches, here or on Ray."""

    def __init__(self, folder: Path, name: str, options: dict[str, Any]) -> None:
        from egotools.extractors.lookup import find_extractor

        self.folder, self.found = folder, find_extractor(name)
        self.built = self.found.kind(**self.found.fixed, **options)
        self._numbers = itertools.count()

    def run(self, clips: Sequence[Any], engine: Any) -> None:
        """One extraction."""
        from egotools.extraction.engine import extract
        from egotools.extraction.request import CacheRequest

        out = self.folder / str(next(self._numbers))
        extract(clips, [CacheRequest(out / "a.lmdb", self.built, self.found)], engine=engine)
        shutil.rmtree(out)

    def slope(self, short: Sequence[Any], long: Sequence[Any], engine: Any) -> Cost:
        """Cost of what the long run does beyond the short one."""
        few = cost_of(lambda: self.run(short, engine))
        return cost_of(lambda: self.run(long, engine)) - few


def against_local(case: str, video: Path, folder: Path, rounds: int, quick: bool) -> list[dict[str, Cost]]:
    """Costs of the local engine and of 1, 2 and 4 Ray workers, round by round."""
    from egotools.extraction.cluster.driver import Cluster
    from egotools.extraction.pipeline import Pipeline

    name, options, few, many = (QUICK if quick else CASES)[case]
    runs = Runs(folder, name, options)
    clips = files(video, folder / case, many)
    engines = {"local": Pipeline, **{f"{count} workers": Cluster(num_workers=count) for count in WORKERS}}
    if quick:
        engines.pop("4 workers")
    return in_turns(
        {name: lambda engine=engine: runs.slope(clips[:few], clips, engine) for name, engine in engines.items()},
        rounds,
    )


class Ready:
    """Rows that are there already: pieces of clips of 2000 rows."""

    def __init__(self) -> None:
        self._values = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)

    def pieces(self, numbers: Sequence[int], total: int) -> Iterator[Any]:
        """All pieces of the clips of those numbers."""
        from egotools.extraction.messages import Piece

        for number in numbers:
            for first in range(0, total, ROWS):
                rows = np.arange(first, min(first + ROWS, total))
                times = np.stack([rows, rows + 1], axis=1).astype(np.float64)
                yield Piece(number, 0, 0, total, rows, times, self._values[: len(rows)], is_computed=True)

    def batches(self, numbers: Sequence[int], total: int) -> Iterator[Any]:
        """The same in batches, as a worker of a cluster gives them."""
        from egotools.extraction.cluster.worker import BATCH_BYTES, ShardMessages

        size = max(1, BATCH_BYTES // (ROWS * WIDTH * 4))
        pieces = self.pieces(numbers, total)
        while messages := list(itertools.islice(pieces, size)):
            yield ShardMessages(0, messages, False)


class Sender(Ready):
    """The same as an actor that is asked for more."""

    def begin(self, numbers: Sequence[int], total: int) -> None:
        """Takes clips."""
        self._batches = self.batches(numbers, total)

    def more(self) -> Any:
        """The next batch; None at the end."""
        return next(self._batches, None)


def through_ray(shares: Sequence[Sequence[int]], total: int) -> Iterator[Any]:
    """The pieces of several senders, two calls under way for each, as the engine has them."""
    import ray

    actors = [ray.remote(Sender).options(num_cpus=0).remote() for _ in shares]
    ray.get([actor.begin.remote(share, total) for actor, share in zip(actors, shares, strict=True)])
    calls = {actor.more.remote(): actor for actor in actors * 2}
    while calls:
        (ready,), _ = ray.wait(list(calls), num_returns=1)
        actor, batch = calls.pop(ready), ray.get(ready)
        if batch is not None:
            calls[actor.more.remote()] = actor
            yield from batch.messages
    for actor in actors:
        ray.kill(actor)


def written(pieces: Iterator[Any], clips: Sequence[Any], folder: Path) -> None:
    """Collects and writes pieces as the engine does."""
    from egotools.extraction.collecting import Collector
    from egotools.extraction.messages import ReadingTask
    from egotools.extraction.recipes import recipe_of
    from egotools.extraction.request import CacheRequest, Extraction
    from egotools.extraction.writing import Writing
    from egotools.extractors.lookup import find_extractor
    from egotools.machine import keep_freed_memory

    found = find_extractor("color")
    wanted = CacheRequest(folder / "a.lmdb", found.kind(), found)
    result = Extraction(failed={wanted.cache: []}, done={wanted.cache: 0})
    keep_freed_memory()  # as extract does
    with Writing({wanted.cache: recipe_of(wanted)}) as writing:
        collector = Collector(clips, [wanted], writing, result, lambda *_: None)
        collector.expect([ReadingTask(number, clip, (0,)) for number, clip in enumerate(clips)])
        for piece in pieces:
            collector.take(piece)
        writing.seal()
    assert result.done[wanted.cache] == len(clips), "rows are missing"
    shutil.rmtree(folder)


def driver_costs(video: Path, folder: Path, rounds: int, quick: bool) -> tuple[list[dict[str, Cost]], int]:
    """Costs of writing ready rows, from this process and from 1 and 2 senders; and how many rows."""
    total, count = (512, 4) if quick else (2000, 60)
    clips = files(video, folder / "driver", count)

    def measure(senders: int) -> Cost:
        everything = range(count)
        shares = [everything[number::senders] for number in range(senders)]
        pieces = through_ray(shares, total) if senders else Ready().pieces(everything, total)
        return cost_of(lambda: written(pieces, clips, folder / "written"))

    tasks = {"in this process": 0, "from 1 sender": 1, "from 2 senders": 2}
    return in_turns({name: lambda many=many: measure(many) for name, many in tasks.items()}, rounds), total * count


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--video", type=Path, help="a real clip of some ten seconds")
    parser.add_argument("--only", choices=[*CASES, "driver"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="few files, one round: shows that it runs")
    options = parser.parse_args(arguments)
    import ray

    from egotools.extraction.cluster.connection import connect

    videos = {
        "decode": (options.video or real_clip("videos/one_by_one_person.mp4")).resolve(),
        "compute": (options.video or real_clip("videos/v_ZNVhz7ctTq0.mp4")).resolve(),
    }
    os.environ.setdefault("RAY_worker_niceness", "0")  # else whatever runs beside them goes before Ray's workers only
    rounds = 1 if options.quick else options.rounds
    ratios: list[Ratio] = []
    figures: dict[str, Any] = {}
    is_ours = connect(None, max(WORKERS))
    try:
        with tempfile.TemporaryDirectory() as name:
            for case in QUICK if options.quick else CASES:
                if options.only in (None, case):
                    measured = against_local(case, videos[case], Path(name), rounds, options.quick)
                    ratios += _ratios(case, measured)
                    figures[case] = median_costs(measured)
            if options.only in (None, "driver"):
                measured, rows = driver_costs(videos["compute"], Path(name), rounds, options.quick)
                figures["driver"] = median_costs(measured)
                ratios += _rates(figures["driver"], rows)
    finally:
        if is_ours:
            ray.shutdown()
    names = ", ".join(path.name for path in videos.values())
    report(f"Ray workers on {names}", ratios, options.json, figures=figures)


def _ratios(case: str, rounds: list[dict[str, Cost]]) -> list[Ratio]:
    costs = median_costs(rounds)
    found = []
    for kind in ("cpu", "wall"):
        for name in costs:
            if name != "local":
                note = f"{costs['local'][kind]:.1f} s / {costs[name][kind]:.1f} s"
                value = median_ratio(rounds, "local", name, kind)
                found.append(Ratio(f"(h) {case}, local / {name}, {kind}", value, None, note))
    return found


def _rates(costs: dict[str, dict[str, float]], rows: int) -> list[Ratio]:
    megabytes = rows * WIDTH * 4 / 1e6
    return [
        Ratio(
            f"(h) rows written, {name}: thousand a second",
            rows / cost["wall"] / 1e3,
            None,
            f"{megabytes / cost['wall']:.0f} MB/s by the clock; {1e6 * cost['cpu'] / rows:.0f} CPU us a row",
        )
        for name, cost in costs.items()
    ]


if __name__ == "__main__":
    main()

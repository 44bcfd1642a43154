"""Whether another batch size, or another division of the cores, would make `egotools extract` faster on a CPU.

    python benchmarks/batches.py [--rounds 3] [--video FILE] [--json FILE] [--only NAME] [--quick]

Batches: processor seconds a window of the forward pass of 1, 4, 8, 16 and 32 windows, one thread, in float32 and bf16,
from bytes to rows as `extract` runs it; the default is 16 windows, or fewer where these are more than 128 frames. The
best of five is chosen after the fact, so that noise makes it look better than it is.

Cores: wall seconds of whole extractions with one or all threads of PyTorch, and one or as many reading processes as by
default: one case that decodes much (1920x1080 at 8 Hz, EfficientNet-Lite0) and one that computes much (the video as it
is at 4 Hz, ResNet-50). Meant for a machine that does nothing else.

Below 1.1 there is nothing to gain by a rule. Weights are random: they change no time, as batch norms are fitted first.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from extraction import clips_of, copies, large
from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, real_clip, report
from precision import OPTIONS, fit_statistics, real_windows

SIZES = (1, 4, 8, 16, 32)
NETWORKS = ("resnet50", "r2plus1d_18", "efficientnet-lite0", "csn", "hrnet")
GAIN = 1.1  # from which on another rule is worth its code
AT_LEAST = 4  # windows of a measurement
FILES = 4  # of an extraction, so that each reading process has some
HD = (1920, 1080)


def batch_tasks(name: str, video: Path, sizes: Sequence[int], options: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The work of each precision and size, as "bf16, 8" with its cost a window; and the default size."""
    import torch

    from egotools.extraction.batching import full_size
    from egotools.extraction.forward import runnable
    from egotools.extraction.pipeline import MOST_FRAMES_ON_CPU
    from egotools.extraction.request import Resources
    from egotools.extractors.lookup import find_extractor
    from egotools.machine import has_fast_bf16

    extractor = find_extractor(name).built(weights="random:0", **options)
    windows = real_windows(extractor, video, max(sizes))
    network = extractor.network()
    fit_statistics(network, windows[:8])
    cpu = torch.device("cpu")
    runs = {"float32": runnable(copy.deepcopy(network), cpu, "float32")}
    if has_fast_bf16(cpu):
        runs["bf16"] = runnable(network, cpu, "bf16")

    def cost(run: Callable[[Any], Any], size: int) -> Cost:
        batch, times = windows[:size], -(-AT_LEAST // size)
        return cost_of(lambda: [run(batch) for _ in range(times)]) / (size * times)

    _, default, _ = Resources("cpu").chosen()
    tasks = {f"{precision}, {size}": partial(cost, run, size) for precision, run in runs.items() for size in sizes}
    return tasks, full_size(default, windows.shape[1], MOST_FRAMES_ON_CPU)


def batch_ratios(name: str, rounds: list[dict[str, Cost]], sizes: Sequence[int], default: int) -> list[Ratio]:
    """How many times as fast the best size is, by precision, with the milliseconds a window of each."""
    costs, found = median_costs(rounds), []
    for precision in dict.fromkeys(task.partition(",")[0] for task in rounds[0]):
        best = min(sizes, key=lambda size: costs[f"{precision}, {size}"]["cpu"])
        value = median_ratio(rounds, f"{precision}, {default}", f"{precision}, {best}")
        each = ", ".join(f"{size}: {costs[f'{precision}, {size}']['cpu'] * 1000:.1f}" for size in sizes)
        line = f"(ba) {name} {precision}, batches of {default} / {best}"
        found.append(Ratio(line, value, GAIN, f"milliseconds a window: {each}", is_limit=True))
    return found


class Extractions:
    """Extractions of the same clips into ever new caches, with given numbers of threads and reading processes."""

    def __init__(self, folder: Path, name: str, clips: Sequence[Any], options: dict[str, Any]) -> None:
        from egotools.extractors.lookup import find_extractor

        self.folder, self.clips = folder, clips
        self.found = find_extractor(name)
        self.extractor = self.found.built(weights="random:0", **options)
        self._numbers = itertools.count()

    def cost(self, threads: int, workers: int) -> Cost:
        """What one costs."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return cost_of(lambda: self._run(workers))
        finally:
            torch.set_num_threads(before)

    def _run(self, workers: int) -> None:
        from egotools.extraction.engine import extract
        from egotools.extraction.request import CacheRequest, Resources

        cache = self.folder / f"{next(self._numbers)}.lmdb"
        result = extract(
            self.clips, [CacheRequest(cache, self.extractor, self.found)], resources=Resources("cpu", workers=workers)
        )
        assert not any(result.failed.values()), result.failed
        cache.unlink()


def core_ratios(name: str, work: Extractions, rounds: int) -> tuple[list[Ratio], dict[str, Any]]:
    """How many times as fast other divisions of the cores are than today's, by wall time; and all costs."""
    from egotools.extraction.request import Resources
    from egotools.machine import usable_cores

    cores, (_, _, reading) = usable_cores(), Resources("cpu").chosen()
    ways = {  # the default first
        f"{threads} threads, {workers} reading": partial(work.cost, threads, workers)
        for threads in dict.fromkeys((cores, 1))
        for workers in dict.fromkeys((reading, 1))
    }
    default, *others = ways
    work.cost(cores, reading)  # reading processes are prepared in the first run
    measured = in_turns(ways, rounds)
    costs = median_costs(measured)
    found = []
    for way in others:
        note = f"{costs[default]['wall']:.1f} / {costs[way]['wall']:.1f} s"
        line = f"(ba) {name}, {default} / {way}"
        found.append(Ratio(line, median_ratio(measured, default, way, "wall"), GAIN, note, is_limit=True))
    return found, costs


def core_cases(video: Path, folder: Path, *, quick: bool) -> dict[str, Extractions]:
    """An extraction that decodes much, and one that computes much."""
    seconds = 1.0 if quick else 5.0
    hd = video if quick else large(video, folder, HD, seconds)
    small: dict[str, Any] = {"resize": "64x64"} if quick else {}
    many, few = (folder / name for name in ("decoding", "computing"))
    for each in (many, few):
        each.mkdir()
    decoding = clips_of(copies(hd, many, FILES), seconds - 0.2, FILES)
    computing = clips_of(copies(video, few, FILES), seconds, FILES)
    return {
        "decoding": Extractions(folder, "efficientnet-lite0", decoding, {"fps": 8.0, **small}),
        "computing": Extractions(folder, "resnet18" if quick else "resnet50", computing, {"fps": 4.0, **small}),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", help="batches of one network, by the name of its extractor; no whole extractions")
    parser.add_argument("--quick", action="store_true", help="a small network and short clips, in two rounds")
    options = parser.parse_args(arguments)
    import torch

    from egotools.machine import keep_freed_memory

    keep_freed_memory()
    video = options.video or real_clip("videos/v_ZNVhz7ctTq0.mp4")
    rounds = options.rounds or (2 if options.quick else 3)
    names = [options.only] if options.only else ["resnet18"] if options.quick else NETWORKS
    ratios, figures, threads = [], {}, torch.get_num_threads()
    torch.set_num_threads(1)
    for name in names:
        how = {"fps": 8.0, "resize": "64x64"} if options.quick else OPTIONS.get(name, {"fps": 8.0})
        tasks, default = batch_tasks(name, video, SIZES, how)
        in_turns(tasks, 1)  # kernels are chosen in the first round
        measured = in_turns(tasks, rounds)
        ratios += batch_ratios(name, measured, SIZES, default)
        figures[name] = median_costs(measured)
    torch.set_num_threads(threads)
    folder = Path(tempfile.mkdtemp())
    try:
        cases = {} if options.only else core_cases(video, folder, quick=options.quick)
        for name, work in cases.items():
            found, figures[name] = core_ratios(name, work, rounds)
            ratios += found
    finally:
        shutil.rmtree(folder)
    report(f"Batches and cores on {video.name}", ratios, options.json, figures=figures)


if __name__ == "__main__":
    main()

"""How fast rows come out of a cache, as ratios to `np.memmap` in one run (issue's section 9e).

    python benchmarks/stores.py [--rows 30000] [--repeats 7] [--json FILE]

Clips of 500 rows x 2048 float32, warm page cache, one thread. Every layout reads the same clips as copies, in turn;
figures are medians of CPU seconds. "table" reads all rows into one array (`read_rows`), against `np.array(memmap)`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from egotools.stores import Recipe, Source, Store, open_store, open_writer
from egotools.stores.store import read_rows
from egotools.types import Rows

WIDTH = 2048
CLIP = 500
TARGETS = {"lmdb": 0.9, "h5": 0.65}


def fill(folder: Path, rows: int) -> np.memmap:
    """The same rows as `rows.f4` (raw), `cache.lmdb` and `cache.h5`."""
    rng = np.random.default_rng(0)
    raw = np.memmap(folder / "rows.f4", np.float32, "w+", shape=(rows, WIDTH))
    for suffix in TARGETS:
        with open_writer(folder / f"cache.{suffix}", Recipe({"extractor": "benchmark"})) as writer:
            for first in range(0, rows, CLIP):
                if suffix == "lmdb":
                    raw[first : first + CLIP] = rng.standard_normal((CLIP, WIDTH), np.float32)
                writer.append(f"{first:08d}", Rows(np.array(raw[first : first + CLIP]), np.zeros((CLIP, 2))))
                writer.finish(f"{first:08d}", Source(""))
            writer.seal()
    raw.flush()
    return np.memmap(folder / "rows.f4", np.float32, "r", shape=(rows, WIDTH))


def clips_of(store: Store, ids: list[str]) -> None:
    """Every clip as a copy, kept until the next one is read."""
    for name in ids:
        store[name]


def clips_of_raw(raw: np.memmap, ids: list[str]) -> None:
    """The same from the raw file."""
    for name in ids:
        np.array(raw[int(name) : int(name) + CLIP])


def medians(tasks: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """CPU seconds of each task; the tasks take turns, so that a neighbour's load falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for repeat in range(repeats + 1):
        for name, task in tasks.items():
            begun = time.process_time()
            task()
            if repeat:  # the first round warms the page cache and the maps
                seconds[name].append(time.process_time() - begun)
    return {name: statistics.median(values) for name, values in seconds.items()}


def measure(folder: Path, rows: int, repeats: int) -> dict[str, dict[str, float]]:
    """Ratios to `np.memmap` by way of reading and layout, and the CPU seconds of a whole table."""
    raw = fill(folder, rows)
    stores = {suffix: open_store(folder / f"cache.{suffix}") for suffix in TARGETS}
    ids = list(stores["lmdb"])
    mixed = [str(name) for name in np.random.default_rng(1).permutation(ids)]
    results: dict[str, dict[str, float]] = {}
    for way, order in (("sequential clips", ids), ("random clips", mixed)):
        tasks: dict[str, Callable[[], object]] = {"memmap": partial(clips_of_raw, raw, order)}
        for suffix, store in stores.items():
            tasks[suffix] = partial(clips_of, store, order)
        results[way] = _ratios(medians(tasks, repeats))
    tasks = {"memmap": partial(np.array, raw)}
    for suffix, store in stores.items():
        tasks[suffix] = partial(read_rows, store, ids)
    seconds = medians(tasks, repeats)
    results["whole table"] = _ratios(seconds)
    results["whole table, CPU seconds"] = seconds
    results["bytes per byte of rows"] = {
        suffix: (folder / f"cache.{suffix}").stat().st_size / raw.nbytes for suffix in TARGETS
    }
    return results


def _ratios(seconds: dict[str, float]) -> dict[str, float]:
    return {name: seconds["memmap"] / value for name, value in seconds.items()}


def main() -> None:
    """Measures, prints a table, and says which target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(Path(folder), options.rows, options.repeats)
    print(f"{options.rows} rows x {WIDTH} float32, {CLIP} rows a clip; rows per CPU second, np.memmap = 1")
    print(f"{'':26}{'memmap':>8}{'lmdb':>8}{'h5':>8}")
    for way, values in results.items():
        print(
            f"{way:26}"
            + "".join(f"{values[name]:8.2f}" if name in values else " " * 8 for name in ("memmap", *TARGETS))
        )
    for suffix, target in TARGETS.items():
        for way in ("sequential clips", "random clips"):
            if results[way][suffix] < target:
                print(f"missed: {suffix}, {way}: {results[way][suffix]:.2f}, wanted {target}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""An epoch of items as pooled chunks: from egotools' tables, and frame by frame as published loaders read them.

    python benchmarks/item_loading.py [--rounds 5] [--folder FOLDER] [--json FILE] [--quick]

The published path, written out here as specified: one LMDB look-up and one array a frame, a list that becomes an
array, and a loop over chunks; its items have 1200 slots, most of them zeros. Ours is what training does: items of one
batch, as long as the longest, and for comparison with 1200 slots, too. After the first epoch they are read from what
that has pooled. All have the same bits. Files that are read are in the page cache, and both sides run with egotools'
settings of memory. A temporary folder holds what is generated: 0.6 GB.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import lmdb
import numpy as np
import torch
from measuring import Cost, Ratio, cost_of, in_turns, median_costs, median_ratio, report
from torch import Tensor

from egotools.machine import keep_freed_memory
from egotools.stores import Recipe, Source, open_writer
from egotools.tables.chunks import PooledItems, Values, padded
from egotools.tables.sequences import UNLABELED, FeatureSequence
from egotools.types import Rows

FPS, CHUNK, SLOTS, CLASSES = 30.0, 20, 1200, 202
CAMERA = "C10118_rgb"
REPEATS = 20


def generate(folder: Path, items: int, frames: int, width: int) -> list[FeatureSequence]:
    """The same features of so many recordings as `lmdb`, a key a frame, and as our cache `cache.lmdb`; the items."""
    random, found = np.random.default_rng(0), list[FeatureSequence]()
    starts = np.arange(frames) / FPS
    times = np.stack([starts, starts + 1 / FPS], axis=1)
    published = lmdb.open(str(folder / "lmdb"), map_size=1 << 34)
    with open_writer(folder / "cache.lmdb", Recipe({"imported": {"content": "item_loading"}})) as writer:
        for number in range(items):
            values = np.maximum(random.standard_normal((frames, width), np.float32), 0)
            id = f"recording-{number}/{CAMERA}"
            with published.begin(write=True) as transaction:
                for frame, row in enumerate(values, 1):
                    transaction.put(f"{id}/{CAMERA}_{frame:010d}.jpg".encode(), row.tobytes())
            writer.append(id, Rows(values, times))
            writer.finish(id, Source(""))
            labels = np.repeat(random.integers(0, CLASSES, frames), random.integers(50, 400, frames))[:frames]
            found.append(FeatureSequence(id, id, id, CAMERA, "", 0, times, labels))
        writer.commit()
    published.close()
    return found


def published_item(environment: lmdb.Environment, item: FeatureSequence, width: int) -> tuple[Tensor, Tensor]:
    """An item [1200, D] and its labels [1200] as the published data set makes them."""
    rows = []
    with environment.begin(write=False) as transaction:
        for frame in range(1, len(item) + 1):
            value = transaction.get(f"{item.id}/{CAMERA}_{frame:010d}.jpg".encode())
            rows.append(np.frombuffer(value, dtype=np.float32))
    features = np.array(rows).T  # [D, frames]
    values, labels = torch.zeros(SLOTS, width), torch.full((SLOTS,), UNLABELED)
    present = torch.zeros(CLASSES)
    for slot, at in enumerate(range(0, len(item), CHUNK)):
        end = min(at + CHUNK, len(item))
        values[slot, :] = torch.tensor(np.max(features[:, at:end], axis=-1))
        names, counts = np.unique(item.labels[at:end], return_counts=True)
        labels[slot] = int(names[np.argmax(counts)])
        present[labels[slot]] = 1
    return values, labels


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="small items, one round: shows that it runs")
    options = parser.parse_args(arguments)
    items, frames, width = (2, 400, 32) if options.quick else (3, 8000, 2048)
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command line does
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        ratios, figures = measured(Path(name), items, frames, width, 1 if options.quick else options.rounds)
    targets = {} if options.quick else {"cached": 20.0}
    report(
        f"An epoch of {items} items of {frames} frames x {width}: published / ours, CPU seconds",
        [Ratio(f"(n) {name} epoch", value, targets.get(name), "same bits") for name, value in ratios.items()],
        options.json,
        figures=figures,
    )


def measured(
    folder: Path, items: int, frames: int, width: int, rounds: int
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Ratios by kind of epoch, and what each costs."""
    sequences = generate(folder, items, frames, width)
    environment = lmdb.open(str(folder / "lmdb"), readonly=True, lock=False)
    numbers = range(items)

    def published() -> None:
        for sequence in sequences:
            published_item(environment, sequence, width)

    def epoch(table: PooledItems, slots: int | None = None) -> Values:
        parts = [table(number, CHUNK) for number in numbers]
        return padded(parts, slots or max(map(len, parts)))[0]

    def first() -> Cost:
        with PooledItems(sequences, [folder / "cache.lmdb"], folder / "first") as table:
            return cost_of(lambda: epoch(table))

    with PooledItems(sequences, [folder / "cache.lmdb"], folder / "pooled") as table:
        ours = epoch(table, SLOTS)
        for number, sequence in enumerate(sequences):
            if not np.array_equal(ours[number], published_item(environment, sequence, width)[0].numpy()):
                raise SystemExit(f"item {number} differs")

        def again(slots: int | None = None) -> Cost:  # an epoch takes milliseconds
            return cost_of(lambda: [epoch(table, slots) for _ in range(REPEATS)]) / REPEATS

        tasks: dict[str, Callable[[], Cost]] = {"published": lambda: cost_of(published), "cached": again}
        costs = in_turns({**tasks, "cached, 1200 slots": lambda: again(SLOTS), "first": first}, rounds)
    environment.close()
    ratios = {name: median_ratio(costs, "published", name) for name in costs[0] if name != "published"}
    return ratios, median_costs(costs)


if __name__ == "__main__":
    main()

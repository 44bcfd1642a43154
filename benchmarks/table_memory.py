"""Peak memory of reading a table, and of a probe and of neighbors on it, as multiples of the table's own size.

    python benchmarks/table_memory.py [--json FILE] [--quick]

200,000 clips of one row of 512 float32 features (410 MB) in 10 classes; each task runs in a process of its own. Memory
is the largest resident size (mapped files count as far as they are in memory), less what the process had before the
task. The limits: for reading 1.5 tables beside the table itself, for `train probe` 3 tables in all.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from measuring import Ratio, report

ROWS, WIDTH, CLASSES = 200_000, 512, 10
LIMITS = {"read_table": 2.5, "train probe": 3.0, "eval knn": None}  # tables in all; of neighbors nothing is promised


def make(folder: Path, rows: int) -> None:
    """A cache and a manifest: one row a clip."""
    from egotools.stores import Recipe, Source, open_writer
    from egotools.types import Rows

    generator = np.random.default_rng(0)
    centers = generator.normal(size=(CLASSES, WIDTH)).astype(np.float32)
    times = np.array([[0.0, 1.0]])
    with open_writer(folder / "f.lmdb", Recipe({"extractor": "made", "version": 1})) as writer:
        for row in range(rows):
            values = centers[row % CLASSES] + 3 * generator.standard_normal((1, WIDTH), np.float32)
            writer.append(f"c{row:07}", Rows(values, times))
            writer.finish(f"c{row:07}", Source(""))
            if row % 10_000 == 0:
                writer.commit()
        writer.seal()
    lines = (f"c{row:07},,{'test' if row % 100 == 0 else 'train'},k{row % CLASSES}" for row in range(rows))
    (folder / "m.csv").write_text("\n".join(["id,path,split,label", *lines]) + "\n")


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def work(task: str, folder: Path) -> Callable[[], object]:
    """A task, its libraries loaded."""
    from egotools.tables.table import read_table

    manifest, caches = folder / "m.csv", [folder / "f.lmdb"]
    if task == "read_table":
        return lambda: read_table(manifest, caches)
    if task == "eval knn":
        import faiss  # noqa: F401 - counts as what was there before

        from egotools.evaluate.knn import KNN, knn

        return lambda: knn(read_table(manifest, caches), "label", KNN(k=(20,)))
    import torch  # noqa: F401 - counts as what was there before

    from egotools.evaluate.splits import Partition
    from egotools.methods.probe.probe import Probe
    from egotools.methods.probe.run import train_probe

    config = Probe(c=(0.01,), seeds=1)
    return lambda: train_probe(folder / "run", manifest, caches, config, Partition(), label="label", device="cpu")


def measure(task: str, folder: Path) -> int:
    """Bytes, at most, that a task adds to a process of its own."""
    line = [sys.executable, __file__, "--task", task, "--folder", str(folder)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.split()[-1])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="a small table: shows that it runs")
    parser.add_argument("--task", choices=list(LIMITS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="where the data lie, and stay; made if they are not there")
    options = parser.parse_args(arguments)
    if options.task:
        task = work(options.task, options.folder)
        before = resident()
        kept = task()  # noqa: F841 - the result is in memory, too
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)
        return
    rows = 3000 if options.quick else ROWS
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        if not (folder / "m.csv").exists():
            folder.mkdir(parents=True, exist_ok=True)
            make(folder, rows)
        tasks = [task for task in LIMITS if task != "eval knn" or not options.quick]
        peaks = {task: measure(task, folder) for task in tasks}
    table = rows * WIDTH * 4
    ratios = [
        Ratio(
            f"peak memory of {task} / table",
            peak / table,
            None if options.quick else LIMITS[task],
            f"{peak / 1e6:.0f} MB, the table has {table / 1e6:.0f} MB",
            is_limit=True,
        )
        for task, peak in peaks.items()
    ]
    report("Memory of tables", ratios, options.json, bytes=peaks)


if __name__ == "__main__":
    main()

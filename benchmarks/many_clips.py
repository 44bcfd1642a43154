"""What a clip of one row costs: in a table, in an import; and neighbors among very many of them.

    python benchmarks/many_clips.py [--rounds 5] [--json FILE] [--quick]

200,000 clips of one row of 512 float32 features, processor seconds with one thread. The manifest has no files, or
1,000 clips in each of 200 files; filling an array of the size of the table shows what the machine itself takes.
Neighbors: 20 of each of 40,000 rows among all others, whose similarities would be 6.4 GB together; scikit-learn's
brute force on 2,000 of them, scaled up.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from measuring import PeakMemory, Ratio, cost_of, report
from table_memory import make

CLIPS, PER_FILE, WIDTH = 200_000, 1000, 512
ROWS, K, ASKED = 40_000, 20, 2_000
LIMITS = {"table": 15.0, "import": 60.0}  # microseconds a clip


def measure(folder: Path, clips: int, rounds: int) -> list[Ratio]:
    """Microseconds a clip of reading tables and of importing."""
    from egotools.stores.importing import Keys, import_arrays
    from egotools.tables.table import read_table

    make(folder, clips)
    lines = [f"c{row:07},v{row // PER_FILE}.mp4,{row % PER_FILE},{row % PER_FILE + 1},k" for row in range(clips)]
    (folder / "files.csv").write_text("\n".join(["id,path,start,end,label", *lines]) + "\n")
    values = read_table(folder / "m.csv", folder / "f.lmdb").values
    np.savez(folder / "a.npz", id=np.array([f"c{row:07}" for row in range(clips)]), x=values)
    del values

    def imported() -> None:
        (folder / "i.lmdb").unlink(missing_ok=True)
        import_arrays(folder / "a.npz", folder / "i.lmdb", Keys(id="id", values="x"))

    tasks: dict[str, tuple[Callable[[], object], float | None]] = {
        "an array of the table's size": (lambda: np.ones((clips, WIDTH), np.float32), None),
        "read_table, no files": (lambda: read_table(folder / "m.csv", folder / "f.lmdb"), LIMITS["table"]),
        "read_table, of files": (lambda: read_table(folder / "files.csv", folder / "f.lmdb"), LIMITS["table"]),
        "import of a .npz": (imported, LIMITS["import"]),
    }
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, (task, _) in tasks.items():
            found[name].append(1e6 * cost_of(task).cpu / clips)
    return [
        Ratio(f"(ab) {name}", min(each), tasks[name][1], "microseconds a clip, the lowest of all rounds", is_limit=True)
        for name, each in found.items()
    ]


def neighbors(rows: int, asked: int) -> list[Ratio]:
    """Neighbors of every row among all others, against scikit-learn, and the memory that they take."""
    from sklearn.neighbors import NearestNeighbors

    from egotools.evaluate.knn import nearest

    values = np.random.default_rng(0).standard_normal((rows, WIDTH), np.float32)
    groups = np.arange(rows)
    nearest(values[:asked], values, K)  # loads FAISS
    with PeakMemory() as before:
        cost_of(lambda: nearest(values[:8], values, K))
    with PeakMemory() as memory:
        ours = cost_of(lambda: nearest(values, values, K, own=(groups, groups)))
    brute = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(values)
    peer = cost_of(lambda: brute.kneighbors(values[:asked]))
    extra = (memory.bytes - before.bytes) / values.nbytes
    note = f"{peer.cpu * rows / asked:.0f} / {ours.cpu:.0f} processor seconds; {extra:.1f} times the rows' memory more"
    return [
        Ratio(f"(ab) neighbors of {rows:,} rows, scikit-learn / ours", peer.cpu * rows / asked / ours.cpu, 1.0, note)
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="2,000 clips, one round: shows that it runs")
    options = parser.parse_args(arguments)
    clips, rows = (2_000, 4_000) if options.quick else (CLIPS, ROWS)
    with tempfile.TemporaryDirectory() as name:
        ratios = measure(Path(name), clips, 1 if options.quick else options.rounds)
    ratios += neighbors(rows, min(ASKED, rows))
    report(f"{clips:,} clips of one row", ratios, options.json)


if __name__ == "__main__":
    main()

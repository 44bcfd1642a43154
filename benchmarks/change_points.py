"""(r) Change points of 5,000 x 2,048 features against the reference's search as it is specified, O(k n^3).

Both start from the features of a memory. The specified search multiplies them out to the matrix of cosines and, for
each candidate of each pick, sums the blocks of all segments; it is run whole for 1,000 and 2,000 rows, where the change
points have to be equal, and for 5,000 its time is extrapolated from candidates spread over each pick. One thread.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measuring import Cost, Ratio, cost_of, in_turns, report
from threadpoolctl import threadpool_limits

from egotools.linear.change_points import change_points

Rows = npt.NDArray[np.float32]

WIDTH, SEGMENTS = 2048, 10
WHOLE, MEMORY, LONG = (1000, 2000), 5000, 20000  # rows
SAMPLED = 6  # candidates of each pick


def made(count: int, width: int) -> Rows:
    """Features [count, width] around twelve centers, one after the other."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((count, width), dtype=np.float32)
    centers = generator.standard_normal((12, width), dtype=np.float32)
    rows += centers[12 * np.arange(count) // count]
    return rows


def cosines(rows: Rows) -> Rows:
    """As the reference has them."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit @ unit.T)


def score(matrix: Rows, points: Sequence[int]) -> float:
    """Of change points: the blocks' sums by their lengths."""
    return sum(float(matrix[a:b, a:b].sum()) / (b - a) for a, b in pairwise([0, *sorted(points), len(matrix)]))


def specified(rows: Rows, segments: int) -> list[int]:
    """The search as it is specified."""
    matrix, chosen = cosines(rows), list[int]()
    for _ in range(segments - 1):
        best, pick = -np.inf, 1
        for candidate in range(1, len(matrix) - 1):
            if candidate not in chosen and (value := score(matrix, [*chosen, candidate])) > best:
                best, pick = value, candidate
        chosen.append(pick)
    return sorted(chosen)


def extrapolated(rows: Rows, segments: int) -> Cost:
    """What `specified` would cost, from a few candidates of each pick."""
    matrix = cosines(rows)
    total, chosen = cost_of(partial(cosines, rows)), list[int]()
    candidates = np.linspace(1, len(matrix) - 2, SAMPLED).astype(int).tolist()
    for following in [change_points(rows, number + 1)[:number] for number in range(1, segments)]:
        cost = cost_of(lambda: [score(matrix, [*chosen, each]) for each in candidates])  # noqa: B023 - called here
        share = (len(matrix) - 2) / len(candidates)
        total = total + Cost(cost.cpu * share, cost.wall * share)
        chosen = following.tolist()
    return total


def median(costs: Sequence[Cost]) -> Cost:
    """Of processor and of wall seconds."""
    return Cost(statistics.median(each.cpu for each in costs), statistics.median(each.wall for each in costs))


def against_the_specified(count: int, width: int, segments: int, rounds: int) -> Ratio:
    """Both run whole; the change points are compared."""
    rows = made(count, width)
    found: list[list[int]] = []
    theirs = cost_of(lambda: found.append(specified(rows, segments)))
    ours = median([cost_of(partial(change_points, rows, segments)) for _ in range(rounds)])
    if found[0] != change_points(rows, segments).tolist():
        raise SystemExit(f"{count} rows: change points differ from the specified search's")
    return Ratio(
        f"(r) specified / ours, {count} rows", theirs.cpu / ours.cpu, None, f"{theirs.cpu:.1f} s / {ours.cpu:.3f} s"
    )


def measured(whole: Sequence[int], sizes: tuple[int, int], width: int, rounds: int) -> list[Ratio]:
    """All figures: of sizes for which the specified search is run whole, and of a memory and a longer one."""
    ratios = [against_the_specified(count, width, SEGMENTS, rounds) for count in whole]
    memory, long = sizes
    inputs = {count: made(count, width) for count in sizes}
    tasks = {str(count): partial(cost_of, partial(change_points, rows, SEGMENTS)) for count, rows in inputs.items()}
    turns = in_turns(tasks, rounds)
    ours, longer = (median([turn[str(count)] for turn in turns]) for count in sizes)
    theirs = extrapolated(inputs[memory], SEGMENTS)
    note = f"{theirs.cpu:.0f} s from {SAMPLED} candidates of each pick / {ours.cpu:.3f} s"
    seconds = f"seconds of one core, {ours.wall:.2f} s on the clock; k = {SEGMENTS}, width {width}"
    growth = statistics.median(turn[str(long)].cpu / turn[str(memory)].cpu for turn in turns)
    return [
        *ratios,
        Ratio(f"(r) specified / ours, {memory} rows", theirs.cpu / ours.cpu, None, note),
        Ratio(f"(r) ours, {memory} rows", ours.cpu, 1.5, seconds, is_limit=True),
        Ratio(f"(r) ours, {long} / {memory} rows", growth, 4.5, f"{longer.cpu:.3f} s", is_limit=True),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints; `arguments` are those of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="few short rows: shows that it runs")
    options = parser.parse_args(arguments)
    with threadpool_limits(1):
        if options.quick:
            ratios = measured([100], (400, 1600), 64, 3)
        else:
            ratios = measured(WHOLE, (MEMORY, LONG), WIDTH, options.rounds)
    report(f"Change points, {SEGMENTS} segments", ratios, options.json)


if __name__ == "__main__":
    main()

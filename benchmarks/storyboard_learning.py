"""Whether Memory Storyboard learns from a drive of 450 seconds, seen once: action and steering by nearest neighbors.

    python benchmarks/storyboard_learning.py FOLDER [--seeds 0 1 2] [--flips 0 0.5]

The first 9,000 frames of `../shared/data/streams/rc_track1.mp4` are streamed once by the command line, a run a seed;
frames of the last quarter are never in the stream. The 20 nearest training frames by cosine vote on the action, and
the mean of their steering is the prediction. Beside it: the same networks untrained, and gray pixels. Intervals are of
2,000 resamples of blocks of five seconds. Runs are kept in FOLDER: rerun the command to resume.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import measuring
import numpy as np
import numpy.typing as npt
from sklearn.metrics import balanced_accuracy_score, r2_score

from egotools.evaluate.knn import nearest
from egotools.tables.table import read_table

STREAM = measuring.SHARED / "streams"
EXAMPLE = Path(__file__).parents[1] / "examples" / "rc_track.py"
NETWORK = ["--depth", 18, "--norm", "group", "--crop-size", 64]
TRAINING = ["--method", "simclr", *NETWORK, "--scale-min", 0.2, "--class-length", 200, "--subsample", 4]
TRAINING += ["--step-batch-size", 16, "--curr-batch-size", 16, "--replay-batch-size", 48]
TRAINING += ["--short-buffer-size", 250, "--long-buffer-size", 1500, "--precision", "bf16"]
K = 20
BLOCK = 25  # evaluated frames of five seconds
RESAMPLES = 2000
WANTED = {"accuracy": 0.03, "balanced": 0.05, "r2": 0.10}  # above the untrained networks

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--flips", type=float, nargs="+", default=[0.0, 0.5])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, str(EXAMPLE), str(STREAM), "--out", str(asked.folder)], check=True)
    frames = asked.folder / "rc-frames.csv"
    pixels = asked.folder / "pixels"
    egotools("extract", "--manifest", frames, "--out", pixels, "pixels", "--size", 16)
    found = {"gray pixels": [figures(frames, pixels / "pixels.lmdb", is_gray=True)]}
    for seed in asked.seeds:
        out = asked.folder / f"untrained{seed}"
        weights = ["--weights", f"random:{seed}"]
        egotools("extract", "--manifest", frames, "--out", out, "storyboard", *NETWORK, *weights)
        found.setdefault("untrained", []).append(figures(frames, out / "storyboard.lmdb"))
        for flip in asked.flips:
            run = asked.folder / f"seed{seed}-flip{flip:g}"
            options = ["--manifest", asked.folder / "rc.csv", *TRAINING, "--flip", flip, "--seed", seed]
            egotools("train", "storyboard", *options, "--out", run, "--quiet")
            out = asked.folder / f"features{seed}-flip{flip:g}"
            egotools("extract", "--manifest", frames, "--out", out, f"run:{run}", "--name", "trained")
            found.setdefault(f"trained, --flip {flip:g}", []).append(figures(frames, out / "trained.lmdb"))
    means = {name: mean(each) for name, each in found.items()}
    for name, each in means.items():
        print(f"{name}: {', '.join(f'{key} {value:.3f}' for key, value in each.items())}")
    trained, untrained = means[f"trained, --flip {asked.flips[0]:g}"], means["untrained"]
    gains = {name: trained[name] - untrained[name] for name in WANTED}
    is_met = all(gains[name] >= least for name, least in WANTED.items()) and trained["r2"] > means["gray pixels"]["r2"]
    print(f"above untrained: {gains}, wanted {WANTED}, and R2 above gray pixels': {'met' if is_met else 'MISSED'}")
    (asked.folder / "learning.json").write_text(json.dumps({"means": means, "all": found}))


def egotools(*command: object) -> None:
    """Runs a command."""
    subprocess.run([sys.executable, "-m", "egotools", *map(str, command)], check=True, stdout=subprocess.DEVNULL)


def figures(manifest: Path, cache: Path, *, is_gray: bool = False) -> Figures:
    """Accuracy, balanced accuracy and R2 of the test frames, each with its interval."""
    table = read_table(manifest, [cache], labels=("action", "steering"))
    values = table.values.reshape(len(table), -1, 3).mean(2) if is_gray else table.values
    actions, steering = table.column("action"), table.column("steering").astype(float)
    test = np.asarray(table.split) == "test"
    neighbors, _ = nearest(values[test].astype(np.float32), values[~test].astype(np.float32), K)
    names, numbers = np.unique(actions, return_inverse=True)
    votes = np.eye(len(names))[numbers[~test][neighbors]].sum(1)
    predicted, angles = votes.argmax(1), steering[~test][neighbors].mean(1)
    truth, true_angles = numbers[test], steering[test]

    def scores(rows: npt.NDArray[np.int64]) -> Figures:
        right = predicted[rows] == truth[rows]
        return {
            "accuracy": float(right.mean()),
            "balanced": float(balanced_accuracy_score(truth[rows], predicted[rows])),
            "r2": float(r2_score(true_angles[rows], angles[rows])),
        }

    whole = scores(np.arange(len(truth)))
    return whole | intervals(scores, len(truth))


def intervals(scores: Callable[[npt.NDArray[np.int64]], Figures], count: int) -> Figures:
    """2.5 and 97.5 % of scores of resampled blocks."""
    random, blocks = np.random.default_rng(0), np.arange(count - count % BLOCK).reshape(-1, BLOCK)
    drawn = [scores(blocks[random.integers(0, len(blocks), len(blocks))].ravel()) for _ in range(RESAMPLES)]
    found = {}
    for name in drawn[0]:
        low, high = np.percentile([each[name] for each in drawn], [2.5, 97.5])
        found |= {f"{name} low": float(low), f"{name} high": float(high)}
    return found


def mean(figures: list[Figures]) -> Figures:
    """By name, over seeds; intervals are averaged, too."""
    return {name: statistics.mean(each[name] for each in figures) for name in figures[0]}


if __name__ == "__main__":
    main()

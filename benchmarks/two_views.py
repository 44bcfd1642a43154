"""Synchronised views with a shared hidden sequence of actions, as a cache, a manifest and segments.

    python benchmarks/two_views.py FOLDER [--seed 0]

A recording goes through actions drawn from a Markov chain. Each moment has a hidden state: what is typical of the
action, how far it has gone, and a slow drift. Two cameras see it through maps of their own that are partly alike, each
with an appearance of its own in every recording and with noise. The view `v3` (exocentric) of the split `train` has
labels, and so have both views of `val` and `test`; the split `pair` has none.

The numbers below were fixed, and committed, before any network was trained on what they make.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.manifests.segments import Segment, write_segments
from egotools.manifests.table import write_manifest
from egotools.stores import Recipe, Source, open_writer
from egotools.types import Clip, Rows

Array = npt.NDArray[np.float64]

ACTIONS = 10
FOLLOWING = 3  # actions that may come after one
RATE = 5.0  # rows a second
ROWS = (400, 800)  # of a recording
DURATION = (15, 60)  # rows of an action
HIDDEN, WIDTH = 16, 64  # numbers of a hidden state, and of a row of features
ALIKE = 0.6  # share of a camera's map that all have; the rest is its own, so that the variances add up to 1
DRIFT = 0.4  # deviation of what slowly changes, for both cameras alike
APPEARANCE = 0.7  # deviation of what one camera sees throughout a recording
NOISE = 0.5  # deviation of every feature
VIEWS = ("e4", "v3")
RECORDINGS = {"pair": 24, "train": 16, "val": 6, "test": 16}


class World:
    """What is common to all recordings: actions, and the cameras' maps."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng([seed, 0])
        self.following = np.stack([random.permutation(ACTIONS)[: FOLLOWING + 1] for _ in range(ACTIONS)])
        self.typical = random.normal(size=(ACTIONS, HIDDEN))
        self.going = random.normal(size=(ACTIONS, HIDDEN))
        common = self._layers(random)
        own = {view: self._layers(random) for view in VIEWS}
        rest = np.sqrt(1 - ALIKE**2)
        self.maps = {
            view: [ALIKE * one + rest * other for one, other in zip(common, layers, strict=True)]
            for view, layers in own.items()
        }

    def _layers(self, random: np.random.Generator) -> list[Array]:
        return [
            random.normal(size=(HIDDEN, WIDTH)) / np.sqrt(HIDDEN),
            random.normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH) * 2,
        ]

    def actions(self, rows: int, random: np.random.Generator) -> list[tuple[int, int, int]]:
        """A sequence of (action, first row, end)."""
        found, at, action = list[tuple[int, int, int]](), 0, int(random.integers(ACTIONS))
        while at < rows:
            end = min(rows, at + int(random.integers(*DURATION)))
            end = rows if rows - end < DURATION[0] else end
            found.append((action, at, end))
            at, action = end, int(random.choice([each for each in self.following[action] if each != action]))
        return found

    def states(self, actions: Sequence[tuple[int, int, int]], random: np.random.Generator) -> Array:
        """Hidden states [T, HIDDEN]."""
        parts = [
            self.typical[action] + np.linspace(-0.5, 0.5, end - first)[:, np.newaxis] * self.going[action]
            for action, first, end in actions
        ]
        states = np.concatenate(parts)
        drift = np.zeros_like(states)
        steps = random.normal(size=states.shape)
        for row in range(1, len(states)):
            drift[row] = 0.95 * drift[row - 1] + np.sqrt(1 - 0.95**2) * steps[row]
        return states + DRIFT * drift

    def seen(self, states: Array, view: str, random: np.random.Generator) -> npt.NDArray[np.float32]:
        """Features [T, WIDTH] of a camera, 0 or above as those of a network's last layer are."""
        first, second = self.maps[view]
        appearance = APPEARANCE * random.normal(size=WIDTH)
        values = np.tanh(states @ first) @ second + appearance + NOISE * random.normal(size=(len(states), WIDTH))
        return np.maximum(values, 0).astype(np.float32)


def write(folder: Path, seed: int, recordings: dict[str, int] | None = None) -> tuple[Path, Path, Path]:
    """Writes manifest, segments and cache; gives their paths. `recordings` are how many each split has."""
    world, clips, segments = World(seed), list[Clip](), list[Segment]()
    names = [f"{split}{n}" for split, count in (recordings or RECORDINGS).items() for n in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    with open_writer(folder / "views.lmdb", Recipe({"imported": {"content": f"two_views {seed}"}})) as writer:
        for number, name in enumerate(names):
            random, split = np.random.default_rng([seed, 1, number]), name.rstrip("0123456789")
            actions = world.actions(int(random.integers(*ROWS)), random)
            states = world.states(actions, random)
            starts = np.arange(len(states)) / RATE
            for view in VIEWS:
                labels = {"recording": name, "view": view}
                clips.append(Clip(f"{name}/{view}", Path(), split=split, labels=labels))
                rows = Rows(world.seen(states, view, random), np.stack([starts, starts + 1 / RATE], axis=1))
                writer.append(clips[-1].id, rows)
                writer.finish(clips[-1].id, Source(""))
            if split != "pair":
                segments += [
                    Segment(name, first / RATE, end / RATE, f"action {action}", name) for action, first, end in actions
                ]
        writer.commit()
    write_manifest(folder / "a.csv", clips)
    if segments:
        write_segments(folder / "a.segments.csv", segments)
    return folder / "a.csv", folder / "a.segments.csv", folder / "views.lmdb"


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the files and says where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    print("\n".join(map(str, write(options.folder, options.seed))))


if __name__ == "__main__":
    main()

"""A small data set of sequences of actions: features that show the action, two views of each recording, segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tabled import write_table

from egotools.manifests.segments import Segment, write_segments
from egotools.stores import Recipe, Source, open_writer
from egotools.types import Rows

CLASSES = ("pour", "rest", "stir", "take")
WIDTH, FPS, ROWS = 8, 10, 160
SPLITS = ("train", "train", "val", "test")


def write_acted(folder: Path, *, splits: tuple[str, ...] = SPLITS, width: int = WIDTH, seed: int = 0) -> Path:
    """Writes `a.csv`, `a.segments.csv` and `a.lmdb`; one recording a split, views v1 and e1, its second half `late`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    shown = rng.normal(size=(len(CLASSES), width))
    segments, ids, recordings, views, of_split = [], [], [], [], []
    with open_writer(folder / "a.lmdb", Recipe({"imported": {"content": "acted"}})) as writer:
        for number, split in enumerate(splits):
            recording = f"r{number}"
            actions = rng.permutation(np.tile(np.arange(len(CLASSES)), 2))
            labels = np.repeat(actions, ROWS // len(actions))
            for at, action in enumerate(actions):
                start, end = at * ROWS / len(actions) / FPS, (at + 1) * ROWS / len(actions) / FPS
                name = f"{'early' if at < len(actions) / 2 else 'late'}_{recording}"
                segments.append(Segment(recording, start, end, CLASSES[action], name))
            for view in ("v1", "e1"):
                starts = np.arange(ROWS) / FPS
                values = shown[labels] + 0.3 * rng.normal(size=(ROWS, width))
                id = f"{recording}/{view}"
                writer.append(id, Rows(values.astype(np.float32), np.stack([starts, starts + 1 / FPS], axis=1)))
                writer.finish(id, Source(""))
                ids.append(id), recordings.append(recording), views.append(view), of_split.append(split)
        writer.commit()
    write_table(folder / "a.csv", ids, {"recording": recordings, "view": views}, of_split)
    write_segments(folder / "a.segments.csv", segments)
    return folder

"""Caches of clips with several rows, as if they had been extracted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from egotools.stores import Recipe, Source, open_writer
from egotools.types import Rows


def every(count: int, seconds: float = 0.1, start: float = 0.0) -> np.ndarray:
    """Times [T, 2] of rows that follow each other."""
    edges = start + seconds * np.arange(count + 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def write_rows(path: Path, clips: Mapping[str, Rows], video: str = "") -> Path:
    """A cache of these clips, all of one video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_writer(path, Recipe({"imported": {"content": "x"}})) as writer:
        for id, rows in clips.items():
            writer.append(id, Rows(rows.values.astype(np.float32), rows.times))
            writer.finish(id, Source(video))
        writer.commit()
    return path


def scenes(*lengths: int, width: int = 8, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """Rows [sum of lengths, width] that change after each length."""
    draw = np.random.default_rng(seed)
    places = np.repeat(np.arange(len(lengths)), lengths)
    return np.eye(width)[places % width] + noise * draw.normal(size=(len(places), width))

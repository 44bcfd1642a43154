"""Caches of whole videos with rows at given times, as labels at times need them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from egotools.stores import Recipe, Source, open_writer
from egotools.types import Rows


def make_times(count: int, *, length: float = 0.5) -> np.ndarray:
    """Times [T, 2] of windows that follow each other."""
    starts = np.arange(count) * length
    return np.stack([starts, starts + length], axis=1)


def make_cache(
    path: Path, clips: Mapping[str, tuple[str, np.ndarray]], values: Mapping[str, np.ndarray] | None = None
) -> Path:
    """A cache of clips by id, each with its file beside the cache, and its times; rows are drawn, or given [T, D]."""
    with open_writer(path, Recipe({"extractor": path.stem})) as writer:
        for number, (id, (file, times)) in enumerate(clips.items()):
            drawn = np.random.default_rng(number).random((len(times), 3))
            writer.append(id, Rows((drawn if values is None else values[id]).astype(np.float32), times))
            writer.finish(id, Source(str(path.parent / file)))
        writer.seal()
    return path


def write(path: Path, *lines: str) -> Path:
    """A CSV file of these lines."""
    path.write_text("\n".join(lines) + "\n")
    return path

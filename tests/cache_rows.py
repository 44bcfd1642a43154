"""Rows of caches that tests make."""

from __future__ import annotations

import numpy as np

from egotools.types import Rows


def make_rows(count: int, seed: int = 0, width: int = 6, dtype: str = "float32") -> Rows:
    times = np.stack([np.arange(count), np.arange(count) + 1], 1).astype(np.float64)
    return Rows(np.random.default_rng(seed).random((count, width)).astype(dtype), times)

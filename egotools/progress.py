"""How far some work is, told to whoever shows it: one type for the whole library."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called again and again while work goes on; must be quick."""

    def __call__(self, stage: str, done: float, total: int, rows: int | None = None) -> None:
        """What is being done; how much of it, with what is under way as fractions; of how much; rows made so far."""


def no_progress(stage: str, done: float, total: int, rows: int | None = None) -> None:
    """A no-op."""

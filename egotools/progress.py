"""Progress reports: one callback type for the whole library."""

from typing import Protocol


class Progress(Protocol):
    """Called often while work is in progress; must be fast."""

    def __call__(self, stage: str, done: float, total: int, rows: int | None = None) -> None:
        """Reports the stage, how much is done (unfinished items count as fractions), the total, and the rows so far."""


def no_progress(stage: str, done: float, total: int, rows: int | None = None) -> None:
    """A no-op."""

"""Follows caches while they are written: how far each is, of how much, and how fast."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from egotools.errors import EgotoolsError, StoreError
from egotools.extraction.failures import read_failures
from egotools.rebuild.assessment import Manifests
from egotools.stores.summary import find_caches, open_any, sealed, summarize, unsaid
from egotools.stores.unfinished import Unfinished
from egotools.stores.writer_lock import writer_of


@dataclass(frozen=True)
class Watched:
    """One cache at a moment. Rows of unfinished clips count; rates are of what was done since the watch began.

    `total` is the number of clips of its manifest (None: unknown), `failed` those that cannot be read.
    """

    path: Path
    clips: int = 0
    total: int | None = None
    failed: int = 0
    rows: int = 0
    bytes: int = 0
    unfinished: Mapping[str, Unfinished] = field(default_factory=dict)
    writer: str | None = None
    problem: str = ""  # why it cannot be read
    clips_per_second: float = 0.0
    rows_per_second: float = 0.0

    @property
    def done(self) -> float:
        """Clips; unfinished ones count as fractions."""
        return self.clips + sum(clip.rows / clip.begun.total for clip in self.unfinished.values())

    @property
    def is_complete(self) -> bool:
        """Whether no clip is to come, as far as is known."""
        is_whole = self.total is None or self.clips + self.failed >= self.total
        return not self.writer and not self.unfinished and not self.problem and is_whole

    @property
    def seconds_left(self) -> float | None:
        """Until it is complete, at the mean rate since the watch began; None: unknown."""
        if self.total is None or not self.clips_per_second or not self.writer:
            return None
        return max(self.total - self.failed - self.done, 0.0) / self.clips_per_second


class Watch:
    """Looks at caches again and again, each time as any reader does: without a lock, and nothing stays open."""

    def __init__(self, paths: Sequence[Path], remark: Callable[[str], None] = unsaid) -> None:
        self._paths, self._remark = paths, remark
        self._manifests = Manifests()  # each is read once
        self._first: dict[Path, tuple[float, float, int]] = {}  # moment, clips and rows of the first look

    def look(self) -> list[Watched]:
        """The caches as they are now, those in folders at any depth, also new ones.

        Raises:
            StoreError: a path does not exist.
        """
        found = [self._paced(self._seen(path)) for path in find_caches(self._paths, remark=self._remark)]
        self._remark = unsaid
        return found

    def _seen(self, path: Path) -> Watched:
        try:
            summary, recipe = summarize(path), open_any(path).recipe
            failed = len(read_failures(sealed(path)))
        except (StoreError, OSError) as error:  # nothing is committed yet, or it was sealed a moment ago
            writer = writer_of(path)
            return Watched(path, writer=writer, problem="" if writer else str(error).removeprefix(f"{path}: "))
        except EgotoolsError as error:  # the list of failures
            return Watched(path, writer=writer_of(path), problem=str(error))
        try:
            total = len(self._manifests.clips(recipe))
        except EgotoolsError:  # it names none, or it is gone
            total = None
        rows = summary.rows + summary.unfinished_rows
        return Watched(
            path, summary.clips, total, failed, rows, summary.bytes, summary.unfinished, summary.writer
        )  # fmt: skip

    def _paced(self, seen: Watched) -> Watched:
        now = time.monotonic()
        began, clips, rows = self._first.setdefault(seen.path, (now, seen.done, seen.rows))
        if now <= began:
            return seen
        rates = ((seen.done - clips) / (now - began), (seen.rows - rows) / (now - began))
        known = {name: value for name, value in vars(seen).items() if not name.endswith("_per_second")}
        return Watched(**known, clips_per_second=max(rates[0], 0.0), rows_per_second=max(rates[1], 0.0))


def is_over(found: Sequence[Watched]) -> bool:
    """Whether there are caches, nobody writes one of them, and all are complete."""
    return bool(found) and all(each.is_complete for each in found)

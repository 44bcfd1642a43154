"""Imports LMDB environments of Assembly101's public features as a cache, one row per video frame."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from egotools.config import plain
from egotools.errors import StoreError
from egotools.progress import Progress, no_progress
from egotools.stores.aside import aside
from egotools.stores.assembly101 import (
    FPS,
    VALUE,
    WIDTH,
    Frames,
    Span,
    Strays,
    environments_digest,
    frames_of,
    key_of_frame,
    opened,
    read_values,
    survey_all,
)
from egotools.stores.copying import check_space
from egotools.stores.importing import LAYOUT, Imported
from egotools.stores.opening import open_store, open_writer
from egotools.stores.publish import CLIPS_PER_COMMIT, check_free, place_gathered
from egotools.stores.source import Source
from egotools.stores.store import Recipe, Writer, differences
from egotools.types import FloatArray, IntArray, Rows

NAME = "assembly101"
VERSION = 1
MAX_GAP = 5
AT_ONCE = 512  # rows read at a time: 4 MiB


def import_assembly101(
    source: Path,
    out: Path,
    *,
    max_gap: int = MAX_GAP,
    origin: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Imported:
    """Writes the frames of environments as a cache: clips `<recording>/<camera>`, frame f at [(f - 1) / 30, f / 30] s.

    A missing frame gets the row of the one before it. What is odd is recorded in the recipe's origin: `left_out`
    recordings, `filled` frames, and `strays`, entries that hold no frame.

    Args:
        source: an environment, or a folder of several.
        out: `.lmdb` or `.h5`.
        max_gap: how many frames in a row may be missing; a recording with more is left out.
        origin: further provenance for the recipe: the command.
        overwrite: whether to replace an existing cache; one that was imported from the same source is left unchanged.
        progress: reports frames.

    Raises:
        StoreError: the source is not readable as such environments, none of its recordings is complete, or the cache
            cannot be written.
    """
    if max_gap < 0:
        raise ValueError(f"--max-gap must not be negative, not {max_gap}")
    try:
        content = environments_digest(source)
    except OSError as error:
        raise StoreError(f"{source}: cannot be read: {error.strerror}") from error
    identity = {
        "imported": {LAYOUT: NAME, "max_gap": max_gap},
        "version": VERSION,
        "content": content,
        "dtype": "float32",
    }
    if out.is_file() and not overwrite:
        store = open_store(out)
        if any(differences(store.recipe.identity, plain(identity))):
            raise StoreError(
                f"{out} exists and was made differently; choose another --out, or replace it with --overwrite"
            )
        return _imported(out, store.recipe.origin, is_new=False)
    check_free(out, overwrite=overwrite)
    job = _Job(source, max_gap, progress)
    found = {"source": str(source.absolute()), **(origin or {}), **job.oddities()}
    with aside(out) as temporary:
        check_free(out, overwrite=overwrite)
        check_space(temporary, job.total * VALUE * (2 if out.suffix == ".h5" else 1))
        # The origin is written when the writer commits: recordings that turn out to be damaged are in it, too.
        recipe = Recipe(identity, found)
        gathered = temporary / out.with_suffix(".lmdb").name
        with open_writer(gathered, recipe) as writer:
            job.write(writer, found["left_out"])
        place_gathered(out, gathered, recipe, progress=progress)
    return _imported(out, found, is_new=True)


def _imported(out: Path, origin: Mapping[str, Any], *, is_new: bool) -> Imported:
    store = open_store(out)
    left_out = tuple(f"{id}: {why}" for id, why in origin.get("left_out", {}).items())
    filled = tuple(f"{id}: {what}" for id, what in origin.get("filled", {}).items())
    return Imported(
        out,
        len(store),
        store.rows,
        store.width,
        is_new,
        left_out=left_out,
        remarks=(*origin.get("strays", ()), *filled),
    )


@dataclass
class _Clip:
    """A clip that is being written: its last frame, and that frame's row."""

    id: str
    last: int
    row: FloatArray = field(default_factory=lambda: np.empty((0, WIDTH), np.float32))


class _Job:
    """One import: what there is, from keys alone; then the rows of each environment, in the order of the keys."""

    def __init__(self, source: Path, max_gap: int, progress: Progress) -> None:
        self.source, self.progress = source, progress
        self.strays = Strays()
        self.environments = survey_all(source, self.strays)
        self.spans = {id: span for clips in self.environments.values() for id, span in clips.items()}
        self.left_out = {id: _too_many(id, span, max_gap) for id, span in self.spans.items() if span.longest > max_gap}
        self.total = sum(span.last - span.first + 1 for id, span in self.spans.items() if id not in self.left_out)
        self.done = 0

    def oddities(self) -> dict[str, Any]:
        """For the recipe's origin."""
        filled = {
            id: f"{span.missing} frames missing, the first is {key_of_frame(id, span.first_missing)}; each got the row "
            "of the frame before it"
            for id, span in self.spans.items()
            if span.missing and id not in self.left_out
        }
        return {"left_out": dict(self.left_out), "filled": filled, "strays": self.strays.lines()}

    def write(self, writer: Writer, left_out: dict[str, str]) -> None:
        """Writes all clips but those left out, to which damaged ones are added.

        Raises:
            StoreError: none is left, or an environment has changed meanwhile.
        """
        clips = 0
        for file in self.environments:
            with opened(file) as handle:
                for clip in self._clips(handle, file, writer, left_out):
                    writer.finish(clip, _source(file))
                    clips += 1
                    if clips % CLIPS_PER_COMMIT == 0:
                        writer.commit()
        if not clips:
            id, why = next(iter(left_out.items()))
            raise StoreError(f"{self.source}: none of its {len(left_out)} recordings can be imported: {id}: {why}")
        writer.seal()

    def _clips(self, handle: BinaryIO, file: Path, writer: Writer, left_out: dict[str, str]) -> Iterator[str]:
        """Appends the rows of one environment, and yields each clip that is complete."""
        open_clip: _Clip | None = None
        for frames in frames_of(handle, file, Strays()):
            if frames.id in left_out:
                continue
            if frames.id not in self.spans:
                raise StoreError(f"{file}: changed while it was imported; import it again")
            if open_clip is None or open_clip.id != frames.id:
                if open_clip is not None:
                    yield open_clip.id
                open_clip = _Clip(frames.id, int(frames.numbers[0]))
            if problem := self._append(handle, frames, open_clip, writer):
                writer.drop(frames.id)
                left_out[frames.id], open_clip = problem, None
        if open_clip is not None:
            yield open_clip.id

    def _append(self, handle: BinaryIO, frames: Frames, clip: _Clip, writer: Writer) -> str:
        """Appends frames to a clip; returns what is wrong with one of them, if anything."""
        for first in range(0, len(frames.numbers), AT_ONCE):
            part = slice(first, first + AT_ONCE)
            numbers, values = frames.numbers[part], read_values(handle, frames.places[part])
            if not (finite := np.isfinite(values).all(axis=1)).all():
                key = key_of_frame(clip.id, int(numbers[np.argmin(finite)]))
                return f"{key} has NaN or infinite values"
            before = int(clip.last) if len(clip.row) else int(numbers[0]) - 1
            every = np.arange(before + 1, int(numbers[-1]) + 1)
            if len(every) > len(numbers):  # a missing frame is the one before it
                chosen = np.searchsorted(numbers, every, side="right")
                values = np.concatenate([clip.row if len(clip.row) else values[:1], values])[chosen]
            writer.append(clip.id, Rows(values, _times(every)))
            clip.last, clip.row = int(numbers[-1]), values[-1:]
            self.done += len(every)
            self.progress(f"importing {self.source.name}", self.done, self.total)
        return ""


def _too_many(id: str, span: Span, max_gap: int) -> str:
    return (
        f"{span.longest} frames in a row are missing from {key_of_frame(id, span.longest_at)} on, at most {max_gap} "
        f"may (--max-gap); {span.missing} of its {span.last - span.first + 1} frames are missing"
    )


def _times(numbers: IntArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.stack([numbers - 1, numbers], axis=1) / FPS


def _source(file: Path) -> Source:
    status = file.stat()
    return Source(str(file.absolute()), size=status.st_size, mtime=status.st_mtime)

"""What a cache is asked for: queries as vectors, from texts, clips, or (`methods.new_images`) images.

Axes: D features, T rows of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np

from egotools.errors import ExtractorError, TableError
from egotools.stores.pooling import mean, span
from egotools.stores.store import Store, StoredClip, classes_of
from egotools.tables.matching import uncut
from egotools.texts import composed, similar_names
from egotools.types import FloatArray

LOOKED_AT = 100_000  # ids among which similar ones are searched
SLACK = 1e-4  # seconds by which a window that begins at a time may begin late: containers round to their own ticks


class Stretch(NamedTuple):
    """A stretch of a clip, in seconds of its file."""

    id: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Query:
    """A vector [D] to find moments for, and what it is called.

    `shows` is the stretch that the vector is of, if it is of a clip; moments of `left_out`, and others of its file
    whose middle lies in it, are not found.
    """

    kind: Literal["text", "image", "clip"]
    name: str
    vector: FloatArray
    shows: Stretch | None = None
    left_out: Stretch | None = None


def text_queries(store: Store, texts: Sequence[str]) -> list[Query]:
    """Texts, each as the vector that the text tower of the cache's own model gives.

    Raises:
        ExtractorError: the model has no text tower, or not the one with which the cache was made.
    """
    from egotools.extractors.text_tower import text_rows  # imported here because it loads torch

    try:
        rows = text_rows(uncut(store).recipe, texts)
    except ExtractorError as error:
        raise ExtractorError(f"{store.path}: {error}") from error
    return [Query("text", text, row) for text, row in zip(texts, rows, strict=True)]


def clip_query(store: Store, id: str, at: float | None = None, *, include_clip: bool = False) -> Query:
    """A clip of the cache: the mean of its rows, or the row of one time.

    Args:
        store: the cache.
        id: of the clip.
        at: seconds of the file; the row whose window holds this time, or else is nearest to it. None: the mean.
        include_clip: whether moments of the clip itself are found, too.

    Raises:
        TableError: the clip does not exist (similar ids are named), has no rows, or none at this time.
        StoreError: it is damaged.
    """
    id = composed(id)
    if id not in store:
        similar = similar_names(id, islice(store, LOOKED_AT))
        hint = f"similar ids: {', '.join(map(repr, similar))}" if similar else "'egotools cache info' lists some ids"
        raise TableError(f"{store.path}: no clip {id!r}; {hint}")
    clip = store.stored(id)
    if not len(clip):
        raise TableError(f"{store.path}: clip {id!r} has no rows, so nothing is like it")
    whole = Stretch(id, *span(clip.times)[0].tolist())
    left_out = None if include_clip else whole
    if at is None:
        name = f"{id} (mean of {len(clip)} rows)" if len(clip) > 1 else id
        return Query("clip", name, mean(clip), whole, left_out)
    if not whole.start <= at <= whole.end:
        raise TableError(f"clip {id!r} has rows from {whole.start:g} to {whole.end:g} s, none at {at:g} s (--at)")
    row = _row_at(clip, at)
    shown = Stretch(id, *clip.times[row].tolist())
    return Query("clip", f"{id} at {at:g} s", _row(clip, row), shown, left_out)


def check_comparable(store: Store, queries: Sequence[Query]) -> None:
    """Refuses queries and caches between which cosines say nothing.

    Raises:
        TableError: the cache has no rows, or class indices, or single numbers; a query has another width, is not finite
            or all zeros.
    """
    if not store.rows:
        raise TableError(f"{store.path} has no rows: there is nothing to find")
    if classes_of(store.recipe) is not None or store.width == 1:
        raise TableError(f"{store.path} has one number a row: cosines say nothing about it; give a cache of features")
    for query in queries:
        if query.vector.shape != (store.width,):
            raise TableError(
                f"{query.name!r} has {query.vector.size} features, the rows of {store.path} have {store.width}:"
                " they cannot be compared"
            )
        if not np.isfinite(query.vector).all():
            raise TableError(f"{query.name!r} has NaN or infinite features: nothing is like it; extract it again")
        if not query.vector.any():
            raise TableError(f"the features of {query.name!r} are all zeros: nothing is like it")


def _row_at(clip: StoredClip, seconds: float) -> int:
    """The row whose window holds a time, or is nearest to it; of several that with the nearest middle."""
    starts, ends = clip.times.T
    seconds += SLACK
    away = np.maximum(np.maximum(starts - seconds, seconds - ends), 0)
    return int(np.lexsort((np.abs((starts + ends) / 2 - seconds), away))[0])


def _row(clip: StoredClip, number: int) -> FloatArray:
    for view in clip.views:
        if number < len(view):
            return np.array(view[number])
        number -= len(view)
    raise IndexError(number)

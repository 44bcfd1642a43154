"""Cuts long clips into windows, and assigns clips to splits."""

import dataclasses
import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from egotools.errors import ManifestError
from egotools.manifests.table import column_of
from egotools.texts import shortened, tidy
from egotools.types import LONGEST_ID, Clip

TOLERANCE = 1e-6  # seconds, or clips; for rounding errors


def cut_windows(
    clip: Clip,
    span: tuple[float, float],
    *,
    length: float,
    hop: float | None = None,
    min_length: float | None = None,
    gaps: Sequence[tuple[float, float]] = (),
) -> list[tuple[float, float]]:
    """Start and end of each piece of a clip, in order, seconds of the file.

    Args:
        clip: the clip to cut, from its start to its end.
        span: start of the file's first frame and end of its last one.
        length: seconds of a piece.
        hop: seconds from one piece to the next; None: `length`.
        min_length: the last piece is kept if it is at least this long; None: half of `length`.
        gaps: seconds of the file without frames; pieces whose middle lies there are left out.
    """
    hop = length if hop is None else hop
    min_length = length / 2 if min_length is None else min_length
    if not (length > 0 and hop > 0 and 0 <= min_length <= length):
        raise ValueError(f"cannot cut with length {length}, hop {hop}, min_length {min_length}")
    start, end = max(clip.start, span[0]), span[1] if clip.end is None else min(clip.end, span[1])
    pieces = []
    for index in range(math.ceil(max(end - start, 0) / hop)):
        first = start + index * hop
        last = min(first + length, end)
        in_gap = any(begin <= (first + last) / 2 < stop for begin, stop in gaps)
        if last - first >= max(min_length, TOLERANCE) - TOLERANCE and not in_gap:
            pieces.append((round(first, 6), round(last, 6)))
        if last >= end - TOLERANCE:
            break
    return pieces


def windows(
    clips: Sequence[Clip],
    spans: Mapping[str, tuple[float, float]],
    *,
    length: float,
    hop: float | None = None,
    min_length: float | None = None,
    gaps: Mapping[str, Sequence[tuple[float, float]]] = MappingProxyType({}),
) -> list[Clip]:
    """Clips cut into pieces of `length` seconds with ids `<id>/0000`, which sort in time order; see `cut_windows`.

    An id without room for the number is shortened and ends in a digest.

    A clip that would be one piece, or is too short for any, is unchanged, so that cutting twice is a no-op; so is a
    clip whose id is not in `spans`. Both `spans` and `gaps` are by id.
    """
    taken = {clip.id for clip in clips}
    result = []
    for clip in clips:
        pieces = []
        if clip.id in spans:
            pieces = cut_windows(
                clip, spans[clip.id], length=length, hop=hop, min_length=min_length, gaps=gaps.get(clip.id, ())
            )
        if not pieces or _is_whole(pieces, clip, spans[clip.id]):
            result.append(clip)
            continue
        ids = _piece_ids(clip.id, len(pieces), taken)
        taken.update(ids)
        for piece_id, (start, end) in zip(ids, pieces, strict=True):
            result.append(dataclasses.replace(clip, id=piece_id, start=start, end=end))
    return result


def _is_whole(pieces: Sequence[tuple[float, float]], clip: Clip, span: tuple[float, float]) -> bool:
    start, end = max(clip.start, span[0]), span[1] if clip.end is None else min(clip.end, span[1])
    return len(pieces) == 1 and abs(pieces[0][0] - start) < 2 * TOLERANCE and abs(pieces[0][1] - end) < 2 * TOLERANCE


def _piece_ids(id: str, count: int, taken: set[str]) -> list[str]:
    digits = max(4, len(str(count - 1)))
    while True:  # one more digit until the ids are unique
        own = shortened(id, LONGEST_ID - 1 - digits)
        ids = [f"{own}/{index:0{digits}d}" for index in range(count)]
        if taken.isdisjoint(ids):
            return ids
        digits += 1


def split_clips(
    clips: Sequence[Clip], *, by: str, fractions: Mapping[str, float], seed: int = 0, stratify: str | None = None
) -> list[Clip]:
    """Clips with new random splits; those that share a value of the column `by` stay together.

    Args:
        clips: in any order; the result keeps it.
        by: the column whose values are kept together; surrounding white space is ignored.
        fractions: fraction of the clips by split name; they sum to 1.
        seed: seed of the random split.
        stratify: a column whose values are spread evenly over the splits; a group counts as its most common value.

    Raises:
        ManifestError: the column does not exist, a clip without a value in it, or fewer groups than splits.
    """
    check_fractions(fractions)
    keys = [tidy(key) for key in column_of(clips, by)]
    if "" in keys:
        raise ManifestError(f"clip {clips[keys.index('')].id!r}: no value in column {by!r}; fill it or split by 'id'")
    sizes = Counter(keys)
    if len(sizes) < len(fractions):
        raise ManifestError(f"column {by!r} has {len(sizes)} values, too few for {len(fractions)} splits")
    layers: dict[str, Counter[str]] = {key: Counter() for key in sizes}
    for key, value in zip(keys, column_of(clips, stratify) if stratify else keys, strict=True):
        layers[key][tidy(value) if stratify else ""] += 1
    layer_of = {key: min(counts, key=lambda value: (-counts[value], value)) for key, counts in layers.items()}
    split_of = _deal(sizes, layer_of, fractions, random.Random(seed))
    return [dataclasses.replace(clip, split=split_of[key]) for clip, key in zip(clips, keys, strict=True)]


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Refuses, with a ValueError, fractions that are not positive or do not sum to 1."""
    if not fractions or not all(fraction > 0 for fraction in fractions.values()):
        raise ValueError(f"the fraction of each split must be above 0, not {dict(fractions)}")
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise ValueError(f"the fractions sum to {sum(fractions.values()):g}, not 1")


def _deal(
    sizes: Mapping[str, int], layer_of: Mapping[str, str], fractions: Mapping[str, float], generator: random.Random
) -> dict[str, str]:
    """Assigns a split to each group, stratum by stratum, at random in proportion to what each split lacks.

    Large groups go first, so that small ones can even out the counts; no split stays empty.
    """
    order = sorted(sizes)
    generator.shuffle(order)
    layers: dict[str, list[str]] = {}
    for key in order:
        layers.setdefault(layer_of[key], []).append(key)
    lacking = dict.fromkeys(fractions, 0.0)
    empty = list(fractions)
    split_of: dict[str, str] = {}
    for members in layers.values():
        for split in lacking:  # carries over from earlier strata, or rare labels would all go to one split
            lacking[split] += fractions[split] * sum(sizes[key] for key in members)
        for key in sorted(members, key=lambda key: -sizes[key]):
            choices = empty if len(empty) >= len(order) - len(split_of) else list(fractions)
            split = _draw({name: lacking[name] for name in choices}, sizes[key], generator)
            empty = [name for name in empty if name != split]
            split_of[key] = split
            lacking[split] -= sizes[key]
    return split_of


def _draw(lacking: Mapping[str, float], size: int, generator: random.Random) -> str:
    """A random split with room for a group, weighted by what it lacks; the one that lacks most if none has room."""
    room = {name: count for name, count in lacking.items() if count >= size - TOLERANCE}
    if not room:
        return max(lacking, key=lambda name: lacking[name])
    return generator.choices(list(room), list(room.values()))[0]

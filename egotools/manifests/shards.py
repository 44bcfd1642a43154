"""Splits the clips of a manifest into shards, one for each of several machines that know nothing of each other."""

import heapq
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from egotools.texts import composed
from egotools.types import Clip, Shard

Key = TypeVar("Key", bound=Hashable)


def clips_of(clips: Sequence[Clip], shard: Shard) -> list[Clip]:
    """The clips of one shard, in their order."""
    return shards_of(clips, shard.count)[shard.number - 1]


def shards_of(clips: Sequence[Clip], count: int) -> list[list[Clip]]:
    """The clips of each of `count` shards of about equal duration; all clips of one file are in one shard.

    Every machine must find the same split. So it follows from the ids and times of the clips and from which of them
    share a file; not from their order, nor from what exists on the disk, nor from where that is. A clip without an end
    therefore counts as the mean of those with one, or as much as any other where none has an end.
    """
    paths = [composed(str(clip.path)) for clip in clips]  # the Unicode form of a path depends on the disk
    lengths = [_milliseconds(clip) for clip in clips]
    known = [length for length in lengths if length is not None]
    mean = max(sum(known) // len(known), 1) if known else 1
    loads: defaultdict[str, int] = defaultdict(int)
    first: dict[str, str] = {}  # of the ids of a file: it names the file, wherever that is
    for clip, path, length in zip(clips, paths, lengths, strict=True):
        loads[path] += mean if length is None else length
        first[path] = min(first.get(path, clip.id), clip.id)
    files = sorted(loads, key=first.__getitem__)
    parts = balanced({path: loads[path] for path in files}, count)
    homes = {path: number for number, part in enumerate(parts) for path in part}
    shards: list[list[Clip]] = [[] for _ in parts]
    for clip, path in zip(clips, paths, strict=True):
        shards[homes[path]].append(clip)
    return shards


def _milliseconds(clip: Clip) -> int | None:
    """The duration of a clip, at least 1; whole numbers add up to the same in any order. None if it has no end."""
    return None if clip.end is None else max(round(1000 * (clip.end - clip.start)), 1)


def balanced(loads: Mapping[Key, float], count: int) -> list[list[Key]]:
    """Keys in `count` parts of about equal load: the largest first, always to the part with the least.

    Of equal loads the first in the mapping comes first, of equal parts the first.

    >>> balanced({"a": 1, "b": 5, "c": 3, "d": 2}, 2)
    [['b', 'a'], ['c', 'd']]
    """
    parts: list[list[Key]] = [[] for _ in range(count)]
    filled = [(0.0, number) for number in range(count)]
    for key in sorted(loads, key=lambda key: -loads[key]):
        load, number = filled[0]
        parts[number].append(key)
        heapq.heapreplace(filled, (load + loads[key], number))
    return parts

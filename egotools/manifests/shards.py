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
    files: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        files[composed(str(clip.path))].append(clip)  # the Unicode form of a path depends on the disk
    known = [each for each in map(_milliseconds, clips) if each is not None]
    mean = max(sum(known) // len(known), 1) if known else 1
    loads = {}
    for path, found in files.items():
        first = min(clip.id for clip in found)  # names the file, wherever it is
        loads[first, path] = sum(mean if length is None else length for length in map(_milliseconds, found))
    homes = {}
    for number, part in enumerate(balanced(dict(sorted(loads.items())), count)):
        homes.update({path: number for _, path in part})
    shards: list[list[Clip]] = [[] for _ in range(count)]
    for clip in clips:
        shards[homes[composed(str(clip.path))]].append(clip)
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

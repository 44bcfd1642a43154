"""What is found out about a file's sound when it is first opened: with it, the file is not read through again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypedDict

import numpy as np

from egotools.files.json_files import check_shape
from egotools.types import IntArray


@dataclass(frozen=True, eq=False)
class Part:
    """One of the files that were joined: its byte range (None: the entire file), its packets, and its times.

    `shift` seconds are added to its timestamps; the other times are seconds of the file.
    """

    place: tuple[int, int] | None
    stamps: IntArray | None  # as in `SoundIndex`
    lost: int | None  # as in `SoundIndex`
    shift: Fraction
    start: Fraction
    end: Fraction
    gaps: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class KnownSound:
    """An audio stream of a file, before it is decoded. It can be pickled."""

    parts: tuple[Part, ...]
    rate: int  # Hz, of the first frame, as the layout is
    layout: str
    can_jump: bool  # whether frames can be read from the middle of the file, without the earlier ones
    settling: float  # seconds before a sound that suffice for decoding it exactly
    damage: str = ""  # what is missing, as a message; "" if nothing is
    remarks: tuple[str, ...] = ()  # what is unusual, in sentences

    @property
    def start(self) -> float:
        """Its first second of the file."""
        return float(self.parts[0].start)

    @property
    def end(self) -> float:
        """Its last one."""
        return float(self.parts[-1].end)


class _KeptPart(TypedDict):
    place: list[int] | None
    stamps: list[int] | None
    lost: int | None
    shift: list[int]  # numerator and denominator, as of the other times
    start: list[int]
    end: list[int]
    gaps: list[list[float]]


class KeptSound(TypedDict):
    """A `KnownSound` as JSON values."""

    parts: list[_KeptPart]
    rate: int
    layout: str
    can_jump: bool
    settling: float
    damage: str
    remarks: list[str]


def as_json(sound: KnownSound) -> KeptSound:
    """As JSON values."""
    parts = [
        _KeptPart(
            place=None if part.place is None else list(part.place),
            stamps=None if part.stamps is None else part.stamps.tolist(),
            lost=part.lost,
            shift=[*part.shift.as_integer_ratio()],
            start=[*part.start.as_integer_ratio()],
            end=[*part.end.as_integer_ratio()],
            gaps=[list(gap) for gap in part.gaps],
        )
        for part in sound.parts
    ]
    return KeptSound(
        parts=parts,
        rate=sound.rate,
        layout=sound.layout,
        can_jump=sound.can_jump,
        settling=sound.settling,
        damage=sound.damage,
        remarks=list(sound.remarks),
    )


def from_json(kept: Mapping[str, Any]) -> KnownSound:  # Any: JSON values
    """What `as_json` gave.

    Raises:
        ValueError: it is something else.
    """
    check_shape(kept, KeptSound)
    parts = tuple(_part(each) for each in kept["parts"])
    if not parts or kept["rate"] < 1:
        raise ValueError("a sound without a part or a rate")
    told = {name: kept[name] for name in ("rate", "layout", "can_jump", "settling", "damage")}
    return KnownSound(parts, **told, remarks=tuple(kept["remarks"]))


def _part(kept: _KeptPart) -> Part:
    place, stamps = kept["place"], kept["stamps"]
    shift, start, end = (_fraction(kept[name]) for name in ("shift", "start", "end"))
    return Part(
        place=None if place is None else _pair(place),
        stamps=None if stamps is None else np.array(stamps, np.int64),
        lost=kept["lost"],
        shift=shift,
        start=start,
        end=end,
        gaps=tuple(_pair(gap) for gap in kept["gaps"]),
    )


def _pair(values: list[Any]) -> tuple[Any, Any]:  # Any: int or float
    if len(values) != 2:
        raise ValueError(f"{values} are not two")
    return values[0], values[1]


def _fraction(values: list[int]) -> Fraction:
    above, below = _pair(values)
    if below < 1:
        raise ValueError(f"{values} are no fraction")
    return Fraction(above, below)

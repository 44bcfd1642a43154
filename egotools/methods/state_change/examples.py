"""Clips with the rows of their positions, from a manifest and caches. Axes: C clips, P positions, D features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.manifests.table import read_manifest
from egotools.methods.state_change.frames import POSITIONS, Sampling, nearest_position, position_frames, rows_of_times
from egotools.metrics.keyframes import frame_rates
from egotools.tables.clip_rows import clip_rows
from egotools.tables.table import Mask, read_table
from egotools.texts import counted, named, split_name
from egotools.types import Clip, IntArray

AT = {"reference": "picks", "exact": "steps"}  # what `avid-video --at` calls these positions
UNKNOWN = -1  # the state of a clip without label
NAMED = 3
ROW = 0.5  # seconds that a row shows: half of it away, the position is in it, however short the clip
MADE = "'egotools manifest ego4d --task state-change' makes such manifests"
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Examples:
    """Clips that have a row for each position."""

    clips: list[Clip]
    features: npt.NDArray[np.float32]  # [C, P, D]
    states: IntArray  # [C] 1: the state changes, 0: it does not, -1: unknown
    start: IntArray  # [C] frames of the whole video
    end: IntArray  # [C]
    keyframe: Values  # [C] the frame of the change, NaN if there is none
    positions: IntArray  # [C] the position nearest to it, 0 if there is none
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def fps(self) -> Values:
        """Frames per second [C], as the reference counts them."""
        return frame_rates(self.start, self.end, np.array([_seconds(clip) for clip in self.clips]))

    @property
    def is_labeled(self) -> Mask:
        """Which clips [C] have a label."""
        return np.asarray(self.states != UNKNOWN, bool)

    def only(self, clips: Mask) -> Examples:
        """The clips of a mask [C]."""
        arrays = ("features", "states", "start", "end", "keyframe", "positions")
        kept = [clip for clip, is_kept in zip(self.clips, clips.tolist(), strict=True) if is_kept]
        return replace(self, clips=kept, **{name: getattr(self, name)[clips] for name in arrays})


@dataclass(frozen=True)
class _Label:
    start: int
    end: int
    state: int
    keyframe: float


def read_examples(manifest: Path, caches: Sequence[Path], sampling: Sampling) -> Examples:
    """The clips of a manifest of state changes, each position with the cached row whose window's middle is nearest.

    Clips of fewer than P frames, and those without a row within half the distance of two positions, or 0.25 s if that
    is more, are left out and named in the remarks.

    Args:
        manifest: of `egotools manifest ego4d --task state-change`.
        caches: with rows of about 0.5 s, evenly spaced over the clip; several are concatenated.
        sampling: which frames are the positions.

    Raises:
        TableError: no clip can be used, or the manifest is none of state changes; the column is named.
    """
    table = read_table(manifest, caches, reduce=None, labels=())
    rows, found, short, apart = clip_rows(table), [], [], []
    for clip in read_manifest(manifest):
        if clip.id not in rows:
            continue
        label, times = _label(clip, manifest), table.times[rows[clip.id]]
        if label.end - label.start < POSITIONS:
            short.append(clip.id)
            continue
        frames, seconds = position_frames(label.start, label.end, sampling), _seconds(clip)
        frame = seconds / (label.end - label.start)  # how long one lasts: windows begin with one
        shown = clip.start + (frames - label.start) * frame
        at = rows_of_times(shown, times, max(seconds / POSITIONS, ROW) / 2 + frame)
        if at is None:
            apart.append(clip.id)
            continue
        position = 0 if np.isnan(label.keyframe) else nearest_position(frames, int(label.keyframe))
        found.append((replace(clip, split=split_name(clip.split)), label, rows[clip.id].start + at, position))
    remarks = [*table.remarks, *_left_out(short, apart, caches, sampling)]
    if not found:
        raise TableError(f"{manifest}: no clip can be used: {'; '.join(remarks)}")
    clips, labels, numbers, positions = zip(*found, strict=True)
    return Examples(
        list(clips),
        table.values[np.stack(numbers)],
        np.array([each.state for each in labels]),
        np.array([each.start for each in labels]),
        np.array([each.end for each in labels]),
        np.array([each.keyframe for each in labels]),
        np.array(positions),
        tuple(remarks),
    )


def _left_out(short: Sequence[str], apart: Sequence[str], caches: Sequence[Path], sampling: Sampling) -> list[str]:
    remarks = []
    if short:
        remarks.append(
            f"{counted(len(short), 'clip')} of fewer than {POSITIONS} frames left out: {named(short, NAMED)}"
        )
    if apart:
        remarks.append(
            f"{counted(len(apart), 'clip')} left out, with a position without a row nearby in"
            f" {', '.join(map(str, caches))}: {named(apart, NAMED)}; 'egotools extract ... avid-video --clips"
            f" {POSITIONS} --at {AT[sampling]}' makes the rows"
        )
    return remarks


def _seconds(clip: Clip) -> float:
    assert clip.end is not None  # seen to by _label
    return clip.end - clip.start


def _label(clip: Clip, manifest: Path) -> _Label:
    """The label columns of a clip."""
    where = f"{manifest}: clip {clip.id!r}"
    if clip.end is None:
        raise TableError(f"{where} has no end; {MADE}")
    state = clip.labels.get("state_change", "").strip()
    if state not in ("", "0", "1"):
        raise TableError(f"{where}: state_change {state!r} is not 1, 0 or empty")
    start, end = (_number(clip, name, where) for name in ("start_frame", "end_frame"))
    if end <= start:
        raise TableError(f"{where}: end_frame {end} is not after start_frame {start}")
    keyframe = _number(clip, "pnr_frame", where) if state == "1" else float("nan")
    return _Label(start, end, int(state) if state else UNKNOWN, keyframe)


def _number(clip: Clip, column: str, where: str) -> int:
    if column not in clip.labels:
        raise TableError(f"{where}: the manifest has no column {column!r}; {MADE}")
    try:
        return int(clip.labels[column])
    except ValueError:
        raise TableError(f"{where}: {column} {clip.labels[column]!r} is not a whole number") from None

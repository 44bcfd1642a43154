"""Actions in their order with cached rows, and the windows of observed and coming ones.

Axes: A actions, R rows of all of them, D features, W windows, N observed and Z coming actions of a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from egotools.errors import TableError
from egotools.manifests.table import read_manifest
from egotools.methods.anticipation.options import Anticipation
from egotools.tables.clip_rows import clip_rows
from egotools.tables.table import Mask, read_table
from egotools.texts import counted, named, split_name
from egotools.types import Clip, IntArray

UNKNOWN = -1  # the class of an action without label
NAMED = 3
LABELS = ("verb_label", "noun_label")
MADE = "'egotools manifest ego4d --task anticipation' makes such manifests"


@dataclass(frozen=True, eq=False)
class Actions:
    """The actions of a manifest, and the cached rows of each."""

    clips: list[Clip]  # A
    clip_uids: tuple[str, ...]  # A
    numbers: IntArray  # [A] `action_idx`
    labels: IntArray  # [A, 2] verb and noun, -1 where unknown
    rows: npt.NDArray[np.float32]  # [R, D]
    first: IntArray  # [A] the first row
    count: IntArray  # [A] how many rows, 0 if the caches lack the action
    remarks: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[int, int]:
        """How many verbs and nouns the labels need."""
        verbs, nouns = (self.labels.max(axis=0, initial=UNKNOWN) + 1).tolist()
        return verbs, nouns


@dataclass(frozen=True, eq=False)
class Windows:
    """Numbers of actions that follow each other in a clip."""

    actions: Actions
    inputs: IntArray  # [W, N]
    targets: IntArray  # [W, Z]
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def labels(self) -> IntArray:
        """Verbs and nouns [W, Z, 2]."""
        return self.actions.labels[self.targets]

    @property
    def is_labeled(self) -> Mask:
        """Of which windows [W] all coming actions have labels."""
        found: Mask = (self.labels != UNKNOWN).all(axis=(1, 2))
        return found

    @property
    def frequent(self) -> list[int]:
        """The verb and the noun that are most often to come in labeled windows; of equally frequent ones the first."""
        return [int(np.bincount(each).argmax()) for each in self.labels.reshape(-1, 2).T]

    @property
    def last(self) -> list[Clip]:
        """The last observed action [W] of each."""
        return [self.actions.clips[number] for number in self.inputs[:, -1].tolist()]

    @property
    def names(self) -> list[str]:
        """What the challenge calls them [W]: `<clip_uid>_<action_idx>` of the last observed action."""
        numbers = self.inputs[:, -1].tolist()
        return [f"{self.actions.clip_uids[each]}_{self.actions.numbers[each]}" for each in numbers]

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all actions in them."""
        numbers = np.unique(np.concatenate([self.inputs.ravel(), self.targets.ravel()])).tolist()
        return tuple(self.actions.clips[number].id for number in numbers)

    def only(self, windows: Mask) -> Windows:
        """Those of a mask [W]."""
        return replace(self, inputs=self.inputs[windows], targets=self.targets[windows])


def read_actions(manifest: Path, caches: Sequence[Path]) -> Actions:
    """The actions of a manifest with the rows that caches have of them.

    Args:
        manifest: of `egotools manifest ego4d --task anticipation`.
        caches: with one or several rows an action; several caches are concatenated.

    Raises:
        TableError: no action has rows, or the manifest is none of actions; the column is named.
    """
    table = read_table(manifest, caches, reduce=None, labels=())
    spans = clip_rows(table)
    clips = [replace(clip, split=split_name(clip.split)) for clip in read_manifest(manifest)]
    where = [f"{manifest}: clip {clip.id!r}" for clip in clips]
    numbers = [_number(clip, "action_idx", place) for clip, place in zip(clips, where, strict=True)]
    labels = [_labels(clip, place) for clip, place in zip(clips, where, strict=True)]
    nothing = slice(0, 0)
    own = [spans.get(clip.id, nothing) for clip in clips]
    return Actions(
        clips,
        tuple(_clip_uid(clip, place) for clip, place in zip(clips, where, strict=True)),
        np.array(numbers),
        np.array(labels),
        table.values,
        np.array([each.start for each in own]),
        np.array([each.stop - each.start for each in own]),
        table.remarks,
    )


def windows_of(actions: Actions, config: Anticipation) -> Windows:
    """All windows of the actions of each clip, sorted by `action_idx`.

    Clips with too few actions, and windows of which an observed action has no row, are left out, counted, and named in
    the remarks.

    Raises:
        TableError: there is no window.
    """
    inputs, targets, short, apart, cut = [], [], [], [], 0
    span = config.inputs + config.steps
    for (_, clip), own in _by_clip(actions).items():
        ordered = own[np.argsort(actions.numbers[own], kind="stable")]
        if len(ordered) < config.shortest:
            short.append(clip)
            continue
        if (np.diff(actions.numbers[ordered]) != 1).any():
            apart.append(clip)
        found = np.lib.stride_tricks.sliding_window_view(ordered, span)
        found = found[: len(ordered) - config.shortest + 1]
        has_rows = (actions.count[found[:, : config.inputs]] > 0).all(axis=1)
        cut += int((~has_rows).sum())
        inputs.append(found[has_rows, : config.inputs])
        targets.append(found[has_rows, config.inputs :])
    remarks = _left_out(short, apart, cut, config)
    if not sum(map(len, inputs)):
        raise TableError(f"no clip has a window of {span} actions: {'; '.join([*remarks, *actions.remarks])}")
    return Windows(actions, np.concatenate(inputs), np.concatenate(targets), (*actions.remarks, *remarks))


def _by_clip(actions: Actions) -> Mapping[tuple[str, str], IntArray]:
    """The actions of each split and clip."""
    found: dict[tuple[str, str], list[int]] = {}
    for number, (clip, uid) in enumerate(zip(actions.clips, actions.clip_uids, strict=True)):
        found.setdefault((clip.split, uid), []).append(number)
    return {key: np.array(each) for key, each in found.items()}


def _left_out(short: Sequence[str], apart: Sequence[str], cut: int, config: Anticipation) -> list[str]:
    remarks = []
    if short:
        what = f"{counted(len(short), 'clip')} of fewer than {config.shortest} actions left out"
        remarks.append(f"{what}: {named(short, NAMED)}")
    if apart:
        what = f"{counted(len(apart), 'clip')} lacks" if len(apart) == 1 else f"{len(apart)} clips lack"
        remarks.append(f"{what} actions between others, whose neighbors are taken to follow: {named(apart, NAMED)}")
    if cut:
        remarks.append(f"{counted(cut, 'window')} left out: an observed action has no row in the caches")
    return remarks


def _clip_uid(clip: Clip, where: str) -> str:
    if not (found := clip.labels.get("clip_uid", "")):
        raise TableError(f"{where}: no clip_uid; {MADE}")
    return found


def _labels(clip: Clip, where: str) -> tuple[int, int]:
    verb, noun = (_number(clip, name, where) if clip.labels.get(name, "").strip() else UNKNOWN for name in LABELS)
    if (verb == UNKNOWN) != (noun == UNKNOWN):
        raise TableError(f"{where}: one of verb_label and noun_label is empty, the other is not")
    return verb, noun


def _number(clip: Clip, column: str, where: str) -> int:
    if column not in clip.labels:
        raise TableError(f"{where}: the manifest has no column {column!r}; {MADE}")
    text = clip.labels[column]
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise TableError(f"{where}: {column} {text!r} is not a whole number of 0 or more")
    return int(text)

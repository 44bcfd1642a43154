"""Synchronised views of the same recordings, cut into items that show the same times.

Axes: V views (student, teacher, perhaps a third), K chunks of an item, D features.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from egotools.errors import TableError
from egotools.manifests.table import read_manifest
from egotools.methods.two_stream.options import TwoStream
from egotools.methods.two_stream.training import Items
from egotools.tables.chunks import PooledItems
from egotools.tables.sequences import FeatureSequence, Sequences, items, paired, read_sequences
from egotools.texts import named, split_name

PAIR, TRAIN, VAL = "pair", "train", "val"
NAMED = 3

Views = tuple[FeatureSequence, ...]  # V, of equal length


@dataclass(frozen=True, eq=False)
class Pairs:
    """The items to learn from and those to validate on, and what they were read from."""

    train: list[Views]
    val: list[Views]  # those to learn from if there are no others
    caches: tuple[Path, ...]
    width: int  # D
    remarks: tuple[str, ...]

    @property
    def ids(self) -> list[str]:
        """Of the clips that are learned from, each once."""
        return list(dict.fromkeys(view.id for views in self.train for view in views))

    @property
    def recordings(self) -> list[str]:
        """That are learned from, each once."""
        return list(dict.fromkeys(views[0].recording for views in self.train))


def read_pairs(manifest: Path, caches: Sequence[Path], segments: Path | None, config: TwoStream) -> Pairs:
    """The synchronised items of a manifest: of the split pair, or else train, or else of all clips; and of val.

    Args:
        manifest: clips of a recording have it in the column `recording`, and their view in `view`.
        caches: their features are concatenated.
        segments: annotated stretches of the recordings, whose labels are not used; None: whole recordings.
        config: which views, and which rows.

    Raises:
        TableError: no recording has all views, or rows of views cannot be paired by time.
    """
    there = {split_name(clip.split) for clip in read_manifest(manifest)}
    split = next((each for each in (PAIR, TRAIN) if each in there), None)
    wanted = None if split is None else [split, *({VAL} & there)]
    found = read_sequences(manifest, caches, segments, splits=wanted, reading=config.reading)
    remarks = [*found.remarks]
    if split != PAIR:
        remarks.append(f"no clip has the split {PAIR!r}: learned from {f'the split {split}' if split else 'all clips'}")
    if segments is None and (config.span_round or config.frame_shift):
        remarks.append("--span-round and --frame-shift are about --segments: without them they change nothing")
    learned = [each for each in found.sequences if split is None or each.split == split]
    train, said = _synchronised(learned, found, config, str(manifest))
    remarks += said
    held = [] if split is None else found.of_split(VAL)
    val, said = _synchronised(held, found, config, f"{manifest}, split {VAL}") if held else ([], [])
    remarks += [f"of the split val: {each}" for each in said]
    if not held:
        remarks.append("no clip has the split 'val': validated on what is learned from, without zoom")
    if shared := {each[0].recording for each in train} & {each[0].recording for each in val}:
        remarks.append(f"{len(shared)} recordings are both learned from and in val: {named(sorted(shared), NAMED)}")
    cut = _cut(train, config)
    return Pairs(cut, _cut(val, config) or cut, found.caches, found.width, tuple(remarks))


def _synchronised(
    sequences: Sequence[FeatureSequence], found: Sequences, config: TwoStream, where: str
) -> tuple[list[Views], list[str]]:
    """The views of each sequence at the times that all of them have; remarks on what was left out."""
    groups: dict[tuple[str, str], dict[str, FeatureSequence]] = {}
    for each in sequences:
        name = "" if each.name == each.id else each.name
        views = groups.setdefault((each.recording, name), {})
        if each.view in views:
            raise TableError(
                f"{where}: recording {each.recording!r} has two clips of the view {each.view!r}:"
                f" {views[each.view].id!r} and {each.id!r}"
            )
        views[each.view] = each
    whole = {
        key: [views[view] for view in config.views] for key, views in groups.items() if {*config.views} <= {*views}
    }
    if not whole:
        (recording, _), views = next(iter(groups.items()), (("", ""), {}))
        raise TableError(
            f"{where}: no recording has rows of the views {' and '.join(config.views)} in"
            f" {', '.join(map(str, found.caches))}, such as {recording!r} with {', '.join(views) or 'none'};"
            " views of one recording need the same text in the column 'recording'"
        )
    remarks = []
    if lacking := sorted({recording for recording, _ in groups.keys() - whole.keys()}):
        remarks.append(
            f"{len(groups) - len(whole)} sequences without all of the views {', '.join(config.views)} left out, of the"
            f" recordings {named(lacking, NAMED)}"
        )
    common = [_common(views) for views in whole.values()]
    cut = [
        (views[0].recording, sum(map(len, views)) - len(kept) * len(kept[0]))
        for views, kept in zip(whole.values(), common, strict=True)
    ]
    if shorter := [(recording, rows) for recording, rows in cut if rows]:
        recordings = list(dict.fromkeys(recording for recording, _ in shorter))
        remarks.append(
            f"{sum(rows for _, rows in shorter)} rows left out at times that not all views have, in {len(shorter)} of"
            f" {len(common)} sequences: {named(recordings, NAMED)}"
        )
    return common, remarks


def _common(views: Sequence[FeatureSequence]) -> Views:
    """The rows at the times that all views have."""
    first, kept = views[0], list[FeatureSequence]()
    for other in views[1:]:
        first, _ = paired(first, other)
    for other in views[1:]:
        kept.append(paired(first, other)[1])
    return first, *kept


def _cut(sequences: Sequence[Views], config: TwoStream) -> list[Views]:
    """Each sequence as items that fit into the slots, all views at the same rows."""
    rows = config.chunk * config.slots
    return [parts for views in sequences for parts in zip(*(items(view, rows) for view in views), strict=True)]


@contextmanager
def pooled_views(pairs: Sequence[Views], caches: Sequence[Path], folder: Path) -> Iterator[Items]:
    """The chunks of all views, in a table a view, which is in the folder until this is left."""
    with ExitStack() as stack:
        tables = [
            stack.enter_context(PooledItems(view, caches, folder.with_name(f"{folder.name}-{number}")))
            for number, view in enumerate(zip(*pairs, strict=True))
        ]
        yield Items([len(views[0]) for views in pairs], lambda item, chunk: [table(item, chunk) for table in tables])

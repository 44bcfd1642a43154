"""The CSV lists of MemDPC (and DPC, CoCLR): folders of frames with their numbers of frames, without a header.

Source:
    Han, Xie, Zisserman, "Memory-augmented Dense Predictive Coding for Video Representation Learning", ECCV 2020.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from egotools.config import check_positive, option
from egotools.datasets.action_clips import (
    MOST,
    VAL_FROM,
    Entry,
    Held,
    check_held,
    checked_name,
    clips_of,
    frames_in,
)
from egotools.datasets.clips import DatasetClips
from egotools.errors import ManifestError
from egotools.files.text_files import numbered_lines
from egotools.texts import is_whole, named

KINETICS = ("train_split", "val_split")  # folders above the classes


@dataclass(frozen=True)
class MemDPCLists:
    """MemDPC's CSV lists of folders of frames: `<...>/<class>/<name>/,<frames>` a line.

    The folders are looked for below ROOT by their last two names (three where the first of these is train_split or
    val_split), so that lists of another machine can be used. The label is the class.

    \b
    egotools manifest memdpc-lists ROOT --train train_split01.csv --test test_split01.csv --out u.csv
    """

    train: Path | None = option(None, "List of train.")  # noqa: RUF009 - frozen
    val: Path | None = option(None, "List of val.")  # noqa: RUF009 - frozen
    test: Path | None = option(None, "List of test.")  # noqa: RUF009 - frozen
    val_from: Literal["none", "train", "test"] = option("none", VAL_FROM)
    val_share: float = option(0.1, "Fraction of train that --val-from train holds out.")
    val_seed: int = option(0, "Seed of what is held out (the reference's: 0, of Kinetics 666).")
    fps: float = option(25.0, "Frame rate of the folders.")

    def __post_init__(self) -> None:
        if self.train is None and self.val is None and self.test is None:
            raise ValueError("--train is needed, or --val or --test")
        if self.val is not None and self.val_from != "none":
            raise ValueError("--val-from is for lists without --val")
        check_held(self.val_share)
        check_positive(self, "fps")

    def clips(self, root: Path) -> DatasetClips:
        """The clips with the label `label`; frames are counted where the list is wrong.

        Raises:
            ManifestError: lists that cannot be used, or not a single folder.
        """
        lists = {"train": self.train, "val": self.val, "test": self.test}
        entries = [entry for split, path in lists.items() if path for entry in _entries(path, split)]
        counts = {entry.id: frames_in(root / entry.place) for entry in entries if (root / entry.place).is_dir()}
        wrong = [entry.id for entry in entries if counts.get(entry.id, entry.frames) != entry.frames]
        short = [id for id, count in counts.items() if count <= MOST]
        remarks = [f"{len(wrong)} folders have other numbers of frames than listed: {named(wrong, 3)}"] if wrong else []
        remarks += [f"{len(short)} folders have {MOST} frames or fewer, which the reference drops"] if short else []
        entries = [replace(entry, frames=counts.get(entry.id, entry.frames)) for entry in entries]
        return clips_of(
            entries, root, Held(self.val_from, self.val_share, self.val_seed), fps=self.fps, remarks=remarks
        )


def _entries(path: Path, split: str) -> Iterator[Entry]:
    """The lines `<folder>,<frames>`, with or without a slash at the folder's end; names may hold commas."""
    found = False
    for row, line in numbered_lines(path):
        if not line.strip():
            continue
        found, where = True, f"{path}, row {row}"
        place, comma, count = line.strip().rpartition(",")
        parts = PurePosixPath(place.strip().strip('"')).parts
        if not comma or not is_whole(count.strip()) or len(parts) < 2:
            raise ManifestError(f"{where}: {line.strip()!r} is not a folder <class>/<name> and its number of frames")
        label, name = (checked_name(part, where) for part in parts[-2:])
        above = f"{parts[-3]}/" if len(parts) > 2 and parts[-3] in KINETICS else ""
        yield Entry(f"{label}/{name}", f"{above}{label}/{name}", "", label, split, where, frames=int(count))
    if not found:
        raise ManifestError(f"{path}: the list is empty")

"""Kinetics-400: ten-second clips in class folders, and CSV lists.

Source:
    Kay et al., "The Kinetics Human Action Video Dataset", arXiv 1705.06950.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from egotools.config import option
from egotools.datasets.action_clips import VAL_FROM, Entry, Held, check_official, checked_name, clips_of, file_of
from egotools.datasets.clips import DatasetClips
from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.texts import is_whole

COLUMNS = ("label", "youtube_id", "time_start", "time_end")
FOLDERS = {"train": ("train_split", "train"), "val": ("val_split", "val")}
LISTS = {
    "train": ("train.csv", "kinetics_train.csv", "kinetics-400_train.csv", "kinetics400_train.csv"),
    "val": ("val.csv", "validate.csv", "kinetics_val.csv", "kinetics-400_val.csv", "kinetics400_val.csv"),
}


@dataclass(frozen=True)
class Kinetics:
    """Kinetics: ROOT/{train_split,val_split}/<class>/<youtube_id>_<start>_<end>.mp4, or folders of frames.

    Splits are those of the official lists, train.csv and val.csv. Where val is held out of train, or drawn from the
    official val list, that list is test.

    \b
    egotools manifest kinetics ROOT --lists LISTS --out k.csv
    egotools manifest kinetics ROOT --lists LISTS --val-from test --out k.csv
    """

    lists: Path | None = option(None, "Folder of train.csv and val.csv.")  # noqa: RUF009 - frozen
    val_from: Literal["none", "train", "test"] = option("none", VAL_FROM)
    val_share: float = option(0.1, "Fraction of train that --val-from train holds out.")
    val_seed: int = option(666, "Seed of what is held out.")
    fps: float = option(30.0, "Frame rate of folders of frames.")

    def __post_init__(self) -> None:
        check_official(self.lists, self.fps, self.val_share)

    def clips(self, root: Path) -> DatasetClips:
        """The clips with the label `label`.

        Raises:
            ManifestError: lists that cannot be used, or not a single video.
        """
        entries: list[Entry] = []
        for name in ("train", "val"):
            path = file_of(self.lists or root, *LISTS[name])
            split = "test" if name == "val" and self.val_from != "none" else name
            folder = next((each for each in FOLDERS[name] if (root / each).is_dir()), FOLDERS[name][0])
            entries += _entries(path, root / folder, folder, split)
        return clips_of(entries, root, Held(self.val_from, self.val_share, self.val_seed), fps=self.fps)


def _entries(path: Path, root: Path, folder: str, split: str) -> Iterator[Entry]:
    """The rows; a class's folder may have underscores where the class has spaces."""
    columns, rows = read_csv(path, known=COLUMNS)
    if lacking := [name for name in COLUMNS if name not in columns]:
        raise ManifestError(f"{path}: no column {lacking[0]!r}; it has {', '.join(columns)}")
    folders: dict[str, str] = {}
    for row, cells in rows:
        where = f"{path}, row {row}"
        label = checked_name(cells["label"].strip(), where)
        if label not in folders:
            bare = label.replace(" ", "_")
            folders[label] = bare if (root / bare).is_dir() and not (root / label).is_dir() else label
        times = [cells[name].strip() for name in COLUMNS[2:]]
        if not all(map(is_whole, times)):
            raise ManifestError(f"{where}: {' and '.join(map(repr, times))} are not whole seconds")
        name = f"{checked_name(cells['youtube_id'].strip(), where)}_{int(times[0]):06d}_{int(times[1]):06d}"
        yield Entry(f"{label}/{name}", f"{folder}/{folders[label]}/{name}", ".mp4", label, split, where)

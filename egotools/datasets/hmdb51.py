"""HMDB51: videos in class folders, and three splits with a file for each class.

Source:
    Kuehne et al., "HMDB: A Large Video Database for Human Motion Recognition", ICCV 2011.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from egotools.config import option
from egotools.datasets.action_clips import VAL_FROM, Entry, Held, check_official, checked_name, clips_of
from egotools.datasets.clips import DatasetClips
from egotools.errors import ManifestError
from egotools.files.text_files import numbered_lines

FOLDER = "testTrainMulti_7030_splits"
CLASSES = 51
SPLITS = {"0": "", "1": "train", "2": "test"}  # by the number behind a name; "": of neither


@dataclass(frozen=True)
class HMDB51:
    """HMDB51: ROOT/<class>/<name>.avi, or folders of frames of these names; the official lists make the splits.

    The label is the class. Videos of neither train nor test are left out.

    \b
    egotools manifest hmdb51 ROOT --lists testTrainMulti_7030_splits --split 1 --out h.csv
    """

    lists: Path | None = option(None, "Folder of <class>_test_split1.txt, ...")  # noqa: RUF009 - frozen
    split: int = option(1, "Which of the three splits.")
    val_from: Literal["none", "train", "test"] = option("none", VAL_FROM)
    val_share: float = option(0.1, "Fraction of train that --val-from train holds out.")
    val_seed: int = option(0, "Seed of what is held out.")
    fps: float = option(30.0, "Frame rate of folders of frames.")

    def __post_init__(self) -> None:
        check_official(self.lists, self.fps, self.val_share, self.split)

    def clips(self, root: Path) -> DatasetClips:
        """The clips with the label `label`, in the order of the lists, classes sorted.

        Raises:
            ManifestError: lists that cannot be used, or not a single video.
        """
        folder = self.lists or root
        folder = folder / FOLDER if (folder / FOLDER).is_dir() else folder
        end = f"_test_split{self.split}.txt"
        paths = sorted(path for path in folder.iterdir() if path.name.endswith(end)) if folder.is_dir() else []
        paths = [path for path in paths if not path.name.startswith(".")]
        if not paths:
            raise ManifestError(f"{folder}: no <class>{end}; is this the folder of the lists?")
        remarks = [] if len(paths) == CLASSES else [f"{folder}: lists of {len(paths)} classes, not of {CLASSES}"]
        entries = [entry for path in paths for entry in _entries(path, path.name.removesuffix(end))]
        held = Held(self.val_from, self.val_share, self.val_seed)
        return clips_of(entries, root, held, fps=self.fps, remarks=remarks)


def _entries(path: Path, label: str) -> Iterator[Entry]:
    """The lines `<name>.avi <number>` of train and test."""
    for row, line in numbered_lines(path):
        if not line.strip():
            continue
        where = f"{path}, row {row}"
        name, _, number = line.strip().rpartition(" ")
        name = name.strip()
        if number not in SPLITS or not name.lower().endswith(".avi"):
            raise ManifestError(f"{where}: {line.strip()!r} is not <name>.avi and 0, 1 or 2")
        if split := SPLITS[number]:
            place = f"{checked_name(label, where)}/{checked_name(name, where)[:-4]}"
            yield Entry(place, place, name[-4:], label, split, where)

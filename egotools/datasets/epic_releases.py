"""Which files and columns the releases of EPIC-KITCHENS' annotations have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ReleaseName = Literal["100", "55", "sounds"]
TIMES = ("participant_id", "video_id", "start_timestamp", "stop_timestamp")


@dataclass(frozen=True)
class Release:
    """The files of a release by split, and the columns of a row."""

    files: Mapping[str, tuple[str, ...]]
    id: str  # the column of ids
    classes: Mapping[str, int]  # columns that hold numbers of classes: how many there are
    labeled: tuple[str, ...]  # columns of train and val; test has none
    described: tuple[str, ...]  # columns that become labels where they are there
    unseen: str = ""  # the file of kitchens that are not in train

    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(name for names in self.files.values() for name in names))

    @property
    def others(self) -> str:
        """The splits beside train, in words."""
        return " or ".join({"val": "validation"}.get(split, split) for split in self.files if split != "train")

    def needed(self, split: str) -> tuple[str, ...]:
        """The columns that a file of a split must have."""
        return (self.id, *TIMES, *(self.labeled if split != "test" else ()))

    def subsets(self, name: str) -> dict[str, str]:
        """The columns of subsets that the name of a file says."""
        return {"subset_unseen": str(int(name == self.unseen))} if self.unseen else {}


ACTIONS = ("verb", "verb_class", "noun", "noun_class")
RELEASES: dict[ReleaseName, Release] = {
    "100": Release(
        {
            "train": ("EPIC_100_train.csv",),
            "val": ("EPIC_100_validation.csv",),
            "test": ("EPIC_100_test_timestamps.csv",),
        },
        "narration_id",
        {"verb_class": 97, "noun_class": 300},
        ACTIONS,
        ("narration",),
    ),
    "55": Release(
        {
            "train": ("EPIC_train_action_labels.csv",),
            "test": ("EPIC_test_s1_timestamps.csv", "EPIC_test_s2_timestamps.csv"),
        },
        "uid",
        {"verb_class": 125, "noun_class": 352},
        ACTIONS,
        ("narration",),
        unseen="EPIC_test_s2_timestamps.csv",
    ),
    "sounds": Release(
        {
            "train": ("EPIC_Sounds_train.csv",),
            "val": ("EPIC_Sounds_validation.csv",),
            "test": ("EPIC_Sounds_recognition_test_timestamps.csv",),
        },
        "annotation_id",
        {"class_id": 44},
        ("class", "class_id"),
        ("description",),
    ),
}

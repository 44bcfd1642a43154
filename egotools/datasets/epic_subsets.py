"""The subsets of EPIC-KITCHENS-100 that results are reported on: head and tail classes, unseen participants."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.texts import is_whole

SUBSETS = ("subset_head", "subset_tail", "subset_unseen")
TAIL = {"verb": "EPIC_100_tail_verbs.csv", "noun": "EPIC_100_tail_nouns.csv"}
UNSEEN = {"val": "EPIC_100_unseen_participant_ids_validation.csv", "test": "EPIC_100_unseen_participant_ids_test.csv"}
PUBLISHED = {"val": ("P18", "P32")}  # where the list is not there


@dataclass(frozen=True)
class Subsets:
    """Which classes are of the tail, and which participants of val and test are not in train.

    Right: an action is of the head if neither its verb nor its noun is of the tail, of the tail if one of them is.
    As the reference's code has it: of the head if one of them is not of the tail, and every action is of unseen
    participants.
    """

    tail: Mapping[str, frozenset[str]]  # numbers of classes, of "verb" and "noun"; empty: the lists are not there
    unseen: Mapping[str, frozenset[str]]  # participants by split
    is_reference: bool = False
    remarks: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, root: Path, *, is_reference: bool) -> "Subsets":
        """From the lists beside the annotations; remarks on those that are not there.

        Raises:
            ManifestError: a list without its column, or with something else than numbers of classes.
        """
        remarks, gone = [], [name for name in TAIL.values() if not (root / name).is_file()]
        if gone:
            remarks.append(f"{' and '.join(gone)} not in {root}: no columns subset_head and subset_tail")
        tail = {} if gone else {what: _listed(root / name, what, is_class=True) for what, name in TAIL.items()}
        unseen = {what: frozenset(people) for what, people in PUBLISHED.items()}
        for split, name in UNSEEN.items():
            if (root / name).is_file():
                unseen[split] = _listed(root / name, "participant_id", is_class=False)
            elif split in PUBLISHED:
                remarks.append(f"{name} not in {root}: unseen are {' and '.join(PUBLISHED[split])}, as published")
        return cls(tail, unseen, is_reference, remarks)

    @property
    def names(self) -> Collection[str]:
        """The columns that there are."""
        return SUBSETS if self.tail else SUBSETS[2:]

    def of(self, split: str, labels: Mapping[str, str], *, is_reference: bool | None = None) -> dict[str, str]:
        """1 or 0 by column for an action, empty where it is not known, as of head and tail without classes."""
        by_reference = self.is_reference if is_reference is None else is_reference
        is_unseen = by_reference or labels["participant"] in self.unseen.get(split, ())
        is_known = split == "train" or split in self.unseen or by_reference
        unseen = {"subset_unseen": str(int(is_unseen)) if is_known else ""}
        if not self.tail:
            return unseen
        if "verb_class" not in labels:
            return {"subset_head": "", "subset_tail": "", **unseen}
        of_tail = [labels[f"{what}_class"] in self.tail[what] for what in TAIL]
        is_head = not all(of_tail) if by_reference else not any(of_tail)
        return {"subset_head": str(int(is_head)), "subset_tail": str(int(any(of_tail))), **unseen}


def _listed(path: Path, column: str, *, is_class: bool) -> frozenset[str]:
    """The values of a list's column; numbers of classes without leading zeros."""
    columns, rows = read_csv(path)
    if column not in columns:
        raise ManifestError(f"{path}: no column {column!r}; there are {', '.join(columns)}")
    found = set()
    for number, cells in rows:
        text = cells[column].strip()
        if not text or (is_class and not is_whole(text)):
            raise ManifestError(
                f"{path}, row {number}, column {column!r}: {text!r} is not "
                + ("the number of a class" if is_class else "a participant")
            )
        found.add(str(int(text)) if is_class else text)
    return frozenset(found)

"""What datasets of long recordings share: videos, or folders of their frames, below a folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from egotools.datasets.clips import DatasetClips, check_differ
from egotools.errors import ManifestError
from egotools.files.disk import walk
from egotools.manifests.folders import FolderItem, list_places
from egotools.media.numbering import frame_numbers
from egotools.media.stills import IMAGE_SUFFIXES
from egotools.texts import named
from egotools.types import Clip

NAMED = 3


@dataclass
class Recordings:
    """Videos and folders of frames, folders without either, and what is to be said."""

    root: Path
    found: list[FolderItem]
    missing: list[str]
    remarks: list[str] = field(default_factory=list)

    def say(self, names: Iterable[str], what: str) -> None:
        """Adds a remark that counts and names, unless there is nothing to name."""
        if listed := list(names):
            self.remarks.append(f"{len(listed)} {what}: {named(listed, NAMED)}")

    def clips(self, id_of: Callable[[FolderItem], str], fps: float) -> DatasetClips:
        """One clip a recording, in their order; remarks on frames whose numbers do not count from 0 without gaps.

        Raises:
            ManifestError: two recordings of one id.
        """
        folders = [item for item in self.found if item.kind == "frames"]
        if folders:
            self.remarks.append(
                f"{len(folders)} of {len(self.found)} recordings are folders of frames, taken at {fps:g} a second"
                " (--fps)"
            )
        numbers = {item.name: _numbers(item.path) for item in folders}
        self.say((name for name, has in numbers.items() if has and has[0] != 0), "folders do not begin with number 0")
        self.say(
            (name for name, has in numbers.items() if has and has[-1] - has[0] + 1 != len(has)),
            "folders lack numbers in between, so that frames are missing",
        )
        self.say(
            (name for name, has in numbers.items() if not has), "folders have frames whose names are no running numbers"
        )
        clips = [
            Clip(id_of(item), item.path.absolute(), fps=fps if item.kind == "frames" else None) for item in self.found
        ]
        check_differ(clips, self.root)
        return DatasetClips(clips, self.missing, self.remarks)


def recordings_in(root: Path, suffixes: Iterable[str]) -> Recordings:
    """The recordings below a folder; a folder with images is one of frames.

    Args:
        root: a folder; images that lie directly in it are ignored.
        suffixes: of videos, in lower case; others are ignored.

    Raises:
        ManifestError: no such folder, or not a single recording in it.
    """
    if not root.is_dir():
        raise ManifestError(f"{root}: not a folder")
    listing = list_places([root], pictures="frames")
    kept, others = [], list(listing.ignored)
    for item in listing.found:
        is_one = (item.kind == "frames" and item.name != ".") or (
            item.kind == "video" and item.path.suffix.lower() in suffixes
        )
        if is_one:
            kept.append(item)
        else:
            others.append("images" if item.name == "." else item.name)
    if not kept:
        raise ManifestError(f"{root}: no videos ({', '.join(suffixes)}) and no folders of frames")
    found = Recordings(root, kept, [*_empty_folders(root), *(str(root / left) for left in listing.left_out)])
    found.say(others, "files of other kinds ignored")
    found.say(listing.refused, "links lead out of the folder, and are not followed")
    return found


def _empty_folders(root: Path) -> list[str]:
    """Folders in which there is nothing, whose frames must have been lost."""
    return [str(folder) for folder, names in walk(root, [], unlisted=[]) if not names and not any(folder.iterdir())]


def _numbers(folder: Path) -> list[int]:
    """The numbers of a folder's images, ascending; empty if their names differ in more than that."""
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."]
    return sorted(frame_numbers(names) or [])

"""KrishnaCam: nine months of a person's walks, as videos or as folders of frames.

Source:
    Singh, Fatahalian, Efros, "KrishnaCam: Using a Longitudinal, Single-Person, Egocentric Dataset for Scene
    Understanding Tasks", WACV 2016.
"""

from dataclasses import dataclass
from pathlib import Path

from egotools.config import check_positive, option
from egotools.datasets.clips import DatasetClips
from egotools.datasets.streams import recordings_in
from egotools.errors import ManifestError
from egotools.manifests.folders import FolderItem

SUFFIXES = (".mp4", ".avi")


@dataclass(frozen=True)
class KrishnaCam:
    """KrishnaCam: .mp4 and .avi files below ROOT, or folders of frames, sorted by path.

    Ids are names up to their first dot, as of the folders that Memory Storyboard's script makes.

    \b
    egotools manifest krishnacam ROOT --out kcam.csv
    egotools frames --manifest kcam.csv --fps 10 --height 256 --out frames/kcam
    """

    first: int = option(0, "Number of the first recording, from 0.")
    end: int = option(500, "Number of the recording before which to end, as the reference does.")
    fps: float = option(10.0, "Frame rate of folders of frames.")

    def __post_init__(self) -> None:
        check_positive(self, "fps")
        if not 0 <= self.first < self.end:
            raise ValueError(f"--first must be 0 or more and below --end, not {self.first} and {self.end}")

    def clips(self, root: Path) -> DatasetClips:
        """The recordings, without labels.

        Raises:
            ManifestError: not a single one, or two of one name.
        """
        found = recordings_in(root, SUFFIXES)
        everything = sorted(found.found, key=lambda item: item.name)
        found.found = everything[self.first : self.end]
        if not found.found:
            raise ManifestError(f"{root}: has {len(everything)} recordings, none from --first {self.first} on")
        if len(found.found) < len(everything):
            left = [item.name for item in (*everything[: self.first], *everything[self.end :])]
            found.say(left, f"recordings of {len(everything)} left out (--first {self.first}, --end {self.end})")
        return found.clips(_id, self.fps)


def _id(item: FolderItem) -> str:
    """The path below the root, the name up to its first dot."""
    path = Path(item.name)
    name = path.name if item.kind == "frames" else path.name.partition(".")[0]
    return (path.parent / (name or path.name)).as_posix()

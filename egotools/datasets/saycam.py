"""SAYCam: hours of video from the heads of three children, as videos or as folders of frames.

Source:
    Sullivan, Mei, Perfors, Wojcik, Frank, "SAYCam: A Large, Longitudinal Audiovisual Dataset Recorded From the Infant's
    Perspective", Open Mind 2021.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from egotools.config import check_positive, option
from egotools.datasets.clips import DatasetClips
from egotools.datasets.streams import recordings_in
from egotools.errors import ManifestError
from egotools.manifests.folders import FolderItem
from egotools.media.video import VIDEO_SUFFIXES

NAME = re.compile(r"([ASY])_\d{8}_\w{4}_\d\d")  # child, day, time, number of the part


@dataclass(frozen=True)
class SAYCam:
    """SAYCam: ROOT/<video>/%06d.jpg from number 0, or videos, named S_YYYYMMDD_AAAA_NN.

    Rows are sorted by name, which is the order in time. The pictures are upside down as stored: see --vertical-flip
    of 'egotools train storyboard'.

    \b
    egotools manifest saycam ROOT --out saycam.csv
    """

    child: Literal["S", "A", "Y", "all"] = option("S", "Whose recordings.")
    fps: float = option(25.0, "Frame rate of folders of frames.")

    def __post_init__(self) -> None:
        check_positive(self, "fps")

    def clips(self, root: Path) -> DatasetClips:
        """The recordings, without labels.

        Raises:
            ManifestError: not a single one, or two of one name.
        """
        found = recordings_in(root, VIDEO_SUFFIXES)
        names = {item.name: NAME.fullmatch(_name(item)) for item in found.found}
        found.say(
            (name for name, match in names.items() if match is None),
            "recordings left out, not named as S_20130719_1410_01",
        )
        others = [name for name, match in names.items() if match and self.child not in (match[1], "all")]
        found.say(others, f"recordings of other children left out (--child {self.child})")
        kept = [item for item in found.found if names[item.name] and item.name not in others]
        if not kept:
            raise ManifestError(f"{root}: {'; '.join(found.remarks)}; nothing is left")
        found.found = sorted(kept, key=_name)
        return found.clips(_name, self.fps)


def _name(item: FolderItem) -> str:
    return Path(item.stem).name

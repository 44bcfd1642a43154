"""Videos below a folder by their names without suffix, in whatever folders they are."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from egotools.errors import ManifestError
from egotools.files.disk import walk
from egotools.media.video import VIDEO_SUFFIXES
from egotools.texts import named

NAMED = 3


@dataclass(frozen=True)
class VideoNames:
    """The videos below a folder. A name that several files have is refused when it is asked for."""

    root: Path
    paths: Mapping[str, list[Path]]
    remarks: list[str]

    @classmethod
    def below(cls, root: Path) -> "VideoNames":
        """All videos below a folder; links are followed, folders that cannot be listed are remarked on.

        Raises:
            ManifestError: no such folder.
        """
        if not root.is_dir():
            raise ManifestError(f"{root}: not a folder")
        paths: dict[str, list[Path]] = {}
        unlisted: list[str] = []
        for folder, files in walk(root, [], follow_links=True, unlisted=unlisted):
            for name in files:
                path = folder / name
                if path.suffix.lower() in VIDEO_SUFFIXES:
                    paths.setdefault(path.stem, []).append(path.absolute())
        said = [f"{len(unlisted)} folders cannot be listed: {named(unlisted, NAMED)}"] if unlisted else []
        return cls(root, paths, said)

    def find(self, name: str) -> Path | None:
        """The video of a name without suffix; None if there is none.

        Raises:
            ManifestError: several files have it.
        """
        found = sorted(self.paths.get(name, ()))
        if len(found) > 1:
            raise ManifestError(
                f"{self.root}: {len(found)} files are named {name!r}: {named([*map(str, found)], NAMED)}; take the"
                " others away, or give a folder with one of them"
            )
        return found[0] if found else None

    def like(self, pattern: re.Pattern[str]) -> list[str]:
        """The names that match a pattern as a whole, sorted."""
        return sorted(name for name in self.paths if pattern.fullmatch(name))

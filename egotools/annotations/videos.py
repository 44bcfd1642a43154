"""The videos that annotations may be about, found by what the annotations call them."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from egotools.errors import ManifestError
from egotools.manifests.check import is_sound
from egotools.manifests.folders import clips_of, list_folder
from egotools.manifests.table import read_manifest
from egotools.media.audio import SOUND_SUFFIXES
from egotools.media.video import VIDEO_SUFFIXES
from egotools.texts import composed, named, similar_names
from egotools.types import Clip

SUFFIXES = (*VIDEO_SUFFIXES, *SOUND_SUFFIXES)
NAMED = 3


class Videos:
    """Clips by id, by the name of their file, and by that name without suffix.

    A path of another machine is matched by its name; its folders only decide between files of one name. Clips of one
    `recording`, a label, are its views.
    """

    def __init__(self, clips: Sequence[Clip], source: Path, *, left_out: Sequence[str] = ()) -> None:
        self.clips, self.source, self.left_out = list(clips), source, list(left_out)
        self._by_id = {clip.id: clip for clip in clips}
        self._by_name: dict[str, list[Clip]] = {}
        self._by_stem: dict[str, list[Clip]] = {}
        self._views: dict[str, list[Clip]] = {}
        for clip in clips:
            if clip.path != Path():
                self._by_name.setdefault(composed(clip.path.name), []).append(clip)
                self._by_stem.setdefault(composed(_stem(clip.path.name)), []).append(clip)
            if clip.labels.get("recording"):
                self._views.setdefault(composed(clip.labels["recording"]), []).append(clip)

    @classmethod
    def of_folder(cls, folder: Path, fps: float | None = None) -> "Videos":
        """The videos, frame folders and sound files below a folder, each as a whole; links do not lead out of it.

        Raises:
            ManifestError: it cannot be listed, or holds none.
        """
        listing = list_folder(folder)
        found = [item for item in listing.found if item.kind != "image"]
        if not found:
            raise ManifestError(f"{folder}: no videos, frame folders, sound files or stacks")
        clips = clips_of(found, fps=fps)
        named = [replace(clip, labels={"video": clip.labels["video"]}) for clip in clips]
        return cls(named, folder, left_out=[f"{link}: a link out of the folder" for link in listing.refused])

    @classmethod
    def of_manifest(cls, manifest: Path) -> "Videos":
        """The clips of a manifest.

        Raises:
            ManifestError: it cannot be used.
        """
        return cls(read_manifest(manifest), manifest)

    def find(self, name: str) -> Clip:
        """The clip that annotations call `name`.

        Raises:
            ManifestError: there is none, or more than one; without the name of a file of annotations.
        """
        found = self._candidates(name)
        if len(found) > 1:
            paths = [str(clip.path) for clip in found]
            places = named(paths if len({*paths}) == len(paths) else [clip.id for clip in found], NAMED)
            raise ManifestError(f"{name!r} may be any of {len(found)}: {places}")
        if not found:
            raise ManifestError(repr(name) if name else "no name")
        return found[0]

    def views(self, name: str) -> list[Clip]:
        """All views of the recording that annotations call `name`, or else the clip that they call so.

        Raises:
            ManifestError: as `find`.
        """
        return self._views.get(composed(name.strip())) or [self.find(name)]

    def like(self, name: str) -> str:
        """A name that is there and resembles one that is not, or nothing. It compares with all: ask for a few only."""
        if self._candidates(name):
            return ""
        return next(iter(similar_names(_stem(_parts(composed(name))[-1]), sorted(self._by_stem), most=1)), "")

    def has(self, name: str) -> bool:
        """Whether exactly one clip, or a recording, is called so."""
        return composed(name.strip()) in self._views or len(self._candidates(name)) == 1

    def _candidates(self, name: str) -> list[Clip]:
        name = composed(name.strip())
        if name in self._by_id:
            return [self._by_id[name]]
        parts = _parts(name)
        found = self._by_name.get(name) or self._by_name.get(parts[-1]) or self._by_stem.get(name)
        found = found or self._by_stem.get(parts[-1]) or self._by_stem.get(_stem(parts[-1])) or []
        found = [clip for clip in found if not is_sound(clip.path)] or found  # sound of its own beside a video
        if len(found) > 1:
            shared = [_shared(parts, clip.path) for clip in found]
            found = [clip for clip, count in zip(found, shared, strict=True) if count == max(shared)]
        return found


def _stem(name: str) -> str:
    """A name without the suffix of a medium; other dots belong to the name."""
    return name[: name.rindex(".")] if name.lower().endswith(SUFFIXES) else name


def _parts(name: str) -> list[str]:
    """The parts of a path of any system, or of a URL of a file."""
    if re.match(r"[a-zA-Z]{2,}:", name):
        name = unquote(name)
    return [part for part in re.split(r"[/\\]+", name) if part not in ("", ".")] or [""]


def _shared(parts: Sequence[str], path: Path) -> int:
    """How many folders above the name agree."""
    count = 0
    for one, other in zip(reversed(parts[:-1]), reversed(path.parent.parts), strict=False):
        if one != composed(other):
            break
        count += 1
    return count

"""One frame of each clip as an example: an image, or the frame in the middle of a stretch of video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from egotools.errors import TrainingError
from egotools.loading.files import Files, OpenFiles
from egotools.loading.items import Arrays
from egotools.loading.kept_files import files_of
from egotools.loading.spans import frames_of
from egotools.media.stills import IMAGE_SUFFIXES, read_image
from egotools.progress import Progress, no_progress
from egotools.types import Clip, Frame, IntArray

Prepare = Callable[[Frame, np.random.Generator], Frame]  # uint8 [H, W, 3] to [S, S, 3]; can be pickled
NOTHING = Files({}, {})


@dataclass(frozen=True, eq=False)
class MiddleFrames:
    """Examples of one frame a clip: `pixels` uint8 [S, S, 3], and `label` int64."""

    clips: Sequence[Clip]
    labels: IntArray  # [clips]
    prepare: Prepare
    files: Files = NOTHING  # of the clips that are no images: see `files_of_videos`
    _open: OpenFiles = field(default_factory=OpenFiles, repr=False)

    def __len__(self) -> int:
        return len(self.clips)

    def example(self, index: int, random: np.random.Generator) -> Arrays:
        """As `Examples.example`."""
        return {"pixels": self.prepare(self._frame(self.clips[index]), random), "label": self.labels[index]}

    def _frame(self, clip: Clip) -> Frame:
        if is_image(clip):
            return read_image(clip.path)
        source = self.files.sources[clip.path]
        inside = frames_of(clip, source)
        (frame,) = self._open.frames(source).frames(inside[len(inside) // 2 :][:1])
        return frame


def is_image(clip: Clip) -> bool:
    """Whether a clip's file is one image, by its name: it is read as it is, and need not be looked up."""
    return clip.path.suffix.lower() in IMAGE_SUFFIXES and clip.start == 0 and clip.end is None


def files_of_videos(
    clips: Iterable[Clip], kept: Path | None, *, workers: int = 0, progress: Progress = no_progress
) -> Files:
    """The files of clips that are no images, looked up, or as `kept`, if there is such a file, has them.

    Raises:
        TrainingError: a file cannot be read, or has changed since `kept` was written.
    """
    videos = [clip for clip in clips if not is_image(clip)]
    if not videos:
        return NOTHING
    found = files_of(videos, kept, workers=workers, progress=progress)
    if found.failed:
        why = next(iter(found.failed.values()))
        more = f" (and {len(found.failed) - 1} more)" if len(found.failed) > 1 else ""
        raise TrainingError(f"{why}{more}; mend the file, or leave it out of the manifest")
    return found

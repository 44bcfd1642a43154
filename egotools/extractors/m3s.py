"""The raw features of the memorability system M3-S: one row per clip."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from egotools.config import file_digest, option
from egotools.errors import ClipError, WeightsError
from egotools.extractors.hog import SIDE, squashed
from egotools.extractors.optical_flow import check_opencv, fastest_enlarging, mean_flow
from egotools.linear.pca import PCA
from egotools.lowlevel import color
from egotools.lowlevel.blurriness import blurriness, is_blank
from egotools.lowlevel.hog import hog, hog_width
from egotools.lowlevel.m3s_row import FEATURES, HOG_COMPONENTS, clip_row, ordered
from egotools.media.track_size import has_track, track_bytes
from egotools.sampling import check_positive, frames_inside, spread_frames
from egotools.types import Clip, Frame, FrameWindows, VideoInfo
from egotools.weights.pca import pca_path, read_pca

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class M3S:
    """Raw features of M3-S: HOG by its PCA, brightness, contrast, mean optical flow, blurriness, size: a row per clip.

    Means over 45 frames from the clip's first to its last, resized to 256x256, not normalized: 15 numbers, or 28 with
    their deviations. Flow needs the extra flow.

    \b
    egotools extract --manifest m.csv --out caches/m m3s --pca run:runs/hog
    egotools extract --manifest m.csv --out caches/m m3s --only brightness,contrast,blurriness
    """

    place: ClassVar[Literal["device", "worker"]] = "worker"
    version: ClassVar[int] = 1
    weights_option: ClassVar[str] = "pca"

    pca: str | None = option(None, "For hog: run:DIR of 'egotools train pca', its .npz, or the reference's .pickle.")
    only: tuple[str, ...] = option(FEATURES, f"A selection of {','.join(FEATURES)}; rows have them in that order.")
    deviations: bool = option(False, "Also the standard deviation of each over the frames; flow and size have none.")
    frames: int | Literal["all"] = option(
        45, "Frames of the clip, evenly spread, including the first and last; or all."
    )
    brightness: Literal["row0", "value"] = option(
        "row0", "Of HSV in the first row of pixels, as in the reference; or of V in all pixels."
    )
    contrast: Literal["gray", "value"] = option("gray", "Standard deviation of gray, or of V.")
    flow: Literal["dis", "farneback"] = option("dis", "Method for optical flow.")

    def __post_init__(self) -> None:
        if self.frames != "all":
            check_positive(frames=self.frames)
        try:
            ordered(self.only)
        except ValueError as error:
            raise ValueError(f"--only: {error}") from error
        if "hog" not in self.only and self.pca is not None:
            raise ValueError("--pca is for hog, which --only leaves out")

    def weights_digest(self) -> str | None:
        """The digest of the PCA in a recipe; None without hog. Called before any clip is read.

        Raises:
            WeightsError: hog is selected without a PCA, or its PCA is not available or belongs to other features.
            MissingExtra: meanOF is selected and OpenCV is not installed.
        """
        if "meanOF" in self.only:
            check_opencv()
        path = self._pca_path()
        if path is None:
            return None
        found = read_pca(path)
        if len(found.mean) != hog_width(SIDE, SIDE):
            raise WeightsError(f"{path}: a PCA of {len(found.mean)} values, but HOG has {hog_width(SIDE, SIDE)}")
        return file_digest(path)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One window."""
        if "size_orig" in self.only and not has_track(clip.path):
            raise ClipError(
                f"{clip.path}: a frame folder or stack has no track for size_orig; leave it out with --only"
            )
        spread = spread_frames(video, clip, count=self.frames)
        if len(frames_inside(video, *spread.times[0])) == 1:
            return FrameWindows(spread.frames[:, :1], spread.times)  # an image: the same mean from fewer frames
        return spread

    def prepare(self, frame: Frame) -> Frame:
        """uint8 [256, 256, 3]."""
        return squashed(frame)

    def network(self) -> Callable[[Array], Array]:
        """Prepared frames [B, L, 256, 256, 3] to float32 [B, D], in which `complete` fills in the size."""
        path = self._pca_path()
        pca = None if path is None else read_pca(path)
        return lambda windows: np.stack([self._row(frames, pca) for frames in windows])

    def complete(self, rows: Array, clip: Clip) -> Array:
        """The row with the size of the clip's video track, which its frames do not tell.

        Raises:
            ClipError: the size cannot be measured.
        """
        if "size_orig" in self.only:
            rows[:, -1] = track_bytes(clip.path, clip.start, clip.end)
        return rows

    def notes(self) -> list[str]:
        """Notes for the user before anything is read."""
        path = None if self.pca is None else pca_path(self.pca)
        count = HOG_COMPONENTS if path is None else len(read_pca(path).components)
        if count == HOG_COMPONENTS:
            return []
        return [f"{self.pca} has {count} components, not {HOG_COMPONENTS}: published constants and weights do not fit"]

    def remark(self, windows: Array) -> str:
        """A remark on the frames [B, L, 256, 256, 3] of a clip; empty if there is none."""
        if "blurriness" not in self.only:
            return ""
        blank = sum(is_blank(frame) for frame in windows.reshape(-1, *windows.shape[2:]))
        text = f"{blank} of {windows.shape[1]} frames are blank, which makes its blurriness far too low"
        return text if blank else ""

    def _pca_path(self) -> Path | None:
        if self.pca is None and "hog" in self.only:
            others = ",".join(name for name in ordered(self.only) if name != "hog")
            raise WeightsError(
                "m3s: hog needs --pca run:DIR ('egotools train pca' makes one) or FILE"
                + (f"; or leave it out: --only {others}" if others else "")
            )
        return None if self.pca is None else pca_path(self.pca)

    def _row(self, frames: Frame, pca: PCA | None) -> Array:
        values: dict[str, Array] = {}
        for feature in ordered(self.only):
            if feature == "hog":
                assert pca is not None, "hog without a PCA is refused"
                values["hog"] = pca.project(hog(frames))
            elif feature == "brightness":
                values["brightness"] = color.brightness(frames, self.brightness)
            elif feature == "contrast":
                values["contrast"] = color.contrast(frames, self.contrast)
            elif feature == "blurriness":
                values["blurriness"] = blurriness(frames, fastest_enlarging())
            else:
                values[feature] = np.array([mean_flow(frames, self.flow) if feature == "meanOF" else 0.0])
        return clip_row(values, deviations=self.deviations)

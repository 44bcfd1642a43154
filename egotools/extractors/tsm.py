"""TSM ResNet-50: without its shift, a row a frame, as of Assembly101's public features; with it, a row a window."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from egotools.config import option
from egotools.errors import WeightsError
from egotools.extractors.published import Published, downloaded
from egotools.extractors.published_model import PublishedModel
from egotools.extractors.torchvision_models import find
from egotools.extractors.video import VideoModel
from egotools.nn.tsm import SEGMENTS, ShiftedClips, insert_shifts
from egotools.pixels.preprocessing import Preprocessing
from egotools.sampling import check_positive, extent, intervals, near
from egotools.types import Clip, FrameWindows, VideoInfo

FILE = "TSM_Assembly101_combined_resnet50_shift8_blockres_avg_segment8_e50.pth"
PAGE = (
    "https://github.com/assembly-101/assembly101-action-recognition/blob/master/"
    "TSM-action-recognition/pretrained_models/README.md"
)
URL = "https://hanlab.mit.edu/projects/tsm/models/"
DOWNLOADS = {
    "kinetics400": "TSM_kinetics_RGB_resnet50_shift8_blockres_avg_segment8_e100_dense.pth",
    "something-v2": "TSM_somethingv2_RGB_resnet50_shift8_blockres_avg_segment16_e45.pth",
}
NAMES = ("DEFAULT", "assembly101", *DOWNLOADS)  # the first one means the second
SIZES: dict[str, Preprocessing] = {
    "full": Preprocessing(resize=(256, 454), crop=(256, 454)),
    "tsm": Preprocessing(resize=(256,), crop=(224, 224)),
}
# `base_model.layer1.0.conv1.net.weight` after at most one more component; `.net` is where a shift wraps a convolution.
BACKBONE, CLASSIFIER = re.compile(r"(?:\w+\.)?base_model\.(.+)"), re.compile(r"(?:\w+\.)?new_fc\.(.+)")


SEGMENTS_OF = {"something-v2": 16}  # frames of a window, where they are not 8
SPAN = 64  # frames at 30 per second that a window spans, as the weights for Kinetics are trained ("dense")


@dataclass(frozen=True)
class TSMModel(PublishedModel):
    """Frame features of TSM ResNet-50, its temporal shift removed: one row of 2048 numbers per frame at 30 per second.

    Of a 60-fps video these are frames 0, 2, 4, ...; of a 30-fps one, all. At any rate, a row is the frame shown at the
    beginning of its interval (half a frame later, so that rounding never falls on an edge). Monochrome video counts as
    grey RGB. 'egotools cache export --to assembly101' writes the rows as Assembly101's own features are stored.

    \b
    egotools extract --manifest a.csv --out caches/a tsm --weights TSM_Assembly101_combined_..._e50.pth
    """

    model: str = "tsm"
    weights: str = option("DEFAULT", f"{', '.join(NAMES)}, file (.pth, ...), run:<dir>, or random:<seed>.")
    fps: float = option(30.0, "Rows per second.")
    preprocess: Literal["full", "tsm"] = option(
        "full", "full: resized to 256x454, not cropped; tsm: short side 256, central 224x224."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(fps=self.fps)
        if self.preprocess not in SIZES:
            raise ValueError(f"--preprocess must be full or tsm, not {self.preprocess!r}")

    @property
    def published(self) -> Published:
        """The network, whose frames are prepared in this way."""
        return published_tsm(self.preprocess)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One frame per row: the one shown at the beginning of each interval of 1 / fps seconds."""
        return first_frames(video, clip, self.fps)


@dataclass(frozen=True)
class ShiftedTSMModel(VideoModel):
    """Features of TSM ResNet-50 with its temporal shift: one row of 2048 numbers per window of 8 frames.

    A row is the mean over the window's frames, each of which sees the one before and the one after. Windows are 64
    frames at 30 per second, of which every 8th is taken, as the weights for Kinetics are trained and tested. Those for
    Something-Something and Assembly101 are for one row per clip: give --spread. Frames are resized to a short side of
    256, and the central 224x224 taken.

    \b
    egotools extract --manifest m.csv --out caches/a tsm-shift --weights kinetics400 --clips 10
    egotools extract --manifest a.csv --out caches/a tsm-shift --weights TSM_Assembly101_combined_..._e50.pth --spread
    """

    model: str = "tsm-shift"
    weights: str = option("DEFAULT", f"{', '.join(NAMES)}, file (.pth, ...), run:<dir>, or random:<seed>.")

    @property
    def published(self) -> Published:
        """The network, whose shifts are inserted for this number of frames."""
        usual = SEGMENTS_OF.get(self.weights, SEGMENTS)
        return published_shifted(self.frames or usual, usual)


def first_frames(video: VideoInfo, clip: Clip, fps: float) -> FrameWindows:
    """The frame shown at the beginning of each of `fps` intervals per second.

    The moment is the middle of a frame, or of an interval that is shorter, so that timestamps rounded to a container's
    ticks choose no neighbor: frames 0, m, 2m, ... of a video with m times the rate.

    Raises:
        ClipError: the clip lies outside the video.
    """
    start, end = extent(clip, video.times[0], video.end, slack=1 / video.fps)
    times = intervals(start, end, 1 / fps, 1 / fps)
    times = times[near(times, video.gaps)]
    moments = np.minimum(times[:, 0] + 0.5 / max(fps, video.fps), times.mean(axis=1))
    return FrameWindows(video.at(moments)[:, None], times)


@lru_cache
def published_tsm(preprocess: str) -> Published:
    """torchvision's ResNet-50, with TSM's weights; nothing is built or downloaded yet."""
    return replace(
        find("resnet50"), name="tsm", preprocessing=lambda _: SIZES[preprocess], fetch=_fetch, rename=_renamed
    )


@lru_cache
def published_shifted(frames: int, usual: int) -> Published:
    """ResNet-50 with TSM's shifts and weights, for windows of `frames`; nothing is built or downloaded yet."""
    return replace(
        find("resnet50"),
        name="tsm-shift",
        kind="video",
        preprocessing=lambda _: SIZES["tsm"],
        build=partial(_shifted, find("resnet50").build, frames),
        without_head=partial(_over_clips, find("resnet50").without_head, frames),
        fetch=_fetch,
        rename=_renamed_shifted,
        frames=usual,
        fps=30.0 * usual / SPAN,
    )


def _shifted(build: Callable[..., nn.Module], frames: int, *options: object) -> nn.Module:
    network = build(*options)
    insert_shifts(network, frames)
    return network


def _over_clips(without_head: Callable[[nn.Module], nn.Module], frames: int, network: nn.Module) -> nn.Module:
    return ShiftedClips(without_head(network), frames)


def _fetch(weights: str) -> Path:
    if weights not in NAMES:
        raise WeightsError(f"tsm has no weights {weights!r}; choose from {', '.join(NAMES)}, a file, or random:<seed>")
    if weights in DOWNLOADS:
        return downloaded("tsm", URL + DOWNLOADS[weights], DOWNLOADS[weights])
    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE
    if not path.is_file():
        raise WeightsError(
            f"tsm: its weights cannot be downloaded from here; fetch {FILE} (linked in {PAGE}) to {path}, "
            "or give --weights FILE or --weights random:0"
        )
    return path


def _renamed(tensors: dict[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    """Converts TSM's names to torchvision's, which are left as they are; without shifts, so without their `.net`."""
    return {name.replace(".net.", "."): tensor for name, tensor in _of_torchvision(tensors).items()}


def _renamed_shifted(tensors: dict[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    """Converts TSM's names to torchvision's; shifted convolutions keep their `.net`.

    Raises:
        WeightsError: the weights were trained without a shift.
    """
    if not any(name.endswith(".net.weight") for name in tensors):
        raise WeightsError("tsm-shift: these weights were trained without a temporal shift; their extractor is tsm")
    return _of_torchvision(tensors)


def _of_torchvision(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    def renamed(name: str) -> str:
        if found := CLASSIFIER.fullmatch(name):
            return f"fc.{found[1]}"
        found = BACKBONE.fullmatch(name)
        return name if found is None else found[1]

    return {renamed(name): tensor for name, tensor in tensors.items()}

"""HRNetV2-W48 as in the memorability system M3S: one row per clip, the mean over some of its frames."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from egotools.config import option
from egotools.errors import WeightsError
from egotools.extractors.published import Published, downloaded
from egotools.extractors.published_model import PublishedModel
from egotools.nn.hrnet import HRNet
from egotools.pixels.preprocessing import Normalize, Preprocessing
from egotools.sampling import spread_frames
from egotools.types import Clip, FrameWindows, VideoInfo

SPREAD = 45  # frames of a clip in Memento10k's published arrays, of which some are taken
FRAMES = (1, 5, 9, "all")
AT_ONCE = 64  # frames per forward pass, for clips read with --frames all
URL = "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-hrnetv2-c1/encoder_epoch_30.pth"
FILE = "ade20k-hrnetv2-c1-encoder_epoch_30.pth"  # the published name alone is not descriptive
# Buffers of the synchronized batch-norm used in training.
TRAINING_ONLY = ("_tmp_running_mean", "_tmp_running_var", "_running_iter")


@dataclass(frozen=True)
class HRNetModel(PublishedModel):
    """Scene features of HRNetV2-W48, trained on ADE20K: one row of 720 numbers per clip, the mean over its frames.

    Frames are resized to 256x256, not cropped, as for Memento10k; for VideoMem give --resize 256, which takes the
    center.

    \b
    egotools extract --manifest m.csv --out caches/a hrnet --weights encoder_epoch_30.pth --frames 5
    """

    model: str = "hrnet"
    frames: int | Literal["all"] = option(
        1, "Frames to average, 1, 5 or 9: of 45 spread over the clip, every 45th, 9th or 5th; or all of the clip."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frames not in FRAMES:
            raise ValueError(f"--frames must be 1, 5 or 9, not {self.frames}, or 'all'")

    @property
    def published(self) -> Published:
        """The encoder, with one published file of weights."""
        return HRNET

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One window, of the frames to average."""
        if self.frames == "all":
            return spread_frames(video, clip, count="all")
        spread = spread_frames(video, clip, count=SPREAD)
        return FrameWindows(spread.frames[:, :: SPREAD // self.frames], spread.times)

    def network(self) -> nn.Module:
        """uint8 [B, L, h, w, 3] to float [B, 720]."""
        mean = _FrameMean(self.preprocessing, self.published.features(self.weights))
        return _WholeMean(mean) if self.frames == "all" else mean


class _FrameMean(nn.Module):
    def __init__(self, preprocessing: Preprocessing, features: nn.Module) -> None:
        super().__init__()
        self.normalize = Normalize(preprocessing.mean, preprocessing.std)
        self.features = features

    def forward(self, windows: Tensor) -> Tensor:
        rows = self.features(self.normalize(windows).flatten(0, 1))  # [B * L, 720]
        return rows.float().unflatten(0, (-1, windows.shape[1])).mean(1)  # type: ignore[no-any-return]


class _WholeMean(nn.Module):
    """Like `_FrameMean`, for long windows: some of the frames at a time."""

    def __init__(self, mean: _FrameMean) -> None:
        super().__init__()
        self.mean = mean

    def forward(self, windows: Tensor) -> Tensor:
        length, parts = windows.shape[1], torch.split(windows, AT_ONCE, dim=1)
        return torch.stack([self.mean(part) * part.shape[1] for part in parts]).sum(0) / length


def _fetch(weights: str) -> Path:
    if weights != "DEFAULT":
        raise WeightsError(f"hrnet has no weights {weights!r}; choose from DEFAULT, a file, or random:<seed>")
    return downloaded("hrnet", URL, FILE)


def _without_training_state(tensors: dict[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.endswith(TRAINING_ONLY)}


HRNET = Published(
    name="hrnet",
    kind="image",
    preprocessing=lambda _: Preprocessing((256, 256), (256, 256), interpolation="bicubic", corner="floor"),
    build=lambda *_: HRNet(),
    fetch=_fetch,
    rename=_without_training_state,
)

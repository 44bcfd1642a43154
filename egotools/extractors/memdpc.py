"""MemDPC as an extractor: a row for each block of frames, or for each window of blocks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from egotools.config import check_positive, option
from egotools.errors import WeightsError
from egotools.nn.memdpc import MemDPC, MemDPCContext, block_maps
from egotools.nn.resnet_2d3d import Depth
from egotools.pixels.crops import cropped, enlarged, five_boxes
from egotools.pixels.preprocessing import Normalize
from egotools.sampling import check_rows, extent, frames_inside
from egotools.training.seeding import seeded
from egotools.types import Clip, Frame, FrameWindows, VideoInfo
from egotools.weights.memdpc import load_memdpc, read_memdpc
from egotools.weights.tensors import random_seed, weights_digest, weights_file

CROP = 224  # side of the square that is cut out, before the frame is reduced to what the network sees
PLACES = ("top-left", "top-right", "bottom-left", "bottom-right", "center")  # in the order of `five_boxes`
PAGE = "https://github.com/TengdaHan/MemDPC"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class MemDPCModel:
    """Features of a MemDPC network: a row for each block of 5 frames, or for each window of 8 blocks.

    From each frame a square of 224 pixels is cut out and reduced to --size; frames with a shorter side are enlarged to
    224 first. Other views of the same clips are other caches: --crop, --flip and --name.

    \b
    egotools extract --manifest m.csv --out caches/a memdpc --weights k400-rgb-224_resnet34_memdpc.pth.tar --size 224
    """

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    weights: str = option("DEFAULT", "File (.pth.tar, .safetensors, ...), run:<dir>, or random:<seed>.")
    feature: Literal["backbone", "context"] = option(
        "backbone", "A row a block, averaged over positions; or a row a window: both recurrent states, averaged."
    )
    net: Literal["resnet18", "resnet34", "resnet50"] | None = option(
        None, "Backbone; by default that of the weights, or resnet18."
    )
    size: int = option(128, "Side of the frames that the network sees, in pixels.")
    blocks: int = option(8, "Blocks of a window; with --feature backbone there is one.")
    length: int = option(5, "Frames of a block.")
    stride: int = option(3, "Every n-th frame is taken.")
    hop: int | None = option(
        None, "Frames from one row to the next; by default a block, or half a window minus one frame, as published."
    )
    crop: Literal["top-left", "top-right", "bottom-left", "bottom-right", "center"] = option(
        "center", "Which square of the frame."
    )
    flip: bool = option(False, "Mirror the frames, before the square is cut out.")
    interpolation: Literal["nearest", "bilinear"] = option(
        "nearest", "From the square to --size; nearest as published, bilinear with antialiasing.", absent="nearest"
    )
    normalize: bool = option(True, "Normalize colors as in training; the published test does not.")

    def __post_init__(self) -> None:
        check_positive(self, "size", "blocks", "length", "stride", "hop")

    @property
    def window_length(self) -> int:
        """Frames per window."""
        return self.length * (self.blocks if self.feature == "context" else 1)

    def weights_digest(self) -> str:
        """The digest of the weights' file, or `random:<seed>`."""
        return weights_digest(self.weights, _fetch)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """One window a row; a clip without room for one has its last frame repeated.

        Raises:
            ClipError: the clip lies outside of the video.
        """
        inside = frames_inside(video, *extent(clip, video.times[0], video.end, slack=1 / video.fps))
        width = self.window_length * self.stride
        own = width if self.feature == "backbone" else max(width // 2 - 1, 1)
        starts = np.arange(0, max(len(inside) - width, 0) + 1, self.hop or own)
        check_rows(len(starts))
        steps = self.stride * np.arange(self.window_length)
        chosen = inside[np.minimum(starts[:, None] + steps, len(inside) - 1)]
        last = inside[np.minimum(starts + width, len(inside)) - 1]
        return FrameWindows(chosen, np.stack([video.times[chosen[:, 0]], video.ends[last]], axis=1))

    def prepare(self, frame: Frame) -> Frame:
        """A square of the frame, uint8 [size, size, 3]."""
        whole = frame[None, :, ::-1] if self.flip else frame[None]
        whole = enlarged(whole, CROP)
        box = five_boxes(whole.shape[1], whole.shape[2], CROP)[PLACES.index(self.crop)]
        as_is = np.zeros(1, bool)
        found = cropped(whole, box[None], as_is, self.size, between=CROP, interpolation=self.interpolation)
        square: Frame = found[0]
        return square

    def network(self) -> nn.Module:
        """uint8 [B, L, size, size, 3] to float32 [B, D].

        Raises:
            WeightsError: the weights are not there, or of another backbone.
        """
        network = network_of(self.weights, self.net)
        return _Features(network, self.length, is_context=self.feature == "context", is_normalized=self.normalize)


def network_of(weights: str, depth: Depth | None) -> MemDPCContext:
    """What describes clips, in eval mode, of an option `--weights`; `random:SEED` is drawn as pre-training draws it."""
    seed = random_seed(weights)
    if seed is not None:
        with seeded(seed):
            whole = MemDPC(depth or "resnet18").state_dict()
        network = MemDPCContext(depth or "resnet18")
        network.load_state_dict({name: whole[name] for name in network.state_dict()})
        return network.eval()
    published = read_memdpc(weights_file(weights, _fetch))
    with torch.random.fork_rng(devices=[]):
        network = MemDPCContext(depth or published.depth)
    load_memdpc(network, published)
    return network.eval()


def _fetch(weights: str) -> Path:
    raise WeightsError(
        f"memdpc has no weights {weights!r} that could be downloaded; fetch a checkpoint (linked in {PAGE}), and give"
        " --weights FILE, run:<dir>, or random:<seed>"
    )


class _Features(nn.Module):
    def __init__(self, network: MemDPCContext, length: int, *, is_context: bool, is_normalized: bool) -> None:
        super().__init__()
        self.network = network
        self._length, self._is_context = length, is_context
        # Not as a part: the recurrent networks stay in float32, so autocast chooses what runs in bf16.
        scale = (MEAN, STD) if is_normalized else ((0.0,) * 3, (1.0,) * 3)
        self._to_numbers = (Normalize(*scale),)

    def traced_apart(self) -> list[nn.Module]:
        """Recurrent networks cannot be traced; the backbone can."""
        return [self.network.backbone]

    def forward(self, windows: Tensor) -> Tensor:
        frames = self._to_numbers[0](windows)  # [B, L, 3, S, S]
        batch, total = frames.shape[:2]
        blocks = (batch, total // self._length, self._length)
        clips = frames.reshape(*blocks, *frames.shape[2:]).transpose(2, 3)
        if self._is_context:
            return self.network.context(clips)
        return block_maps(self.network.backbone, clips).mean((1, 3, 4))

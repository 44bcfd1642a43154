"""The base of extractors with a published network: what image and video networks share."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from egotools.config import check_positive, option
from egotools.errors import ExtractorError, first_line
from egotools.extractors.published import Published
from egotools.pixels.preprocessing import Normalize, Preprocessing, parse_size
from egotools.types import Frame


@lru_cache
def published(model: str) -> Published:
    """The network with a name such as `torchvision:resnet50`, `timm:vit_base_patch16_224` or `efficientnet-lite0`.

    Raises:
        ExtractorError: the network does not exist; similar names are suggested.
        MissingExtra: timm is not installed.
    """
    source, _, name = model.rpartition(":")
    if source == "torchvision":
        from egotools.extractors.torchvision_models import find
    else:
        from egotools.extractors.timm_models import find
    return find(name)


@dataclass(frozen=True)
class PublishedModel:
    """A published network with its weights and their preprocessing."""

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    model: str  # fixed by the extractor's name
    weights: str = option("DEFAULT", "Published name, file (.safetensors, .npz, .pth), run:<dir>, or random:<seed>.")
    resize: str | None = option(None, "Overrides the weights' own: short side, or HxW (then nothing is cropped).")
    crop: str | None = option(None, "Overrides the weights' own: side of the center crop, or HxW.")
    img_size: int | None = option(
        None, "Instead: side of the frames that the network sees, in the weights' own way.", absent=None
    )

    def __post_init__(self) -> None:
        for size in (self.resize, self.crop):
            if size is not None:
                parse_size(size)
        check_positive(self, "img_size")
        if self.img_size is not None and (self.resize, self.crop) != (None, None):
            raise ValueError("give --img-size, or --resize and --crop")

    @property
    def rows_version(self) -> int:
        """The version of the rows computed with these options.

        One higher if `--resize` makes frames smaller than the weights' crop: earlier versions padded them with black.
        """
        own = self.published.preprocessing(self.weights).crop
        is_own_way = self.crop is not None or self.img_size is not None
        is_cropped_to_itself = not is_own_way and self.preprocessing.crop not in (own, None)
        return self.version + is_cropped_to_itself

    @property
    def window_length(self) -> int:
        """Frames per window."""
        return 1

    @property
    def published(self) -> Published:
        """The network that the name refers to."""
        return published(self.model)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How frames are prepared: as for the weights, with the sizes overridden."""
        own = self.published.preprocessing(self.weights)
        return own.override(self.resize, self.crop) if self.img_size is None else own.of_side(self.img_size)

    def __getstate__(self) -> dict[str, object]:
        """Includes the cached values, so that reading workers need not import the library."""
        _ = self.preprocessing
        return self.__dict__

    def weights_digest(self) -> str:
        """The digest, or other identifier, of the weights in a recipe."""
        return self.published.digest(self.weights)

    def prepare(self, frame: Frame) -> Frame:
        """Resized and cropped, uint8 [h, w, 3]."""
        return self.preprocessing(frame)

    def network(self) -> nn.Module:
        """uint8 [B, L, h, w, 3] to float [B, D]; L is 1 for images.

        Raises:
            ExtractorError: the network does not accept frames of the requested size.
        """
        own, size = self.published.preprocessing(self.weights).size, self.preprocessing.size
        if (size, self.window_length) == (own, self.published.frames):
            return self._built(None)
        try:
            network = self._built(None if size == own else size).eval()
            with torch.inference_mode():  # a black window, so that problems are reported before any clip is read
                network(torch.zeros(1, self.window_length, *size, 3, dtype=torch.uint8))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise self._refusal(own, error) from error
        return network

    def _built(self, size: tuple[int, int] | None) -> nn.Module:
        return _Network(self.preprocessing, self.published.features(self.weights, size), self.published.kind)

    def _refusal(self, own: tuple[int, int], error: Exception) -> ExtractorError:
        height, width = self.preprocessing.size
        number, usual = self.window_length, self.published.frames
        asked = f"{'one frame' if number == 1 else f'{number} frames'} of {height}x{width}"
        made_for = f"{'' if usual == 1 else f'{usual} of '}{own[0]}x{own[1]}"
        return ExtractorError(
            f"{self.model}: its network refuses windows of {asked}; its weights are made for {made_for} "
            f"({first_line(error)}); choose another --img-size, --resize or --crop"
            f"{'' if number == 1 else ', other --frames'}, or leave them out"
        )


class _Network(nn.Module):
    def __init__(self, preprocessing: Preprocessing, features: nn.Module, kind: Literal["image", "video"]) -> None:
        super().__init__()
        self.normalize = Normalize(preprocessing.mean, preprocessing.std)
        self.features = features
        self.kind = kind

    def forward(self, windows: Tensor) -> Tensor:
        x: Tensor = self.normalize(windows)  # [B, L, 3, h, w], channels last in memory
        x = x[:, 0] if self.kind == "image" else x.transpose(1, 2)
        return self.features(x).flatten(1)  # type: ignore[no-any-return]

"""Extractors whose network a library publishes: what those of images and those of videos share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

from torch import Tensor, nn

from egotools.config import option
from egotools.extractors.published import Published
from egotools.pixels import Normalize, Preprocessing, parse_size
from egotools.types import Frame


@lru_cache
def published(model: str) -> Published:
    """The network of a name such as `torchvision:resnet50`, `timm:vit_base_patch16_224` or `efficientnet-lite0`.

    Raises:
        ExtractorError: no such network; near names are suggested.
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
    """A published network with its weights and the preprocessing that belongs to them."""

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    model: str  # fixed by the extractor's name
    weights: str = option("DEFAULT", "Published name, file (.safetensors, .npz, .pth), run:<dir>, or random:<seed>.")
    resize: str | None = option(None, "Instead of the weights' own: short side, or HxW (then nothing is cropped).")
    crop: str | None = option(None, "Instead of the weights' own: side of the centre crop, or HxW.")

    def __post_init__(self) -> None:
        for size in (self.resize, self.crop):
            if size is not None:
                parse_size(size)

    @property
    def published(self) -> Published:
        """The network that the name means."""
        return published(self.model)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How a frame is prepared: the weights' own way, with the sizes overridden."""
        return self.published.preprocessing(self.weights).override(self.resize, self.crop)

    def __getstate__(self) -> dict[str, object]:
        """With the cached values, so that reading workers need not import the library that knows them."""
        _ = self.preprocessing
        return self.__dict__

    def weights_digest(self) -> str:
        """What stands for the weights in a recipe."""
        return self.published.digest(self.weights)

    def prepare(self, frame: Frame) -> Frame:
        """Resized and cropped, uint8 [h, w, 3]."""
        return self.preprocessing(frame)

    def network(self) -> nn.Module:
        """uint8 [B, L, h, w, 3] to float [B, D]; L is 1 for images."""
        return _Network(self.preprocessing, self.published.features(self.weights), self.published.kind)


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

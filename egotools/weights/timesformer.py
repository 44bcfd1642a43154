"""Checkpoints of EgoVLP, Frozen in Time and LaViLa: the video network of each, by the names of `nn/timesformer.py`.

    | of                    | network        | projection to the joint space        | beside, not used               |
    |-----------------------|----------------|--------------------------------------|--------------------------------|
    | EgoVLP, Frozen in Time| `video_model.` | `vid_proj.0.weight` [E, D], `.bias`  | `text_model.`, `txt_proj.`     |
    | EgoVLP, by LaViLa     | `visual.`      | `image_projection.0.weight`, `.bias` | `textual.`, `text_projection.` |
    | LaViLa                | `visual.`      | `image_projection` [D, E]            | `transformer.`, `ln_final.`    |
    | LaViLa, fine-tuned    | `visual.`      | none                                 | `fc_cls.`                      |

Tensors are in `state_dict`, with `module.` before their names; beside it the programs keep objects of their own
(an `argparse.Namespace`, EgoVLP's `ConfigParser`), which are passed over.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from egotools.errors import WeightsError
from egotools.nn.timesformer import Shape
from egotools.weights.tensors import named_tensors, read_around

NETWORK = re.compile(r"(?:(?:video_model|visual)\.)?((?:patch_embed|blocks|norm|ln_pre)\..+|\w+_(?:embed|token))")
PROJECTION = re.compile(r"(?:vid_proj\.0|image_projection\.0|projection)\.(weight|bias)")
TRANSPOSED = "image_projection"
POSITIONS = ("cls_token", "pos_embed", "temporal_embed", "patch_embed.proj.weight")


def read_space_time(path: Path) -> dict[str, Tensor]:
    """The tensors of the video network, and those of its projection as `projection.`; nothing in the file is executed.

    Raises:
        WeightsError: it cannot be read, or has no such network.
    """
    return space_time_tensors(named_tensors(read_around(path), path), path)


def space_time_tensors(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """As `read_space_time`, of tensors that were read.

    Raises:
        WeightsError: they have no such network.
    """
    found = {}
    for name, value in tensors.items():
        if own := NETWORK.fullmatch(name):
            found[own[1]] = value
        elif own := PROJECTION.fullmatch(name):
            found[f"projection.{own[1]}"] = value
        elif name == TRANSPOSED and value.ndim == 2:
            found["projection.weight"] = value.T
    if missing := [name for name in POSITIONS if name not in found]:
        raise WeightsError(f"{path}: contains no network of EgoVLP, Frozen in Time or LaViLa: no {missing[0]}")
    return found


def shape_of(tensors: Mapping[str, Tensor], source: str) -> Shape:
    """The sizes of the network that `read_space_time` found.

    Raises:
        WeightsError: the tensors are of no such network.
    """
    positions, times, patch = tensors["pos_embed"], tensors["temporal_embed"], tensors["patch_embed.proj.weight"]
    if (positions.ndim, times.ndim, patch.ndim) != (3, 3, 4):
        raise WeightsError(
            f"{source}: is of another network: its positions are no [1, N, D], or its patches no squares"
        )
    grid = math.isqrt(positions.shape[1] - 1)
    if grid < 1 or grid**2 != positions.shape[1] - 1:
        raise WeightsError(f"{source}: is of another network: {positions.shape[1] - 1} patches are no square")
    numbers = [int(name.split(".")[1]) for name in tensors if re.match(r"blocks\.\d+\.", name)]
    projection = tensors.get("projection.weight")
    return Shape(
        width=patch.shape[0],
        depth=max(numbers, default=-1) + 1,
        patch=patch.shape[-1],
        grid=grid,
        frames=times.shape[1],
        joint=None if projection is None else projection.shape[0],
        has_bias="projection.bias" in tensors,
        is_clip="ln_pre.weight" in tensors,
        is_gated="blocks.0.alpha_timeattn" in tensors,
    )

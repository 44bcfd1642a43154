"""Checkpoints of Memory Storyboard in the published layout (`step_*.pth`, `label_mapping.pkl`): read, loaded, written.

The names of their tensors say which backbone they have and which method trained it; ours have the same names.
"""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from egotools.errors import WeightsError
from egotools.files.disk import write_whole
from egotools.nn.storyboard import PLANS, PREFIXES, Depth, Norm
from egotools.weights.pickles import read_pickle
from egotools.weights.resnets import depth_of
from egotools.weights.tensors import Loaded, load_into, named_tensors, read_content

BACKBONE = "backbone."
HEADS = ("projector.", "supcon_projector.", "classifer.", "predictor.")  # the third as the reference spells it
CLASSES = "classifer.2.weight"
BACKBONE_NAME = re.compile(r"(conv1|gn1|bn1|layer[1-4]\.\d+\.(conv[123]|gn[123]|bn[123]|downsample\.[01]))\.\w+")
MODEL, OPTIMIZER = "model_state_dict", "optimizer_state_dict"
SETTINGS = {"fused": None, "foreach": None}  # how an optimizer computes is no matter of a checkpoint


@dataclass(frozen=True, eq=False)
class Published:
    """A checkpoint of Memory Storyboard."""

    source: str
    depth: Depth
    norm: Norm
    method: str  # as far as the heads tell; "" for a backbone alone
    classes: int | None  # of the temporal classification; None: there is none
    tensors: dict[str, Tensor]  # by the published names
    optimizer: Mapping[str, Any] | None  # its state_dict. Any: of the file

    @property
    def network(self) -> str:
        """What network it is, in words."""
        return f"ResNet-{self.depth} with {self.norm} norm"


def read_storyboard(path: Path) -> Published:
    """A checkpoint of a training, or its backbone alone, with or without `backbone.`; nothing in it is executed.

    Raises:
        WeightsError: it cannot be read, or is not of Memory Storyboard, or of a depth that is not built.
    """
    content = read_content(path)
    optimizer = content.get(OPTIMIZER) if isinstance(content, Mapping) else None
    return published_of(named_tensors(content, path), path, optimizer if isinstance(optimizer, Mapping) else None)


def published_of(found: Mapping[str, Tensor], path: Path, optimizer: Mapping[str, Any] | None = None) -> Published:
    """As `read_storyboard`, from the tensors that were read.

    Raises:
        WeightsError: they are not of Memory Storyboard, or of a depth that is not built.
    """
    is_bare = not any(name.startswith(BACKBONE) for name in found)
    if is_bare and all(BACKBONE_NAME.fullmatch(name) for name in found):
        found = {f"{BACKBONE}{name}": value for name, value in found.items()}
    tensors = dict(found)
    depth, norm = _backbone_of(tensors, str(path))
    if unknown := [name for name in tensors if not name.startswith((BACKBONE, *HEADS))]:
        raise WeightsError(f"{path}: no checkpoint of Memory Storyboard has a tensor {unknown[0]!r}")
    classes = tensors.get(CLASSES)
    return Published(
        source=str(path),
        depth=depth,
        norm=norm,
        method=_method_of(tensors),
        classes=None if classes is None or classes.dim() != 2 else len(classes),
        tensors=tensors,
        optimizer=optimizer,
    )


def load_storyboard(network: nn.Module, published: Published) -> Loaded:
    """Loads a checkpoint into a learner, or into a backbone alone: all of the backbone, and heads that fit.

    Args:
        network: changed; its tensors have the published names, a backbone's without `backbone.`.
        published: of `read_storyboard`.

    Returns:
        What was not loaded (heads of other methods keep their initial values), and what was not used.

    Raises:
        WeightsError: its backbone has another depth or norm, or lacks a tensor; names both.
    """
    own = network.state_dict()
    is_bare = not any(name.startswith(BACKBONE) for name in own)
    prefix = BACKBONE if is_bare else ""
    wanted = _backbone_of({f"{prefix}{name}": value for name, value in own.items()}, "the network")
    check_backbone(published, *wanted)
    tensors = {name.removeprefix(prefix): value for name, value in published.tensors.items()}
    return load_into(network, tensors, heads=HEADS, source=published.source)


def check_backbone(published: Published, depth: Depth | None, norm: Norm | None) -> None:
    """Refuses a checkpoint of another backbone; None: any.

    Raises:
        WeightsError: says which it has.
    """
    if depth not in (None, published.depth) or norm not in (None, published.norm):
        asked = f"ResNet-{depth or published.depth} with {norm or published.norm} norm"
        raise WeightsError(f"{published.source}: its backbone is a {published.network}, not a {asked}")


def published_content(
    tensors: Mapping[str, Tensor], optimizer: Mapping[str, Any] | None = None
) -> dict[str, Any]:  # Any: as torch saves it
    """A checkpoint as the reference writes it.

    Args:
        tensors: of a learner, by the published names and in its order.
        optimizer: state_dict of its optimizer, whose parameters are in the same order.

    Returns:
        `model_state_dict`, `optimizer_state_dict`; the latter None without an optimizer.
    """
    content: dict[str, Any] = {MODEL: dict(tensors), OPTIMIZER: None}
    if optimizer is not None:
        groups = [group | {name: SETTINGS[name] for name in SETTINGS if name in group} for group in _groups(optimizer)]
        content[OPTIMIZER] = {**optimizer, "param_groups": groups}
    return content


def read_label_mapping(path: Path) -> dict[int, int]:
    """Which label each merged label has become, of a `label_mapping.pkl`; whatever else it refers to is refused.

    Raises:
        WeightsError: it cannot be read, or is something else than numbers by numbers.
    """
    found = read_pickle(path)
    whole = isinstance(found, dict) and all(type(each) is int for pair in found.items() for each in pair)
    if not whole:
        raise WeightsError(f"{path}: not a mapping of labels: a dict from whole numbers to whole numbers is expected")
    return dict(found)


def write_label_mapping(path: Path, mapping: Mapping[int, int]) -> None:
    """Writes a `label_mapping.pkl`, as `read_label_mapping` and the reference read it.

    Raises:
        OutputError: it cannot be written.
    """
    write_whole(path, pickle.dumps({int(label): int(target) for label, target in mapping.items()}))


def _groups(optimizer: Mapping[str, Any]) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = optimizer["param_groups"]
    return groups


def _backbone_of(tensors: Mapping[str, Tensor], source: str) -> tuple[Depth, Norm]:
    stem = tensors.get(f"{BACKBONE}conv1.weight")
    norms = [norm for norm, prefix in PREFIXES.items() if f"{BACKBONE}{prefix}1.weight" in tensors]
    if stem is None or stem.dim() != 4 or len(norms) != 1:
        raise WeightsError(
            f"{source}: contains no network of Memory Storyboard: a {BACKBONE}conv1.weight with four axes and either"
            f" {' or '.join(f'{BACKBONE}{prefix}1.weight' for prefix in PREFIXES.values())} are expected"
        )
    return depth_of(tensors, PLANS, source, BACKBONE), norms[0]


def _method_of(tensors: Mapping[str, Tensor]) -> str:
    """The method by its heads: those of tc are simclr-tc's; a projector alone is Osiris', as the reference has it."""
    has = {head for head in HEADS if any(name.startswith(head) for name in tensors)}
    if "projector." not in has:
        return ""
    is_normed, predicts = "projector.1.running_mean" in tensors, "predictor." in has
    if is_normed and not predicts:
        return "barlow-twins"
    kind = "simsiam" if is_normed else "simclr"
    if "classifer." in has:
        return f"{kind}-tc"
    return kind if is_normed or "supcon_projector." in has else "osiris"

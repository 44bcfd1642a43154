"""Checkpoints of MemDPC in the layout of the published ones (`*.pth.tar`): read, loaded into our networks, written.

They hold each tensor of the GRUs under two names, `ConvGRUCell_00` and `cell_list.0`; ours have the second only.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from egotools.errors import WeightsError
from egotools.nn.memdpc import HEADS, PREDICTION, MemDPC, MemDPCClassifier, MemDPCContext
from egotools.nn.resnet_2d3d import PLANS, Depth, ResNet2D3D
from egotools.weights.resnets import depth_of
from egotools.weights.tensors import Loaded, load_into, named_tensors, read_content

Network = MemDPC | MemDPCContext | ResNet2D3D
SECOND_NAME = re.compile(r"(.*\b)ConvGRUCell_(\d\d)\.(.*)")
OWN_NAME = re.compile(r"(.*\b)cell_list\.(\d+)\.(.*)")
BACKBONE, MEMORY, CLASSES = "backbone.", "mb", "final_fc.1.weight"
FACTS = ("epoch", "iteration", "best_acc", "backbone", "net")  # kept of what stands beside the tensors


@dataclass(frozen=True, eq=False)
class Published:
    """A checkpoint of MemDPC, by our names."""

    source: str
    depth: Depth
    slots: int | None  # rows of the memory; None: a classifier's checkpoint has none
    classes: int | None  # None: a pre-training checkpoint has none
    tensors: dict[str, Tensor]
    facts: dict[str, float | int | str]
    twice: tuple[str, ...]  # names whose second entry differed; `cell_list` was taken, which the reference loads last


def read_memdpc(path: Path) -> Published:
    """A checkpoint of MemDPC's pre-training or classifier, with or without `module.`; nothing in it is executed.

    Raises:
        WeightsError: it cannot be read, or is not of MemDPC, or of a depth that is not built.
    """
    content = read_content(path)
    return published_of(named_tensors(content, path), content, path)


def published_of(found: Mapping[str, Tensor], content: Mapping[str, Any], path: Path) -> Published:
    """As `read_memdpc`, from what was read: the tensors by the file's names, and all that stands beside them.

    Raises:
        WeightsError: it is not of MemDPC, or of a depth that is not built.
    """
    tensors, twice = own_names(found)
    facts = {name: content[name] for name in FACTS if isinstance(content.get(name), (int, float, str))}
    memory, classes = tensors.get(MEMORY), tensors.get(CLASSES)
    depth = _depth_of(tensors, str(path))
    return Published(
        source=str(path),
        depth=depth,
        slots=None if memory is None or memory.dim() != 2 else len(memory),
        classes=None if classes is None or classes.dim() != 2 else len(classes),
        tensors=tensors,
        facts=facts,
        twice=twice,
    )


def network_of(published: Published, *, predicted: int = 3) -> MemDPC | MemDPCClassifier | MemDPCContext:
    """The network that a checkpoint belongs to, by its tensors' shapes, with its weights; in train mode as any new one.

    How many blocks were predicted does not show in a checkpoint.

    Raises:
        WeightsError: a tensor is missing or of another shape.
    """
    network: MemDPC | MemDPCContext
    if published.slots is not None:
        network = MemDPC(published.depth, predicted=predicted, slots=published.slots)
    elif published.classes is not None:
        network = MemDPCClassifier(published.depth, classes=published.classes)
    else:
        network = MemDPCContext(published.depth)
    load_memdpc(network, published, fresh=())
    return network


def load_memdpc(
    network: Network, published: Published, *, fresh: tuple[str, ...] = HEADS, is_partial: bool = False
) -> Loaded:
    """Loads a checkpoint into a network of ours; what the network has no place for (a memory, a head) is left out.

    Args:
        network: changed.
        published: of `read_memdpc`.
        fresh: prefixes of what may be missing or of another task, and then keeps its initial values.
        is_partial: take whatever fits by name and shape, as long as that is anything.

    Returns:
        What was not loaded, and what was not used.

    Raises:
        WeightsError: another depth, memory or number of classes; a tensor missing, unknown or of another shape.
    """
    own = network.state_dict()
    bare = isinstance(network, ResNet2D3D)
    tensors = _without_prefix(published.tensors) if bare else published.tensors
    if is_partial:
        fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
        if not fitting:
            raise WeightsError(f"{published.source}: nothing in it fits the network, by name and shape")
        network.load_state_dict(fitting, strict=False)
    else:
        _check_kind(own if not bare else {f"{BACKBONE}{name}": value for name, value in own.items()}, published, fresh)
        extra = {prefix for prefix in (*HEADS, *PREDICTION) if not any(name.startswith(prefix) for name in own)}
        load_into(network, tensors, heads=(*fresh, *sorted(extra)), source=published.source)
        fitting = {name: value for name, value in tensors.items() if name in own and own[name].shape == value.shape}
    missing = tuple(name for name in own if name not in fitting and not name.endswith("num_batches_tracked"))
    prefix = BACKBONE if bare else ""
    used = {f"{prefix}{name}" for name in fitting}
    return Loaded(missing, tuple(name for name in published.tensors if name not in used))


def published_content(
    network: MemDPC | MemDPCClassifier,
    *,
    net: Depth,
    epoch: int,
    iteration: int,
    best_acc: float = 0.0,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, Any]:
    """A checkpoint as the reference writes it, whose `--resume`, `--pretrain` and `--test` take it.

    Args:
        network: with both names for each of the GRUs' tensors.
        net: the backbone, as the reference calls it; of a classifier, it is stored as `backbone`, too.
        epoch: the last one finished, counted from 0; the reference goes on with this one.
        iteration: steps done plus 1.
        best_acc: the best top-1, as a share.
        optimizer: with one group of all parameters that learn, in the order of the network; None: without a state.

    Returns:
        `epoch`, `net`, `state_dict`, `best_acc`, `optimizer`, `iteration`.

    Raises:
        ValueError: the optimizer does not hold the network's parameters in one group.
    """
    content = {
        "epoch": epoch,
        "net": net,
        "state_dict": dict(_doubled(network.state_dict())),
        "best_acc": float(best_acc),
        "optimizer": None if optimizer is None else _optimizer_state(network, optimizer),
        "iteration": iteration,
    }
    return content | ({"backbone": net} if isinstance(network, MemDPCClassifier) else {})


def own_names(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors by our names, and the names whose two entries differ."""
    found, twice = {}, []
    for name, value in tensors.items():
        match = SECOND_NAME.fullmatch(name)
        own = f"{match[1]}cell_list.{int(match[2])}.{match[3]}" if match else name
        if match and own in tensors:
            if not torch.equal(tensors[own], value):
                twice.append(own)
            continue
        found[own] = value
    return found, tuple(twice)


def _doubled(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A state_dict with the GRUs' second names, each GRU's before its first ones, as the reference orders them."""
    done: set[str] = set()
    for name, value in state.items():
        match = OWN_NAME.fullmatch(name)
        if match and match[1] not in done:
            done.add(match[1])
            for other, tensor in state.items():
                if (same := OWN_NAME.fullmatch(other)) and same[1] == match[1]:
                    yield f"{same[1]}ConvGRUCell_{int(same[2]):02d}.{same[3]}", tensor
        yield name, value


def _depth_of(tensors: Mapping[str, Tensor], source: str) -> Depth:
    if not any(name.startswith(BACKBONE) for name in tensors):
        raise WeightsError(f"{source}: contains no MemDPC: no tensor's name begins with '{BACKBONE}'")
    return depth_of(tensors, PLANS, source, BACKBONE)


def _check_kind(own: Mapping[str, Tensor], published: Published, fresh: tuple[str, ...]) -> None:
    """Refuses other sizes by what they are, where a shape alone would say little."""
    if (depth := _depth_of(own, "the network")) != published.depth:
        raise WeightsError(f"{published.source}: its backbone is a {published.depth}, not a {depth}")
    sizes = [
        ("memory slots", published.slots, own.get(MEMORY), MEMORY),
        ("classes", published.classes, own.get(CLASSES), CLASSES),
    ]
    for what, theirs, tensor, name in sizes:
        if tensor is not None and theirs not in (None, len(tensor)) and not name.startswith(fresh):
            raise WeightsError(f"{published.source}: it has {theirs} {what}, not {len(tensor)}")


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(BACKBONE): value for name, value in tensors.items() if name.startswith(BACKBONE)}


def _optimizer_state(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state_dict; the moments of a flat convolution have the third axis that the reference's have."""
    ours = [parameter for parameter in network.parameters() if parameter.requires_grad]
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if len(optimizer.param_groups) != 1 or [id(each) for each in held] != [id(each) for each in ours]:
        raise ValueError("the reference's optimizer has one group, of all the network's parameters that learn")
    shapes = [value.shape for name, value in network.state_dict(keep_vars=True).items() if value.requires_grad]
    state = optimizer.state_dict()
    return state | {
        "state": {
            number: {
                name: value.reshape(shapes[number]) if isinstance(value, Tensor) and value.dim() > 1 else value
                for name, value in moments.items()
            }
            for number, moments in state["state"].items()
        }
    }

"""Checkpoints of RepLAI and AVID, in all their layouts: read, loaded into our networks, written as RepLAI's.

RepLAI's training writes `{"model": {"module.backbone.video.*", "module.backbone.audio.*", "module.mlp.*"}, ...}`, its
converter for Ego4D reads the same from the entry `model_av` and writes `{"state_dict": {"conv1.0.weight", ...}}`, the
video network alone; AVID's have `module.video_model.*`, `module.audio_model.*` and heads that RepLAI does not use. A
run of ours has `replai.safetensors`, with RepLAI's names without `module.`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from egotools.errors import WeightsError
from egotools.nn.r2plus1d import BLOCKS, STAGES, Depth, Pool, R2Plus1D
from egotools.nn.spec_cnn import AvidSpecCnn9, SpecCnn
from egotools.weights.run_files import AUDIO, BACKBONE, RUN, backbone_file, run_and_view
from egotools.weights.tensors import check_fit, named_tensors, read_content, read_tensors

TENSORS = "replai.safetensors"  # of a run: both networks and the heads
VIDEO, SOUND, HEADS = "backbone.video.", "backbone.audio.", "mlp."
Sound = Literal["avid", "speccnn"]
SOUND_NETWORKS: dict[Sound, type[AvidSpecCnn9] | type[SpecCnn]] = {"avid": AvidSpecCnn9, "speccnn": SpecCnn}
PREFIX = r"(?P<prefix>(?:\w+\.)*)"
INNER: dict[Sound | None, re.Pattern[str]] = {  # what only a tensor of that network is called; None: the video network
    None: re.compile(rf"{PREFIX}conv[2-5]x\..+"),
    "avid": re.compile(rf"{PREFIX}block[1-4]\.(conv|bn)[12]\.\w+"),
    "speccnn": re.compile(r"(?P<prefix>((\w+\.)*(audio|audio_model)\.)?)[3-6]\.(conv|bn)[12]\.\w+"),
}
OWN: dict[Sound | None, re.Pattern[str]] = {  # what the names of a network's tensors begin with
    None: re.compile(r"conv(1|[2-5]x)\."),
    "avid": re.compile(r"(conv1|block[1-4])\."),
    "speccnn": re.compile(r"[013-6]\."),
}
WHOLE = (VIDEO, SOUND, "video_model.", "audio_model.")  # prefixes under which nothing else can stand
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class ReplaiWeights:
    """What a checkpoint of RepLAI or AVID holds, each part by the names that our networks have."""

    source: str
    layout: str  # which one it is, in words
    video: dict[str, Tensor]  # of `R2Plus1D`; empty if the file has no video network
    depth: Depth | None  # of the video network
    audio: dict[str, Tensor]  # of `sound`; empty if the file has no network for sound
    sound: Sound | None  # which network for sound it has
    heads: dict[str, Tensor]  # RepLAI's, such as `video_clr.0.weight`
    unused: tuple[str, ...] = ()  # names of tensors that belong to none of these, such as AVID's heads

    @property
    def network(self) -> str:
        """What it holds, in words."""
        video = [f"video R(2+1)D-{self.depth}"] if self.video else []
        sound = [f"sound CNN {self.sound}"] if self.audio else []
        heads = [f"{len({name.split('.')[0] for name in self.heads})} heads"] if self.heads else []
        return ", ".join((*video, *sound, *heads))


def read_replai(weights: Path | str) -> ReplaiWeights:
    """A checkpoint of RepLAI or AVID, what Ego4D's converter made of one, or a run; nothing in it is executed.

    Args:
        weights: a file, a run's folder, or `run:DIR`. A run without `replai.safetensors` is read by its backbones.

    Raises:
        WeightsError: it cannot be read, has neither network, or a network lacks a tensor, has an unknown one or one
            of another shape; names the first of each.
    """
    place = str(weights)
    if place.startswith(RUN) or Path(place).is_dir():
        return _of_run(run_and_view(place)[0])
    path = Path(weights)
    content = read_content(path)
    return published_of(named_tensors(content, path), path, content)


def published_of(found: Mapping[str, Tensor], path: Path, content: Any = None) -> ReplaiWeights:
    """As `read_replai`, from the tensors that were read, without `module.`, and the whole content (Any), if known.

    Raises:
        WeightsError: as of `read_replai`.
    """
    prefixes: dict[Sound | None, str] = {
        kind: prefix for kind in INNER if (prefix := _prefix(found, INNER[kind], path)) is not None
    }
    if not prefixes:
        raise WeightsError(
            f"{path}: contains no network of RepLAI or AVID: no tensor's name has the 'conv2x.' of R(2+1)D, or the"
            " 'block1.' of the CNN over spectrograms"
        )
    parts = {kind: _part(found, prefix, OWN[kind]) for kind, prefix in prefixes.items()}
    video = parts.get(None, {})
    depth = _depth_of(video, str(path)) if video else None
    sound: Sound | None = next((kind for kind in SOUND_NETWORKS if kind in parts), None)
    audio = parts[sound] if sound else {}
    if depth is not None:
        _check(R2Plus1D, video, str(path), prefixes[None], depth)
    if sound is not None:
        _check(SOUND_NETWORKS[sound], audio, str(path), prefixes[sound])
    heads = {name.removeprefix(HEADS): value for name, value in found.items() if name.startswith(HEADS)}
    used = {f"{prefixes[kind]}{name}" for kind, part in parts.items() for name in part}
    unused = tuple(name for name in found if name not in used and not name.startswith(HEADS))
    layout = _layout(content, prefixes)
    return ReplaiWeights(str(path), layout, video, depth, audio, sound, heads, unused)


def video_network(weights: ReplaiWeights, *, pool: Pool = "max", temporal_strides: bool = True) -> R2Plus1D:
    """The video network of a checkpoint, with its weights; in train mode as any new one.

    Raises:
        WeightsError: the checkpoint has none.
    """
    if weights.depth is None:
        raise WeightsError(f"{weights.source}: contains no video network, only {weights.network}")
    with torch.device("meta"):
        network = R2Plus1D(weights.depth, pool=pool, temporal_strides=temporal_strides)
    return _with(network, weights.video)


def sound_network(weights: ReplaiWeights) -> AvidSpecCnn9 | SpecCnn:
    """The network for sound of a checkpoint, with its weights; in train mode as any new one.

    Raises:
        WeightsError: the checkpoint has none.
    """
    if weights.sound is None:
        raise WeightsError(f"{weights.source}: contains no network for sound, only {weights.network}")
    with torch.device("meta"):
        network = SOUND_NETWORKS[weights.sound]()
    return _with(network, weights.audio)


def load_video(network: R2Plus1D, weights: ReplaiWeights) -> None:
    """Loads the video network of a checkpoint into one of ours.

    Raises:
        WeightsError: the checkpoint has none, or one of another depth.
    """
    if weights.depth is None:
        raise WeightsError(f"{weights.source}: contains no video network, only {weights.network}")
    if weights.depth != network.depth:
        raise WeightsError(
            f"{weights.source}: its video network is R(2+1)D-{weights.depth}, not R(2+1)D-{network.depth}"
        )
    network.load_state_dict(_whole(network, weights.video))


def load_sound(network: AvidSpecCnn9 | SpecCnn, weights: ReplaiWeights) -> None:
    """Loads the network for sound of a checkpoint into one of ours.

    Raises:
        WeightsError: the checkpoint has none, or another one.
    """
    if weights.sound is None:
        raise WeightsError(f"{weights.source}: contains no network for sound, only {weights.network}")
    wanted = next(name for name, kind in SOUND_NETWORKS.items() if isinstance(network, kind))
    if weights.sound != wanted:
        raise WeightsError(f"{weights.source}: its network for sound is {weights.sound}, not {wanted}")
    check_fit(network.state_dict(), weights.audio, heads=(), source=f"{weights.source}, sound")
    network.load_state_dict(_whole(network, weights.audio))


def published_content(tensors: Mapping[str, Tensor], *, epoch: int) -> dict[str, Any]:  # Any: as torch saves it
    """A checkpoint as RepLAI's training writes it, without the states of its optimizer and its sampler.

    Args:
        tensors: by RepLAI's names without `module.`: `backbone.video.*`, `backbone.audio.*`, `mlp.*`.
        epoch: as the reference counts, the number of the running one.

    Returns:
        `model`, `epoch`.
    """
    return {"model": {f"module.{name}": value for name, value in tensors.items()}, "epoch": epoch}


def _of_run(run: Path) -> ReplaiWeights:
    whole = run / TENSORS
    if whole.is_file():
        return published_of(read_tensors(whole), whole)
    found = {f"{VIDEO}{name}": value for name, value in read_tensors(backbone_file(run, "")).items()}
    try:
        sound = backbone_file(run, AUDIO)
    except WeightsError:  # a run of a method that has learned the video network only
        return published_of(found, run / BACKBONE)
    return published_of(found | {f"{SOUND}{name}": value for name, value in read_tensors(sound).items()}, run)


def _prefix(found: Mapping[str, Tensor], inner: re.Pattern[str], path: Path) -> str | None:
    """What stands before the names of a network; None: there is no such network."""
    prefixes = list(dict.fromkeys(match["prefix"] for name in found if (match := inner.fullmatch(name))))
    if len(prefixes) > 1:
        raise WeightsError(f"{path}: has several such networks, {' and '.join(map(repr, prefixes))}; which is not said")
    return prefixes[0] if prefixes else None


def _part(found: Mapping[str, Tensor], prefix: str, own: re.Pattern[str]) -> dict[str, Tensor]:
    """The tensors under a prefix; where others may stand there, too, only those that can be of the network."""
    part = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    return part if prefix.endswith(WHOLE) else {name: value for name, value in part.items() if own.match(name)}


def _depth_of(video: Mapping[str, Tensor], source: str) -> Depth:
    """By the number of blocks of each stage; a stage of one block has no numbers."""
    counts = []
    for stage in STAGES:
        parts = {name.split(".")[1] for name in video if name.startswith(f"{stage}.")}
        counts.append(len({part for part in parts if part.isdecimal()}) or min(len(parts), 1))
    for depth, blocks in BLOCKS.items():
        if list(blocks) == counts:
            return depth
    raise WeightsError(
        f"{source}: its video network has {', '.join(map(str, counts))} blocks in {STAGES[0]} to {STAGES[-1]}, which is"
        f" none of R(2+1)D-{', -'.join(map(str, BLOCKS))}"
    )


def _check(build: Any, tensors: Mapping[str, Tensor], source: str, prefix: str, *arguments: Any) -> None:
    """Refuses tensors that do not fit a new network (Any: its class), named as in the file, but for `module.`."""
    with torch.device("meta"):
        own = build(*arguments).state_dict()
    named = ({f"{prefix}{name}": value for name, value in each.items()} for each in (own, tensors))
    check_fit(next(named), next(named), heads=(), source=source)


def _whole(network: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With the counters of batches, which may be missing and which nothing uses."""
    counters = {name for name in network.state_dict() if name.endswith("num_batches_tracked")}
    return {**{name: torch.tensor(0) for name in counters}, **tensors}


def _with(network: Network, tensors: Mapping[str, Tensor]) -> Network:
    own = network.state_dict()
    whole = {name: value.to(own[name].dtype, copy=True) for name, value in _whole(network, tensors).items()}
    network.load_state_dict(whole, assign=True)
    return network.requires_grad_()


def _layout(content: Any, prefixes: Mapping[Sound | None, str]) -> str:
    """Which layout it is, in words."""
    named = set(prefixes.values())
    entry = next((name for name in ("model", "model_av", "state_dict") if _has(content, name)), "")
    whose = "AVID" if any(prefix.endswith(WHOLE[2:]) for prefix in named) else "RepLAI"
    kind = f"{whose} checkpoint" if any(prefix.endswith(WHOLE) for prefix in named) else f"{whose} backbone"
    return f"{kind}, entry {entry}" if entry else kind


def _has(content: Any, name: str) -> bool:
    return isinstance(content, Mapping) and isinstance(content.get(name), Mapping)

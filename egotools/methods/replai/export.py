"""What a run of RepLAI keeps of its networks, and the same as a checkpoint in the published layout."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save
from torch import Tensor

from egotools.extractors.avid import usual_resize
from egotools.extractors.backbone import DEFAULT, View, write_backbone
from egotools.methods.exports import learned_tensors
from egotools.training.runs import Run
from egotools.weights.replai import SOUND, TENSORS, VIDEO, ReplaiWeights, published_content, published_of
from egotools.weights.run_files import AUDIO
from egotools.weights.tensors import plain_tensors
from egotools.weights.torch_files import write_torch

COMMANDS = "'egotools train replai'"


@dataclass(frozen=True)
class Seen:
    """What the networks were shown in training, without what was drawn."""

    size: int  # side of the frames, in pixels
    frames: int  # of a window
    video_duration: float  # seconds of a window
    audio_duration: float  # seconds of sound
    min_size: int | None = None  # shorter side of the frames that squares are cut out of; None: the usual one
    eval_interpolation: Literal["nearest", "bilinear"] = "nearest"  # how frames are resized where nothing is drawn


def keep_network(run: Run, state: Mapping[str, Tensor], seen: Seen) -> None:
    """Writes the networks and heads, and both backbones for `run:DIR` and `run:DIR#audio`.

    Args:
        run: gets `replai.safetensors`, `backbone.safetensors`, `backbone.audio.safetensors` and `backbone.json`.
        state: of the module that was trained, by RepLAI's names: `backbone.video.*`, `backbone.audio.*`, `mlp.*`.
        seen: becomes the options of both extractors.

    Raises:
        WeightsError: the networks are none of RepLAI's.
        OutputError: the files cannot be written.
    """
    tensors = plain_tensors(state)
    found = published_of(tensors, run.path / TENSORS)
    run.write(TENSORS, save(tensors))
    write_backbone(run.path, views_of(found, seen), found.video, found.audio or None)


def views_of(found: ReplaiWeights, seen: Seen) -> dict[str, View]:
    """How the extractors show the backbones clips; what is usual is left out, so that other options can change it."""
    is_usual = seen.min_size in (None, usual_resize(seen.size))
    video = {
        "depth": str(found.depth),
        "size": seen.size,
        "frames": seen.frames,
        "duration": seen.video_duration,
        "resize": None if is_usual else seen.min_size,
        "interpolation": None if seen.eval_interpolation == "nearest" else seen.eval_interpolation,
    }
    views = {DEFAULT: View("avid-video", video)}
    return views | ({AUDIO: View("avid-audio", {"length": seen.audio_duration})} if found.audio else {})


def export_run(run: Path, out: Path) -> dict[str, Any]:
    """Writes a run's networks and heads as the reference's `checkpoint_*.pth`.

    Its `epoch` is the number of epochs that the run's report has, 0 without one. The states of optimizer and sampler
    are not exported: the reference can begin with the file, not resume.

    Returns:
        What was written: `network`, in words, and `epoch`. Any: JSON values.

    Raises:
        RunError: there is no such run, or it has no networks of RepLAI.
        WeightsError: its tensors cannot be used.
        OutputError: the file cannot be written.
    """
    there = Run.open(run)
    tensors = learned_tensors(there, TENSORS, COMMANDS)
    found = published_of(tensors, run / TENSORS)
    report: dict[str, Any] = there.report() if there.is_done else {}
    epoch = int(report.get("epochs") or 0)
    write_torch(out, published_content(_named(found), epoch=epoch))
    return {"path": str(out), "network": found.network, "epoch": epoch}


def in_words(done: Mapping[str, Any]) -> str:
    """What was written, for the screen."""
    return f"RepLAI ({done['network']})"


def _named(found: ReplaiWeights) -> dict[str, Tensor]:
    parts = ((VIDEO, found.video), (SOUND, found.audio), ("mlp.", found.heads))
    return {f"{prefix}{name}": value for prefix, part in parts for name, value in part.items()}

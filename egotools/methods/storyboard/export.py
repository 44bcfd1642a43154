"""What a run of Memory Storyboard keeps of its network, and the same as a checkpoint in the published layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from egotools.errors import RunError
from egotools.extractors.backbone import DEFAULT, View, read_backbone, write_backbone
from egotools.methods.exports import learned_tensors
from egotools.methods.storyboard.learners import Learner
from egotools.nn.storyboard import ACTIVATIONS
from egotools.training.checkpoint import CHECKPOINT
from egotools.training.runs import Run
from egotools.weights.run_files import RUN
from egotools.weights.storyboard import (
    BACKBONE,
    Published,
    published_content,
    published_of,
    read_label_mapping,
    write_label_mapping,
)
from egotools.weights.tensors import plain_tensors, read_content
from egotools.weights.torch_files import write_torch

TENSORS = "storyboard.safetensors"  # of a run: the whole learner, by the published names
MAPPING = "label_mapping.pkl"  # of a run that merges labels
EXTRACTOR = "storyboard"
VIEWS = ((DEFAULT, "evaluation"), ("cluster", "cluster"))  # of the backbone, and the extractor's names for them


def keep_network(run: Run, learner: Learner, *, crop_size: int, vertical_flip: bool) -> None:
    """Writes the learner, and its backbone for `run:DIR` (as frames are evaluated) and `run:DIR --view cluster`.

    Args:
        run: gets `storyboard.safetensors`, `backbone.safetensors` and `backbone.json`.
        learner: after its last step.
        crop_size: side of what it has seen, in pixels.
        vertical_flip: whether frames were turned upside down in training, and for the clustering.

    Raises:
        OutputError: they cannot be written.
    """
    state = plain_tensors(learner.state_dict())
    run.write(TENSORS, save(state))
    backbone = {name.removeprefix(BACKBONE): value for name, value in state.items() if name.startswith(BACKBONE)}
    write_backbone(run.path, views_of(learner, crop_size=crop_size, vertical_flip=vertical_flip), backbone)


def views_of(learner: Learner, *, crop_size: int, vertical_flip: bool) -> dict[str, View]:
    """How the extractor shows a learner's backbone frames: in evaluation, and as they are clustered."""
    options = {
        "depth": str(learner.backbone.depth),
        "norm": learner.backbone.norm,
        "activation": learner.backbone.activation,
        "crop_size": crop_size,
        "vertical_flip": vertical_flip,
    }
    return {name: View(EXTRACTOR, {**options, "view": view}) for name, view in VIEWS}


def export_run(run: Path, out: Path) -> dict[str, Any]:
    """Writes a run's network as the reference's `step_*.pth`, and its `label_mapping.pkl`, if it has one, beside it.

    The optimizer's state is that of the run's checkpoint, if that is of the same step.

    Returns:
        What was written: `net`, `norm`, `method`, whether there is an optimizer's state. Any: JSON values.

    Raises:
        RunError: there is no such run, it has no network of Memory Storyboard, or one that the reference cannot have.
        WeightsError: its tensors cannot be used.
        OutputError: a file cannot be written.
    """
    there = Run.open(run)
    published = published_of(learned_tensors(there, TENSORS, "'egotools train storyboard'"), run / TENSORS)
    _check_activation(run, published)
    optimizer = _optimizer_of(there, published.tensors)
    write_torch(out, published_content(published.tensors, optimizer))
    if (run / MAPPING).is_file():
        write_label_mapping(out.with_name(MAPPING), read_label_mapping(run / MAPPING))
    facts = {"net": published.network, "method": published.method, "optimizer": optimizer is not None}
    return {"path": str(out), **facts}


def in_words(done: Mapping[str, Any]) -> str:
    """What was written, for the screen."""
    state = "its optimizer's state" if done["optimizer"] else "no optimizer's state: the run keeps none of this step"
    return f"Memory Storyboard {done['net']} ({done['method']}), with {state}"


def _check_activation(run: Path, published: Published) -> None:
    """The reference's networks have one activation with each norm; with another its programs would go wrong unseen."""
    found = (read_backbone(f"{RUN}{run}").defaults or {}).get("activation")
    if found not in (None, own := ACTIVATIONS[published.norm]):
        raise RunError(f"{run}: its network has {published.norm} norm and {found}; the layout has {own} there, only")


def _optimizer_of(run: Run, tensors: Mapping[str, Tensor]) -> Mapping[str, Any] | None:
    """The optimizer's state_dict in the run's checkpoint, if the network there is the one of these tensors."""
    path = run.path / CHECKPOINT
    if not path.is_file():
        return None
    parts = read_content(path).get("parts", {})
    model, optimizer = parts.get("model"), parts.get("optimizer")
    if not isinstance(model, Mapping) or not isinstance(optimizer, Mapping) or set(model) != set(tensors):
        return None
    return optimizer if all(torch.equal(value, tensors[name]) for name, value in model.items()) else None

"""The two networks of a run as extractors take them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from egotools.files.disk import write_whole
from egotools.methods.replai.options import ReplaiOptions
from egotools.weights.replai import SOUND, VIDEO
from egotools.weights.run_files import AUDIO_BACKBONE, BACKBONE


def write_backbones(run: Path, tensors: Mapping[str, Tensor], options: ReplaiOptions) -> None:
    """Writes what `egotools extract ... run:DIR` and `run:DIR#audio` need: the networks, and how they were shown clips.

    Args:
        run: the folder.
        tensors: of the whole module, by RepLAI's names.
        options: of the training.
    """
    video, sound = (
        {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        for prefix in (VIDEO, SOUND)
    )
    write_whole(run / BACKBONE, save(video))
    write_whole(run / AUDIO_BACKBONE, save(sound))

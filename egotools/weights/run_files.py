"""The files of a run that `run:<dir>[#<view>]` refers to. Does not import torch."""

from pathlib import Path

from egotools.errors import WeightsError

RUN = "run:"
BACKBONE, AUDIO_BACKBONE, PCA_FILE = "backbone.safetensors", "backbone.audio.safetensors", "pca.npz"
AUDIO = "audio"  # the view for sound; further ones are `audio.<name>`


def run_and_view(name: str) -> tuple[Path, str]:
    """The folder and the view of `run:<dir>#<view>`; the view is empty if none is given.

    A folder's own name may hold a `#`, too: if that folder exists, it is the one meant.

    >>> run_and_view("run:runs/nowhere#clip")
    (PosixPath('runs/nowhere'), 'clip')
    """
    place = name.removeprefix(RUN)
    folder, _, view = place.rpartition("#")
    if not folder or not view or "/" in view or Path(place).is_dir():
        return Path(place), ""
    return Path(folder), view


def is_for_sound(view: str) -> bool:
    """Whether a view belongs to a run's second backbone."""
    return view.partition(".")[0] == AUDIO


def backbone_file(run: Path, view: str) -> Path:
    """The file of the tensors that a view of a run uses.

    Raises:
        WeightsError: the run does not exist, or does not have the file.
    """
    name = AUDIO_BACKBONE if is_for_sound(view) else BACKBONE
    if not run.is_dir():
        raise WeightsError(f"{run}: no such run")
    if not (run / name).is_file():
        raise WeightsError(f"{run}: contains no {name}; it must be a finished run of a method that trains a backbone")
    return run / name

"""What the exports of runs in published layouts share."""

from torch import Tensor

from egotools.errors import RunError
from egotools.training.runs import Run
from egotools.weights.tensors import read_tensors


def learned_tensors(run: Run, name: str, commands: str) -> dict[str, Tensor]:
    """The tensors of a file of a run, by their names.

    Raises:
        RunError: the run has no such file; the commands are named whose runs do.
        WeightsError: it cannot be read.
    """
    if not (run.path / name).is_file():
        raise RunError(f"{run.path} has no {name}: it must be a finished run of {commands}")
    return read_tensors(run.path / name)

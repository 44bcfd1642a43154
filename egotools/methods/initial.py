"""The weights that a training begins with: `--init`."""

from collections.abc import Sequence
from pathlib import Path

from egotools.errors import RunError, TrainingError
from egotools.training.runs import Run
from egotools.weights.run_files import RUN


def initial_weights(init: str, name: str, methods: Sequence[str]) -> Path:
    """The checkpoint that `--init` says.

    Args:
        init: a file, or `run:DIR`.
        name: the file of a run that has its network.
        methods: of the commands that write such runs.

    Raises:
        TrainingError: there is no such file.
        RunError: the run is not done, or of another method.
    """
    if not init.startswith(RUN):
        if not Path(init).is_file():
            raise TrainingError(f"--init {init}: no such file; give a checkpoint, or run:DIR")
        return Path(init)
    folder = Path(init.removeprefix(RUN))
    if not Run.exists(folder):
        raise RunError(f"--init {init}: {folder} is no run: it has no config.json")
    run = Run.open(folder)
    if run.recipe.identity.get("method") not in methods:
        commands = " or ".join(f"'egotools train {method}'" for method in methods)
        raise RunError(f"--init {init}: {folder} is not a run of {commands}")
    if run.is_done and not (run.path / name).is_file():
        raise RunError(f"--init {init}: {folder} is of another network: it has no {name}")
    if not (run.path / name).is_file():
        raise RunError(f"--init {init}: {folder} is not done: it has no {name}; rerun its command to resume")
    return run.path / name

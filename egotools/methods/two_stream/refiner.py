"""A trained refiner as files: of a run, and as the published code saved it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from egotools.config import field_values, options_of, to_json
from egotools.errors import RunError, WeightsError
from egotools.nn.view_invariance import Axis, Refiner
from egotools.training.runs import Run
from egotools.weights.run_files import RUN, run_and_view
from egotools.weights.tensors import load_into, read_tensors

FACTS, TENSORS, BEST_TENSORS = "refiner.json", "refiner.safetensors", "refiner.best.safetensors"
BEST = "best"  # `run:DIR#best`
PUBLISHED_HEADS = 32
FIRST = "layers.0."


@dataclass(frozen=True)
class RefinerFacts:
    """`refiner.json`: how a refiner is built, and how it was trained; texts are empty where a file does not say."""

    width: int  # D
    layers: int
    heads: int
    feedforward: int
    dropout: float = 0.1  # that it was trained with
    attention_axis: Axis = "batch"
    objective: str = ""
    student: str = ""  # views
    teacher: str = ""
    third: str = ""

    def refines(self, view: str) -> bool:
        """Whether features of a view are meant to be refined: "sync-kd" makes the others like those of the student."""
        return self.objective != "sync-kd" or view != self.student


def write_refiner(run: Run, refiner: Refiner, facts: RefinerFacts, best: dict[str, Tensor] | None = None) -> None:
    """Keeps a refiner in a run, and the parameters of its best epoch if they are others."""
    from safetensors.torch import save

    def written(tensors: dict[str, Tensor]) -> bytes:
        return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})

    run.write(TENSORS, written(refiner.state_dict()))
    if best is not None:
        run.write(BEST_TENSORS, written(best))
    run.write(FACTS, to_json(options_of(facts)))


def read_refiner(source: str, *, heads: int = PUBLISHED_HEADS) -> tuple[Refiner, RefinerFacts]:
    """The refiner of a run or of a published checkpoint, on the CPU and in evaluation mode.

    Args:
        source: `run:DIR`, `run:DIR#best` for the parameters of the best epoch, or a file: the bare state_dict of the
            published code (`ssl_vic_epoch-250.model`), with or without the `module.` of data-parallel training.
        heads: of a file, which does not say them.

    Raises:
        WeightsError: no such file, or one of something else.
        RunError: no such run, or one without a refiner.
    """
    path = refiner_file(source)
    tensors = read_tensors(path)
    facts = _facts_of_run(path.parent) if source.startswith(RUN) else _facts_of(tensors, path, heads)
    try:
        refiner = Refiner(facts.width, facts.layers, facts.heads, facts.feedforward, facts.dropout)
    except ValueError as error:
        raise WeightsError(f"{path}: no refiner can be built: {error}") from error
    load_into(refiner, tensors, heads=(), source=str(path))
    return refiner.eval(), facts


def refiner_file(source: str) -> Path:
    """The file of the tensors that `read_refiner` reads.

    Raises:
        WeightsError: there is no such file.
        RunError: there is no such run, or it has no refiner.
    """
    if not source.startswith(RUN):
        if not Path(source).is_file():
            raise WeightsError(f"{source}: no such file; a refiner is run:DIR or a published checkpoint")
        return Path(source)
    folder, name = run_and_view(source)
    if name not in ("", BEST):
        raise RunError(f"{source}: a run has its last refiner, and #{BEST}, not #{name}")
    if not Run.exists(folder):
        raise RunError(f"{folder} is no run: it has no config.json")
    path = folder / (BEST_TENSORS if name else TENSORS)
    if not path.is_file() or not (folder / FACTS).is_file():
        raise RunError(
            f"{folder} has no {path.name}: it is no run of 'egotools train two-stream', or not done; rerun its command"
            " to resume"
        )
    return path


def _facts_of_run(folder: Path) -> RefinerFacts:
    found: dict[str, Any] = Run.open(folder).read(FACTS)  # Any: JSON values
    try:
        return RefinerFacts(**field_values(RefinerFacts, found))
    except (ValueError, TypeError) as error:
        raise RunError(f"{folder / FACTS} cannot be read: {error}") from error


def _facts_of(tensors: dict[str, Tensor], path: Path, heads: int) -> RefinerFacts:
    """What the shapes of a published state_dict say; published refiners attended over the batch."""
    first = tensors.get(f"{FIRST}linear1.weight")
    if first is None or first.ndim != 2:
        raise WeightsError(
            f"{path}: contains no refiner, whose parameters are {FIRST}linear1.weight and so on; it has"
            f" {next(iter(tensors), 'nothing')!r}"
        )
    numbers = {name.split(".")[1] for name in tensors if name.startswith("layers.")}
    return RefinerFacts(first.shape[1], len(numbers), heads, first.shape[0])

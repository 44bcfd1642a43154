"""The directory of one training: `config.json`, `metrics.jsonl`, `report.json` and what was learned."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from egotools.config import field_values, finite, to_json
from egotools.errors import OutputError, RunError, WeightsError
from egotools.files.disk import append_line, open_file, write_whole
from egotools.files.json_files import check_shape, parse_json, read_json
from egotools.provenance import versions
from egotools.stores.store import Recipe, differences
from egotools.stores.writer_lock import WriterLock
from egotools.tables.table import input_digests, manifest_digest
from egotools.training.world import ALONE, World

if TYPE_CHECKING:  # runs are opened without torch
    from torch import nn

CONFIG = "config.json"
METRICS = "metrics.jsonl"
REPORT = "report.json"
LOCK = ".writer"  # in the folder, while something is writing into it
Content = dict[str, Any]  # a report; Any: JSON values
Options = TypeVar("Options")


class Config(TypedDict):
    """`config.json`. Any: JSON values."""

    identity: dict[str, Any]
    origin: dict[str, Any]


class Line(TypedDict):
    """A line of `metrics.jsonl`; its other entries are figures."""

    step: int


@dataclass(frozen=True)
class Run:
    """One training's directory. Its recipe's `identity` decides whether the same training is meant.

    Every file appears whole or not at all, `report.json` last: a run that has one is done.
    """

    path: Path
    recipe: Recipe

    @staticmethod
    def exists(path: Path) -> bool:
        """Whether a run was begun at `path`."""
        return (path / CONFIG).exists()

    @classmethod
    def begin(cls, path: Path, recipe: Recipe) -> "Run":
        """The run at `path`, new or the one that has the same identity.

        Raises:
            RunError: the directory holds a run with other options (the first is named), or other files.
        """
        if cls.exists(path):
            there = cls.open(path)
            for name, was, now in differences(finite(there.recipe.identity), finite(recipe.identity)):
                raise RunError(
                    f"{path} holds a run with {name}={was!r}, not {now!r}; choose another --out, or delete it"
                )
            return there
        if path.exists() and (not path.is_dir() or any(each.name != LOCK for each in path.iterdir())):
            raise RunError(f"{path} exists and holds no run; choose another --out")
        write_whole(path / CONFIG, to_json(recipe))
        return cls(path, recipe)

    @classmethod
    def open(cls, path: Path, shape: Any = Config) -> "Run":  # Any: a type as a value
        """The run at `path`, whose `config.json` has the shape that is told (`egotools.files.json_files`).

        Raises:
            RunError: there is none, or its `config.json` is something else; the entry is named.
        """
        content = cls(path, Recipe({})).read(CONFIG, shape, missing=f"{path} is no run: it has no config.json")
        return cls(path, Recipe(content["identity"], content["origin"]))

    @classmethod
    def of_method(cls, path: Path, method: str, shape: Any) -> "Run":  # Any: a type as a value
        """As `open`, for a run of one method.

        Raises:
            RunError: it is of another method, too.
        """
        if cls.open(path).recipe.identity.get("method") != method:
            raise RunError(f"{path} is not a run of 'egotools train {method}'")
        return cls.open(path, shape)

    def read(self, name: str, shape: Any = dict[str, Any], *, missing: str = "") -> Any:  # Any: JSON values
        """A JSON file of the run, of the shape that is told.

        Raises:
            RunError: it cannot be read, or has another shape; the entry is named. Or it is missing, in these words.
        """
        path = self.path / name
        try:
            return read_json(path, shape)
        except FileNotFoundError as error:
            raise RunError(missing or f"{self.path} cannot be used: it has no {name}") from error
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise RunError(f"{path} cannot be read: {error}") from error

    def options(self, kind: type[Options], **instead: Any) -> Options:  # Any: JSON values
        """The options that the run was made with, a dataclass; those of `instead` have other values.

        Raises:
            RunError: its `config.json` has others.
        """
        try:
            return kind(**field_values(kind, {**self.recipe.identity, **instead}))
        except ValueError as error:
            raise RunError(f"{self.path / CONFIG} cannot be read: {error}") from error

    def load(self, name: str, network: "nn.Module") -> None:
        """Fills a network in place with the tensors of one of the run's files.

        Raises:
            RunError: the file is missing or damaged, or of another network.
        """
        from egotools.weights.tensors import load_into, read_tensors  # here: it loads torch

        path = self.path / name
        try:
            load_into(network, read_tensors(path), heads=(), source=str(path))
        except WeightsError as error:
            raise RunError(f"{self.path} cannot be used: {error}") from error

    @property
    def is_done(self) -> bool:
        return (self.path / REPORT).exists()

    def report(self, shape: Any = dict[str, Any]) -> dict[str, Any]:
        """The report of a run that is done, None for what is not finite. Any: JSON values, and a type as a value.

        Raises:
            RunError: it is not done, or its report has another shape; the entry is named.
        """
        undone = f"{self.path} is not done: it has no {REPORT}; rerun its command to resume"
        content: dict[str, Any] = finite(self.read(REPORT, shape, missing=undone))  # older ones hold NaN
        return content

    def write(self, name: str, content: str | bytes) -> None:
        """A file of the run, whole or not at all."""
        write_whole(self.path / name, content)

    def forget_if_empty(self) -> None:
        """Removes a run that has been begun and holds nothing yet."""
        if {each.name for each in self.path.iterdir()} <= {CONFIG, LOCK}:
            (self.path / CONFIG).unlink(missing_ok=True)

    def log(self, figures: Mapping[str, Any]) -> None:
        """One more line of `metrics.jsonl`; `step` says after how many steps. Any: JSON values."""
        append_line(self.path / METRICS, to_json(figures, indent=None))

    def drop_metrics_after(self, step: int) -> None:
        """Drops the lines of `metrics.jsonl` that were written after so many steps, and one that a kill cut off."""
        if (self.path / METRICS).exists():
            kept = [figures for figures in self.metrics() if figures["step"] <= step]
            self.write(METRICS, "".join(to_json(figures, indent=None) + "\n" for figures in kept))

    def metrics(self, shape: Any = Line) -> list[dict[str, Any]]:  # Any: JSON values, and a type as a value
        """The lines of `metrics.jsonl`, without one that a kill cut off.

        Raises:
            RunError: a line has another shape; it is named.
        """
        try:
            with open_file(self.path / METRICS) as file:
                lines = file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"{self.path / METRICS} cannot be read: {error.strerror}") from error
        return [self._figures(number, line, shape) for number, line in enumerate(lines, 1) if line.endswith(b"\n")]

    def _figures(self, number: int, line: bytes, shape: Any) -> dict[str, Any]:
        try:
            figures: dict[str, Any] = parse_json(line)
            check_shape(figures, shape)
        except ValueError as error:
            raise RunError(f"{self.path / METRICS} cannot be read: line {number}: {error}") from error
        return figures


def last_loss(run: Run) -> float | None:
    """The mean loss of the batches that were logged last; None if none was."""
    losses: list[float] = [line["loss"] for line in run.metrics() if "loss" in line]
    return losses[-1] if losses else None


def once(
    folder: Path | str,
    recipe: Recipe,
    make: Callable[[Run], Content],
    shape: Any = Content,
    world: World = ALONE,
) -> tuple[Content, bool]:
    """The report of the run in a folder, which is made unless it is done: every `train` command.

    Args:
        folder: of the run.
        recipe: what it is; its identity decides whether a run that is there is the same.
        make: writes what was learned into the run, and returns the report, which is written last. If it raises, a
            folder in which it has written nothing is removed again.
        shape: of a report that is there (`egotools.files.json_files`). Any: a type as a value.
        world: the processes that train together, all of which call this; `make` writes in the first one only.

    Returns:
        The report, and whether it is new.

    Raises:
        RunError: the folder holds a run with other options, or other files.
        StoreError: another process is writing there; it is named.
    """
    place = Path(folder)
    if Run.exists(place) and (run := Run.begin(place, recipe)).is_done:
        return run.report(shape), False
    with ExitStack() as stack:

        def begin() -> Run:
            if world.is_first:
                stack.enter_context(one_writer(place))
            return Run.begin(place, recipe)

        run = world.first_before_others(begin)
        if run.is_done:  # by another process, just now
            return run.report(shape), False
        try:
            content: Content = finite(make(run))
            if world.is_first:
                run.write(REPORT, to_json(content))
        finally:
            if world.is_first:
                run.forget_if_empty()
    return content, True


def run_recipe(
    method: str,
    arguments: Content,
    manifest: Path,
    caches: Sequence[Path] = (),
    inputs: Mapping[str, Any] | None = None,
    *,
    preset: str | None = None,
    **origin: Any,
) -> Recipe:
    """The recipe of a training: its options and the content of its inputs. Any: JSON values.

    Args:
        method: its name.
        arguments: options, JSON-ready.
        manifest: which clips; its digest counts, not its place.
        caches: in the order in which they are joined; reported only.
        inputs: what each cache holds, by a name; None: it is not a training on caches.
        preset: reported only, if there is one.
        origin: what else is reported only.
    """
    identity = {"method": method, **arguments, "manifest": manifest_digest(manifest)}
    places: Content = {"manifest": str(manifest.absolute())}
    if inputs is not None:
        identity["features"], places["features"] = inputs, [str(path.absolute()) for path in caches]
    named = {} if preset is None else {"preset": preset}
    return Recipe(identity, {**places, **origin, **named, "versions": versions()})


def provenance_of(
    arguments: Content, manifest: Path, caches: Sequence[Path] | None = None, segments: Path | None = None
) -> Content:
    """The end of every report: options, digests of the inputs, versions; None: it is not on caches, or segments."""
    inputs = input_digests(manifest, caches or ())
    if segments is not None:
        inputs["segments"] = {"path": str(segments), "digest": manifest_digest(segments)}
    if caches is None:
        del inputs["features"]
    return {"arguments": arguments, "inputs": inputs, "versions": versions()}


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Keeps others from writing into a folder; it is created, and removed again if nothing was written.

    Raises:
        StoreError: another process is writing there; it is named.
        OutputError: the folder cannot be made.
    """
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}") from error
    try:
        lock = WriterLock(folder, folder / LOCK)
        try:
            yield
        finally:
            lock.release()
    finally:
        with suppress(OSError):  # there is something in it
            for each in made:
                each.rmdir()


@contextmanager
def results_in(folder: Path | None) -> Iterator[None]:
    """As `one_writer`, for the files of an evaluation; None: nothing is written.

    Raises:
        RunError: the folder holds a run, whose report would be replaced.
    """
    if folder is None:
        yield
        return
    if Run.exists(folder):
        raise RunError(f"{folder} holds a run, whose report this would replace; choose another --out")
    with one_writer(folder):
        yield

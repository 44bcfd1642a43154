"""What a run keeps so that it can compute its features for new videos: recipes, and the small files they name."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import TypedDict

from egotools.config import digest, file_digest, to_json
from egotools.derive.fitted import file_of, what_is_lost
from egotools.errors import EgotoolsError, RunError
from egotools.extractors.lookup import find_extractor
from egotools.extractors.names import weights_option
from egotools.stores.lineage import cycle_in
from egotools.stores.store import Recipe
from egotools.tables.matching import Record, record_of
from egotools.training.runs import Run
from egotools.weights.pca import pca_path

FILE = "features.json"
FILES = "files"


class Shape(TypedDict):
    """`features.json`: by names that differ, in the order in which the features are joined."""

    records: dict[str, Record]


def keep_records(run: Run, caches: Sequence[Path]) -> dict[str, Record]:
    """The record of each cache, by its name; a PCA and what a similarity learned are copied into the run.

    The networks' own weights are not: they are large, and `predict` finds them where the recipe says.
    """
    records: dict[str, Record] = {}
    for cache in caches:
        names = chain([cache.stem], (f"{cache.stem}-{number}" for number in count(2)))
        name = next(each for each in names if each not in records)
        records[name] = _with_files(run, name, record_of(cache))
    return records


def write_records(run: Run, caches: Sequence[Path]) -> None:
    """Keeps the records of a run's features in its `features.json`."""
    run.write(FILE, to_json({"records": keep_records(run, caches)}))


def has_records(run: Run) -> bool:
    """Whether a run keeps records; those of earlier versions do not."""
    return (run.path / FILE).exists()


def read_records(run: Run) -> dict[str, Record]:
    """What `write_records` kept.

    Raises:
        RunError: there are none, or they contradict themselves; the entry is named.
    """
    if not has_records(run):
        raise RunError(
            f"{run.path} does not say how its features are computed, as runs of earlier versions do not;"
            " train it again with another --out"
        )
    records: dict[str, Record] = run.read(FILE, Shape)["records"]
    try:
        check_records(records)
    except ValueError as error:
        raise RunError(f"{run.path / FILE} cannot be read: {error}") from error
    return records


def check_records(records: Mapping[str, Record]) -> None:
    """Refuses files outside the run, and features that follow from themselves.

    Raises:
        ValueError: names the entry.
    """
    for name, record in records.items():
        _check_files(record, f"records.{name}")
        graph: dict[str, set[str]] = {}
        for after, before in _edges(record):
            graph.setdefault(after, set()).add(before)
        if cycle_in(graph):
            raise ValueError(f"'records.{name}' follows from itself")


def _check_files(record: Record, entry: str) -> None:
    file = record["file"]
    if file is not None and (not file.startswith(f"{FILES}/") or ".." in Path(file).parts):
        raise ValueError(f"'{entry}.file' is {file!r}, which is no file of the run")
    for name, each in record["inputs"].items():
        _check_files(each, f"{entry}.inputs.{name}")


def _edges(record: Record) -> Iterator[tuple[str, str]]:
    """Each recipe of a record, by its digest, with one of its inputs."""
    for each in record["inputs"].values():
        yield digest(record["identity"]), digest(each["identity"])
        yield from _edges(each)


def _with_files(run: Run, name: str, record: Record) -> Record:
    inputs = {stem: _with_files(run, f"{name}-of-{stem}", each) for stem, each in record["inputs"].items()}
    source, kept = _file(Path(record["cache"]), Recipe(record["identity"], record["origin"])), None
    if source is not None:
        kept = f"{FILES}/{name}{source.suffix}"
        run.write(kept, source.read_bytes())
    return {**record, "inputs": inputs, "file": kept}


def _file(cache: Path, recipe: Recipe) -> Path | None:
    """The small file that a recipe needs, if it is still the one that it names."""
    fitted = file_of(cache, recipe)
    if fitted is not None:
        return None if what_is_lost(cache, recipe) else fitted
    name, place = recipe.origin.get("extractor"), recipe.origin.get("weights")
    if not isinstance(name, str) or not isinstance(place, str):
        return None
    try:
        if weights_option(find_extractor(name, trusted=()).kind) != "pca":  # code of users is not run for that
            return None
        path = pca_path(place)
    except EgotoolsError:
        return None
    return path if file_digest(path) == recipe.identity.get("weights") else None

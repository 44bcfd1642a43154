"""Deriving a cache from others, with the recipe that later tells whether it is up to date."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from egotools.config import options_of, plain
from egotools.derive.fitted import Learned, exchange, keep, what_is_lost
from egotools.errors import RecipeError, StoreError
from egotools.files.disk import real
from egotools.progress import Progress, no_progress
from egotools.provenance import surroundings
from egotools.stores.aside import aside
from egotools.stores.digest import content_of
from egotools.stores.opening import open_store, open_writer
from egotools.stores.publish import CLIPS_PER_COMMIT
from egotools.stores.source import Source, content_digest
from egotools.stores.store import SUFFIXES, Recipe, Store, check_dtype, differences, part_of
from egotools.stores.verify import verify
from egotools.types import Rows

FAILED = "failed"  # the entry of a recipe's origin on how many clips could not be made


class Derivation(Protocol):
    """How rows come from rows. A frozen dataclass: its fields are its options; the constructor does no work.

    An option that is a `Path` (a manifest, a run) is known by its content: a file that changes makes the cache stale.
    `naming` is what a cache is called unless the user says otherwise, after its input's name.
    """

    version: ClassVar[int]  # raised when the numbers change
    naming: ClassVar[str]

    def rows(self, inputs: Mapping[str, Store]) -> Iterator[tuple[str, Rows]]:
        """Every clip of the inputs, once, with its rows; one that has none, too. Reads clips with `copying.intact`.

        A derivation that is fitted to the inputs first, or makes other clips than theirs, is a `LearningDerivation`.
        """


@runtime_checkable
class LearningDerivation(Protocol):
    """A derivation that looks at all its inputs first, and says more than rows: what it learned, which clips it makes.

    What it learned is kept, so that new clips can be treated as those of the cache were. Clips of its own come with
    their sources; those that cannot be made are named in `failed`, and the others are made.
    """

    version: ClassVar[int]
    naming: ClassVar[str]

    def learn(self, inputs: Mapping[str, Store]) -> Learned:
        """What the inputs teach, and with it the rows of every clip; again the same for the same inputs and files."""


@dataclass(frozen=True)
class Derived:
    """A cache that is made from others: by which derivation, and where its inputs lie, by their names."""

    cache: Path
    name: str  # of the derivation, as in `derive.BUILT_IN`
    derivation: Derivation | LearningDerivation
    inputs: Mapping[str, Path]  # the stem of each input's file name -> its path
    dtype: str = "float32"  # of the rows on disk; or float16

    def recipe(self, origin: Mapping[str, Any] | None = None, stores: Mapping[str, Store] | None = None) -> Recipe:
        """The recipe of a cache made from what the inputs (opened as `stores`) hold now. Any: JSON values.

        Raises:
            StoreError: an input, or a file that an option names, cannot be read.
        """
        files = _files_of(self.derivation)
        identity = {
            "derivation": self.name,
            "version": self.derivation.version,
            "options": {**options_of(self.derivation), **{name: _digest(name, path) for name, path in files.items()}},
            "inputs": {name: content_of(store) for name, store in (stores or self.opened()).items()},
            "dtype": self.dtype,
        }
        places = {"inputs": plain({name: path.absolute() for name, path in self.inputs.items()})}
        places["files"] = plain({name: path.absolute() for name, path in files.items()})
        return Recipe(identity, {**(origin or {}), **places, **surroundings()})

    def opened(self) -> dict[str, Store]:
        """The inputs as they are now, for reading."""
        return {name: open_store(path) for name, path in self.inputs.items()}


@dataclass(frozen=True)
class Made:
    """A cache that is there now: what it holds, and whether it was made or was there already."""

    cache: Path
    clips: int
    rows: int
    width: int
    is_new: bool
    remarks: tuple[str, ...] = ()  # what a person should know of what was learned
    failed: Mapping[str, str] = field(default_factory=dict)  # clips that it lacks -> why


def derive(
    wanted: Derived,
    *,
    out: Path | str | None = None,
    origin: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> Made:
    """Makes a cache from caches, aside, and gives it its name when it is whole and verified.

    Args:
        wanted: what is to be made; if a cache with the same recipe is there already, nothing is done.
        out: where it is to lie instead of `wanted.cache`.
        origin: further provenance for the recipe: the command.
        progress: reports clips.

    Raises:
        RecipeError: the cache there was made in another way, or from inputs that have changed since.
        StoreError: an input cannot be read, one of its clips is damaged, or the cache cannot be written.
    """
    path = wanted.cache if out is None else Path(out)
    _check_place(path, wanted)
    inputs = wanted.opened()
    recipe = wanted.recipe(origin, inputs)
    with aside(path, "derive") as folder:
        if path.exists():
            return _there(path, recipe, wanted, inputs)
        new = folder / path.name
        learned = _learned(wanted, inputs)
        if learned.failed:
            recipe = Recipe(recipe.identity, {**recipe.origin, FAILED: len(learned.failed)})
        if learned.arrays:
            recipe = keep(learned, new, recipe)
        check_dtype(recipe, wanted.dtype, path)
        _write(new, wanted, inputs, recipe, learned, progress)
        if faults := verify(new).faults:
            raise StoreError(f"{path}: the new cache is damaged ({faults[0]}); rerun the command")
        made = open_store(new)
        result = Made(path, len(made), made.rows, made.width, True, learned.remarks, dict(learned.failed))
        del made
        exchange(new, path)
    return result


def _check_place(path: Path, wanted: Derived) -> None:
    if path.suffix not in SUFFIXES or path.is_dir():
        raise StoreError(f"{path}: the name of a cache must end in {' or '.join(SUFFIXES)}")
    if any(real(path) == real(each) for each in wanted.inputs.values()):
        raise StoreError(f"{path} is one of its own inputs; choose another --out or --name")
    if path.suffix == ".h5" and (part := part_of(path)).exists():
        raise StoreError(f"{part} is not sealed yet: finish the run that writes it, or choose another --out or --name")


def _learned(wanted: Derived, inputs: Mapping[str, Store]) -> Learned:
    method = wanted.derivation
    return method.learn(inputs) if isinstance(method, LearningDerivation) else Learned(method.rows(inputs))


def _there(path: Path, recipe: Recipe, wanted: Derived, inputs: Mapping[str, Store]) -> Made:
    """The cache that is there, if its recipe is the one that is wanted."""
    store = open_store(path)
    unlike = list(differences(store.recipe.identity, recipe.identity))
    if not unlike:
        if lost := what_is_lost(path, store.recipe):
            raise StoreError(f"{path}: {lost}; run 'egotools rebuild {path}'")
        failed = _learned(wanted, inputs).failed if store.recipe.origin.get(FAILED) else {}
        return Made(path, len(store), store.rows, store.width, False, failed=dict(failed))
    name, was, now = unlike[0]
    if all(part.startswith("inputs.") and old and new for part, old, new in unlike):
        raise RecipeError(_stale(path, f"input {name.partition('.')[2]}"))
    option, file = name.partition(".")[2], recipe.origin["files"].get(name.removeprefix("options."))
    if len(unlike) == 1 and file and file == (store.recipe.origin.get("files") or {}).get(option):
        raise RecipeError(_stale(path, f"{option} {file}"))
    raise RecipeError(
        f"{path} was made with {name}={was!r}, not {now!r};"
        " choose another --out or --name, or delete it to compute it again"
    )


def _stale(path: Path, what: str) -> str:
    return f"{path} is stale: its {what} has changed; run 'egotools rebuild {path}', or choose another --out or --name"


def _write(
    new: Path, wanted: Derived, inputs: Mapping[str, Store], recipe: Recipe, learned: Learned, progress: Progress
) -> None:
    """Rows gather in an LMDB, whatever the format of the cache."""
    gathered = new.with_suffix(".lmdb")
    total = len(set().union(*inputs.values()) if learned.sources is None else learned.sources)
    with open_writer(gathered, recipe) as writer:
        for done, (id, rows) in enumerate(learned.rows, 1):
            writer.append(id, _as_dtype(rows, wanted, id))
            writer.finish(id, _source(id, inputs) if learned.sources is None else learned.sources[id])
            if done % CLIPS_PER_COMMIT == 0:
                writer.commit()
            progress(f"deriving {wanted.cache.name}", done, total)
        writer.seal()
    if new != gathered:
        from egotools.stores.hdf5_writer import publish_hdf5  # here, for h5py takes its time to import

        store = open_store(gathered)
        publish_hdf5(new, recipe, [(id, store) for id in store])


def _source(id: str, inputs: Mapping[str, Store]) -> Source:
    return next(store for store in inputs.values() if id in store).source(id)


def _as_dtype(rows: Rows, wanted: Derived, id: str) -> Rows:
    with np.errstate(over="ignore"):
        values = rows.values.astype(wanted.dtype, copy=False)
    if np.any(np.isinf(values) & np.isfinite(rows.values)):
        raise StoreError(f"{wanted.cache}: clip {id!r} has values that are too large for {wanted.dtype}")
    return Rows(values, rows.times)


def _files_of(derivation: Any) -> dict[str, Path]:  # Any: a dataclass of options
    """The options that are paths."""
    values = {field.name: getattr(derivation, field.name) for field in fields(derivation)}
    return {name: value for name, value in values.items() if isinstance(value, Path)}


def _digest(option: str, path: Path) -> str:
    try:
        return content_digest(path)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror}); it is the option {option!r}") from error

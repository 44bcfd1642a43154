"""Records the features that a run was trained on, and finds them again among caches, by recipe and name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from egotools.config import plain
from egotools.errors import StoreError, TableError
from egotools.files.disk import real
from egotools.stores.lineage import check_no_cycle, named_inputs
from egotools.stores.opening import open_store
from egotools.stores.recipe_shape import Identity, Origin
from egotools.stores.store import LEARNED, Store, differences

CUT = "cut"  # the derivation that leaves rows as they are
MADE = frozenset({"extractor", "derivation"})  # an identity with neither belongs to imported rows


class Record(TypedDict):
    """A run's record of one cache's features, in JSON; `inputs` are such records of the caches it was derived from."""

    identity: Identity
    origin: Origin
    cache: str
    inputs: "dict[str, Record]"
    file: str | None  # a file that the recipe needs, if the run keeps it: a path in the run


@dataclass(frozen=True)
class Feature:
    """One cache's features among those that a run was trained on. Any: JSON values.

    `essence` is the recipe in which inputs are represented by their recipes instead of their content, so that features
    derived in the same way from other clips are equal.
    """

    name: str  # the stem of the cache's file name
    identity: Mapping[str, Any]
    essence: Mapping[str, Any] | None = None

    @property
    def is_imported(self) -> bool:
        return MADE.isdisjoint(self.identity)


def record_of(cache: Path) -> Record:
    """The current record of a cache, without the file that its recipe may need; missing inputs are left out.

    Raises:
        StoreError: it cannot be read, or is derived from itself.
    """
    check_no_cycle(cache)
    return _record(cache)


def uncut(store: Store) -> Store:
    """The cache whose rows a cache of cut clips has, opened; a cache that was not cut is returned as it is.

    Raises:
        StoreError: it cannot be read, or is cut from itself.
    """
    if store.recipe.identity.get("derivation") != CUT:
        return store
    check_no_cycle(store.path)
    inputs = named_inputs(store.recipe).values()
    return uncut(open_store(next(iter(inputs)))) if len(inputs) == 1 else store


def features_of(records: Mapping[str, Record]) -> list[Feature]:
    """The features that a run was trained on, in its order."""
    return [Feature(Path(each["cache"]).stem, each["identity"], essence_of(each)) for each in records.values()]


def essence_of(record: Record) -> dict[str, Any]:  # Any: JSON values
    """A recipe's identity, with its inputs' identities instead of their contents, if nothing was fitted on them.

    A missing input is represented by the digest of its content. Rows that were cut out are those of the input, whatever
    the segments.
    """
    if record["identity"].get("derivation") == CUT and len(record["inputs"]) == 1:
        return essence_of(*record["inputs"].values())
    identity: dict[str, Any] = {**record["identity"]}
    if record["inputs"] and LEARNED not in record["origin"]:
        inputs = {name: essence_of(each) for name, each in record["inputs"].items()}
        identity["inputs"] = {**identity.get("inputs", {}), **inputs}
    return identity


def numbered_inputs(caches: Sequence[Path]) -> dict[str, dict[str, Any]]:  # Any: JSON values
    """The content of each cache, by its position, from 1: more clips or another recipe make another run."""
    stores = {str(number): open_store(path) for number, path in enumerate(caches, 1)}
    return {number: {"clips": len(store), **store.recipe.identity} for number, store in stores.items()}


def matched(features: Sequence[Feature], caches: Sequence[Path], *, run: Path) -> tuple[list[Path], list[str]]:
    """The cache of each of a run's features, in the run's order; and remarks on unused caches.

    A cache matches a feature if it was made in the same way; among several, its name decides. Imported
    rows are identified by name only.

    Raises:
        TableError: a feature has no matching cache, or several; the message names the differing entry.
    """
    left = [open_store(path) for path in caches]
    found: dict[int, Path] = {}
    for by_name in (True, False):
        for number, feature in enumerate(features):
            if number in found:
                continue
            fitting = [store for store in left if _is_same(store, feature, by_name=by_name)]
            if len({real(store.path) for store in fitting}) > 1:
                paths = " and ".join(str(store.path) for store in fitting)
                raise TableError(f"{paths} both match the features {feature.name!r} of {run}; give one of them")
            if fitting:
                found[number] = fitting[0].path
                left = [store for store in left if store not in fitting]
    for number, feature in enumerate(features):
        if number not in found:
            raise TableError(_why_not(feature, left, is_alone=len(features) == 1, run=run))
    names = ", ".join(feature.name for feature in features)
    remarks = [f"{store.path} is not used: {run} was trained on {names}" for store in left]
    return [found[number] for number in range(len(features))], remarks


def _is_same(store: Store, feature: Feature, *, by_name: bool) -> bool:
    if by_name and store.path.stem != feature.name:
        return False
    if by_name and feature.is_imported and MADE.isdisjoint(store.recipe.identity):
        return True
    return not _unlike(store, feature)


def _unlike(store: Store, feature: Feature) -> list[tuple[str, Any, Any]]:
    """How a cache differs from a feature: entries, their values in the run, and in the cache."""
    now, was = plain(store.recipe.identity), plain(feature.identity)
    unlike = list(differences(was, now))
    is_cut = CUT in (now.get("derivation"), was.get("derivation"))
    if feature.essence is not None and unlike and (is_cut or any(name.startswith("inputs.") for name, _, _ in unlike)):
        return list(differences(plain(feature.essence), plain(essence_of(record_of(store.path)))))
    return unlike


def _why_not(feature: Feature, left: Sequence[Store], *, is_alone: bool, run: Path) -> str:
    named = [store for store in left if store.path.stem == feature.name]
    close = named or [store for store in left if is_alone or _differs_little(store, feature)]
    if not close:
        return f"{run} was trained on the features {feature.name!r}, too: give --features .../{feature.name}.lmdb"
    name, was, now = _unlike(close[0], feature)[0]
    return f"{close[0].path} was made with {name}={now!r}; {run} was trained on features with {name}={was!r}"


def _differs_little(store: Store, feature: Feature) -> bool:
    """Whether a cache has the same extractor, or was derived in the same way."""
    return not feature.is_imported and all(
        store.recipe.identity.get(name) == feature.identity.get(name) for name in MADE
    )


def _record(cache: Path) -> Record:
    recipe = open_store(cache).recipe
    inputs = {}
    for name, path in named_inputs(recipe).items():
        try:
            inputs[name] = _record(path)
        except StoreError:  # it no longer exists
            continue
    identity, origin = plain(recipe.identity), plain(recipe.origin)
    return {"identity": identity, "origin": origin, "cache": str(cache.absolute()), "inputs": inputs, "file": None}

"""Assesses caches that were derived from caches, and orders caches so that inputs are rebuilt first."""

from collections.abc import Callable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from egotools.config import plain
from egotools.derive.fitted import what_is_lost
from egotools.derive.reproduction import reproduced
from egotools.files.disk import real
from egotools.rebuild.assessment import Assessment, State, all_or_nothing
from egotools.stores.lineage import check_no_cycle, inputs_of
from egotools.stores.store import Store, differences


def in_order(caches: Sequence[Path]) -> list[Path]:
    """Sorts caches so that each comes after its inputs."""
    places = {real(cache): cache for cache in caches}
    order = TopologicalSorter({place: inputs_of(place) for place in places})
    try:
        return [places[place] for place in order.static_order() if place in places]
    except CycleError:  # impossible by deriving, but an edited recipe may say so
        return list(caches)


def assess_derived(
    cache: Path,
    store: Store,
    state_of: Callable[[Path], State],
    *,
    damaged: Mapping[str, str] | None = None,
) -> Assessment:
    """Assesses a derived cache, as a whole.

    Args:
        cache: its path.
        store: the opened cache.
        state_of: the state of an input, by its resolved path.
        damaged: ids of clips whose rows are damaged, and how.

    Raises:
        StoreError: it cannot be rebuilt: an input is gone, or this egotools is older than the one that made it.
    """
    check_no_cycle(cache)
    now = reproduced(cache, store.recipe).recipe().identity
    reasons = [_reason(name, was, is_) for name, was, is_ in differences(store.recipe.identity, plain(now))]
    reasons += [f"its input {path} is {state_of(path)}" for path in not_fresh(cache, state_of)]
    reasons += [lost] if (lost := what_is_lost(cache, store.recipe)) else []
    reasons += [f"clip {id!r}: {problem}" for id, problem in (damaged or {}).items()][:1]
    return all_or_nothing(cache, store, reasons)


def not_fresh(cache: Path, state_of: Callable[[Path], State]) -> list[Path]:
    """The inputs of a cache that are not fresh."""
    return [path for path in inputs_of(cache) if state_of(path) != "fresh"]


def _reason(name: str, was: object, now: object) -> str:
    if name.startswith("inputs."):
        return f"its input {name.removeprefix('inputs.')} has changed"
    return f"{name} was {was!r}, is now {now!r}"

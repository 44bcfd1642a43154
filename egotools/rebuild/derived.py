"""Caches that were made from caches: what of them holds, and the order in which caches are made again."""

from __future__ import annotations

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
    """Caches after those that they were made from."""
    places = {real(cache): cache for cache in caches}
    order = TopologicalSorter({place: inputs_of(place) for place in places})
    try:
        return [places[place] for place in order.static_order() if place in places]
    except CycleError:  # nothing that was derived, but what a recipe may say
        return list(caches)


def assess_derived(
    cache: Path,
    store: Store,
    state_of: Callable[[Path], State],
    *,
    damaged: Mapping[str, str] | None = None,
) -> Assessment:
    """What of a derived cache holds: all of it, or nothing.

    Args:
        cache: its path.
        store: what is there.
        state_of: what the caches are that it was made from, by their resolved paths.
        damaged: ids of clips whose rows are not what was written, and what is wrong.

    Raises:
        StoreError: it cannot be made again: an input is gone, or this egotools is older than what made it.
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

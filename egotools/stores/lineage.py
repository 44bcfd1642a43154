"""The inputs of derived caches, and the check that they contain no cycle."""

from collections.abc import Hashable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeVar

from egotools.errors import StoreError
from egotools.files.disk import real
from egotools.stores.store import Recipe
from egotools.stores.summary import open_any

Node = TypeVar("Node", bound=Hashable)


def is_derived(recipe: Recipe) -> bool:
    """Whether a cache was derived from caches."""
    return "derivation" in recipe.identity


def named_inputs(recipe: Recipe) -> dict[str, Path]:
    """Where the caches lay that a cache was made from, by their names; none where it was extracted."""
    inputs = recipe.origin.get("inputs")
    if not (is_derived(recipe) and isinstance(inputs, Mapping)):
        return {}
    return {str(name): Path(str(path)) for name, path in inputs.items()}


def inputs_of(cache: Path) -> list[Path]:
    """The caches that a cache was derived from, as resolved paths; none if it was extracted or cannot be read."""
    try:
        recipe = open_any(cache).recipe
    except StoreError:  # reported when it is assessed
        return []
    return [real(path) for path in named_inputs(recipe).values()]


def check_no_cycle(cache: Path) -> None:
    """Refuses a cache whose inputs lead back to itself, or to another cycle.

    Raises:
        StoreError: names the cycle.
    """
    found: dict[Path, list[Path]] = {}
    waiting = [real(cache)]
    while waiting:
        place = waiting.pop()
        if place not in found:
            found[place] = inputs_of(place)
            waiting += found[place]
    if cycle := cycle_in(found):
        names = " <- ".join(map(str, cycle))
        raise StoreError(f"{cache}: its inputs form a cycle: {names}; derive it again")


def cycle_in(graph: Mapping[Node, Iterable[Node]]) -> list[Node]:
    """Nodes of which each is an input of the next, the first one repeated at the end; empty if there is no cycle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        cycle: list[Node] = error.args[1]
        return cycle
    return []

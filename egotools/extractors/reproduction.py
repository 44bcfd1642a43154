"""Rebuilds the extractor of a cache from the cache's recipe."""

from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, Literal

from egotools.config import field_values, omitted_options, plain
from egotools.errors import ExtractorError
from egotools.extractors.lookup import find_extractor
from egotools.extractors.names import FoundExtractor, weights_option
from egotools.stores.store import Recipe
from egotools.types import Extractor
from egotools.weights.run_files import run_and_view

Precision = Literal["float32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16", "int8")
Runtime = Literal["torch", "openvino"]
RUNTIMES: tuple[Runtime, ...] = ("torch", "openvino")
DTYPES = ("float32", "float16")


def name_in(recipe: Recipe, *, weights: str | None = None) -> str:
    """The name of the extractor to rebuild a cache with: the one value that is checked, then looked up.

    Args:
        recipe: the recipe of the cache.
        weights: overrides the recipe's own: as accepted by `--weights`.

    Raises:
        ExtractorError: the recipe does not name one, for example because rows were imported.
    """
    name = recipe.origin.get("extractor")
    if isinstance(name, str) and weights is not None and name.startswith("run:"):
        # another run, or the same network with its own weights
        name = _same_view(name, weights) if weights.startswith("run:") else recipe.identity.get("extractor")
    if not isinstance(name, str):
        raise ExtractorError("cannot be rebuilt: its recipe does not name an extractor")
    return name


def _same_view(name: str, run: str) -> str:
    """Another run with the view that `name` has, unless `run` names its own."""
    view = run_and_view(name)[1]
    return f"{run}#{view}" if view and not run_and_view(run)[1] else run


def check_extracted(recipe: Recipe, what: str) -> None:
    """Refuses a cache whose rows no extractor gives `what`, such as an image.

    Raises:
        ExtractorError: it was derived or imported.
    """
    if "derivation" in recipe.identity:
        raise ExtractorError(
            f"was derived from another cache ({recipe.identity['derivation']}): no extractor gives {what} its rows;"
            " give --features of a cache that was extracted"
        )
    if "extractor" not in recipe.identity:
        raise ExtractorError(f"was imported: no extractor is known that gives {what} its rows")


def numbers_in(recipe: Recipe) -> tuple[Precision, str]:
    """The precision with which a cache was made, and the dtype of its rows; float32 if its recipe does not say.

    Raises:
        ExtractorError: values unknown to this egotools.
    """
    precision, dtype = (recipe.identity.get(name, "float32") for name in ("precision", "dtype"))
    known = next((each for each in PRECISIONS if each == precision), None)
    if known is None:
        raise ExtractorError(f"cannot be rebuilt: its precision is {precision!r}, not {' or '.join(PRECISIONS)}")
    if dtype not in DTYPES:
        raise ExtractorError(f"cannot be rebuilt: its dtype is {dtype!r}, not {' or '.join(DTYPES)}")
    return known, str(dtype)


def runtime_in(recipe: Recipe) -> Runtime:
    """The runtime with which a cache was made; torch if its recipe does not say.

    Raises:
        ExtractorError: one unknown to this egotools.
    """
    runtime = recipe.identity.get("runtime", "torch")
    known = next((each for each in RUNTIMES if each == runtime), None)
    if known is None:
        raise ExtractorError(f"cannot be rebuilt: its runtime is {runtime!r}, not {' or '.join(RUNTIMES)}")
    return known


def reproduced(
    recipe: Recipe, *, weights: str | None = None, trusted: Collection[str] = frozenset()
) -> tuple[FoundExtractor, Extractor]:
    """The extractor that a recipe describes, from today's code and files.

    Options that the recipe lacks take what they declare as `absent`, else their default. Options that a run's backbone
    was trained with are replaced by today's; options that the user had set differently are kept.

    Args:
        recipe: the recipe of a cache, as written or as read.
        weights: overrides the recipe's own: as accepted by `--weights`.
        trusted: the user's own files and packages that may be imported; a recipe only names them.

    Raises:
        ExtractorError: the recipe does not name an extractor, or one that no longer exists, is not trusted, or lacks a
            given option, or weights are given to one that has none.
        MissingExtra: its library is not installed.
    """
    name, options = name_in(recipe, weights=weights), recipe.identity.get("options")
    if not isinstance(options, Mapping):
        raise ExtractorError("cannot be rebuilt: its recipe lists no options")
    found = find_extractor(name, trusted=trusted)
    options = {**omitted_options(found.kind), **options}
    if found.defaults is not None:
        options = _given(found.kind, options, recipe.origin.get("defaults"))
    _check_known(found, options)
    try:
        values = field_values(found.kind, options)
        extractor = found.built(**{**values, **_weights(found, recipe, weights)})
    except ValueError as error:
        raise ExtractorError(f"cannot be rebuilt: {found.name}: {error}") from error
    return found, extractor


def _given(kind: type[Any], options: Mapping[str, Any], defaults: Any) -> dict[str, Any]:  # Any: JSON values
    """The options that a user had set differently from the run's defaults at that time."""
    usual = {field.name: plain(_default(field)) for field in fields(kind)}
    then = {**usual, **(defaults if isinstance(defaults, Mapping) else {})}
    return {name: value for name, value in options.items() if name not in then or then[name] != value}


def _default(field: Field[Any]) -> Any:  # Any: of the field's own type
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _check_known(found: FoundExtractor, options: Mapping[str, Any]) -> None:
    names = {field.name for field in fields(found.kind)} - set(found.fixed)
    for name, value in options.items():
        if name not in names:
            raise ExtractorError(
                f"cannot be rebuilt: {found.name} no longer has the option {name!r} (it was {value!r});"
                " extract it again under another name"
            )


def _weights(found: FoundExtractor, recipe: Recipe, weights: str | None) -> dict[str, Any]:
    name = weights_option(found.kind)
    has_weights = any(field.name == name for field in fields(found.kind))
    if weights is not None and not has_weights:
        raise ExtractorError(f"{found.name} has no weights that {weights!r} could replace")
    chosen = recipe.origin.get("weights") if weights is None else weights
    return field_values(found.kind, {name: chosen}) if has_weights and chosen is not None else {}

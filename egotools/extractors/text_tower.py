"""Stand-in until the text towers are merged: no model has one."""

from __future__ import annotations

from collections.abc import Sequence

from egotools.errors import ExtractorError
from egotools.stores.store import Recipe
from egotools.types import FloatArray


def text_rows(recipe: Recipe, texts: Sequence[str]) -> FloatArray:
    """Texts [N] as rows [N, D] float32, by the text tower of the model that made a cache.

    Raises:
        ExtractorError: it has none.
    """
    name = recipe.identity.get("extractor", "imported rows")
    raise ExtractorError(f"{name} has no text tower, so {len(texts)} texts cannot be compared with its rows")

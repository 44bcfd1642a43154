"""Text as rows of a cache: through the text tower of the model that the cache was made with."""

from __future__ import annotations

from collections.abc import Sequence

from egotools.config import plain
from egotools.errors import ExtractorError, WeightsError, first_line
from egotools.extractors.reproduction import check_extracted, reproduced
from egotools.stores.store import Recipe
from egotools.types import FloatArray


def text_rows(recipe: Recipe, texts: Sequence[str]) -> FloatArray:
    """Texts as float32 [N, D], to be compared with a cache's rows by cosine.

    Args:
        recipe: the recipe of the cache, which names its model.
        texts: sentences.

    Raises:
        ExtractorError: the cache's extractor shares no space with text, or is not there any more as it was.
        MissingExtra: its library is not installed.
    """
    check_extracted(recipe, "a text")
    found, extractor = reproduced(recipe)
    rows = getattr(extractor, "text_rows", None)
    if rows is None:
        raise ExtractorError(f"{found.name} has no text tower; ask with --image or --clip")
    try:
        is_same = extractor.weights_digest() == recipe.identity.get("weights")  # type: ignore[union-attr]
    except (WeightsError, OSError) as error:
        raise ExtractorError(f"the weights of {found.name} cannot be had: {first_line(error)}") from error
    if not is_same:
        raise ExtractorError(f"{found.name} has other weights than when the cache was made; run 'egotools rebuild'")
    # The same weights in another architecture, such as with another activation, are another text tower, too.
    if hasattr(extractor, "facts") and plain(extractor.facts()) != recipe.identity.get("facts"):
        raise ExtractorError(
            f"{found.name} has another config or preprocessing than when the cache was made; run 'egotools rebuild'"
        )
    values: FloatArray = rows(texts)
    return values

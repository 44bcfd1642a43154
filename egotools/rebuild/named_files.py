"""Files that a recipe names outside its cache: weights, and the source of the user's own extractor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from egotools.config import file_digest
from egotools.errors import ExtractorError, WeightsError
from egotools.extractors.own_code import source_digest
from egotools.stores.store import Recipe

KEPT = (
    "backbone.safetensors",
    "pca.npz",
)  # by runs; as in egotools.weights.tensors and pca_files, which load torch and SciPy


def changed_files(recipe: Recipe, code: str, digest: Callable[[Path], str] = file_digest) -> list[str]:
    """Which of the files that a recipe names have changed, in words: the weights, and the user's own extractor.

    Args:
        recipe: of a cache.
        code: of the user's own extractor, as `extractors.code_of` has it; empty for what egotools brings.
        digest: of a file.

    Raises:
        WeightsError: the weights are gone.
        ExtractorError: the extractor's file is gone.
    """
    weights = recipe.origin.get("weights")
    reasons = []
    file = Path(weights) if isinstance(weights, str) and "weights" in recipe.identity else Path()
    if str(file).startswith("run:"):
        run = Path(str(file).removeprefix("run:"))
        file = next((run / name for name in KEPT if (run / name).is_file()), run / KEPT[0])
    if file.is_absolute():
        if not file.is_file():
            raise WeightsError(f"its weights {file} are gone")
        if digest(file) != recipe.identity["weights"]:
            reasons.append(f"its weights {file} have changed")
    if code.endswith(".py"):
        if not Path(code).is_file():
            raise ExtractorError(f"its extractor {code} is gone")
        if source_digest(Path(code)) != recipe.identity.get("source"):
            reasons.append(f"its extractor {code} has changed")
    return reasons

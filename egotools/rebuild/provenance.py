"""What a recipe names outside its cache: the user's own code, weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from egotools.config import file_digest
from egotools.errors import ExtractorError, WeightsError
from egotools.extractors import source_digest
from egotools.stores.store import Recipe

KEPT = ("backbone.safetensors", "pca.npz")  # by runs; as in egotools.weights and pca_files, which load torch and SciPy


def code_of(recipe: Recipe) -> str:
    """The user's own file or package that an extractor comes from; empty for what egotools brings.

    Raises:
        ExtractorError: the recipe names no extractor: rows that were imported.
    """
    name = recipe.origin.get("extractor")
    if not isinstance(name, str):
        raise ExtractorError("cannot be made again: its recipe does not say by which extractor")
    prefix = name.rpartition(":")[0]
    return "" if name.startswith("run:") or "." not in prefix else prefix


def changed_files(recipe: Recipe, digest: Callable[[Path], str] = file_digest) -> list[str]:
    """Which of the files that a recipe names have changed, in words: the weights, and the user's own extractor.

    Raises:
        WeightsError: the weights are gone.
        ExtractorError: the extractor's file is gone.
    """
    weights, code = recipe.origin.get("weights"), Path(code_of(recipe))
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
    if code.suffix == ".py":
        if not code.is_file():
            raise ExtractorError(f"its extractor {code} is gone")
        if source_digest(code) != recipe.identity.get("source"):
            reasons.append(f"its extractor {code} has changed")
    return reasons

"""Checks the files that a recipe names outside its cache: weights, and the source of the user's own extractor."""

from collections.abc import Callable
from pathlib import Path

from egotools.config import file_digest
from egotools.errors import ExtractorError, WeightsError
from egotools.extractors.own_code import source_digest
from egotools.stores.store import Recipe
from egotools.weights.run_files import AUDIO_BACKBONE, BACKBONE, PCA_FILE, RUN, is_for_sound, run_and_view


def changed_files(recipe: Recipe, code: str, digest: Callable[[Path], str] = file_digest) -> list[str]:
    """Which files named by a recipe have changed, as messages: the weights, and the user's own extractor.

    Args:
        recipe: the recipe of a cache.
        code: the user's own extractor, as returned by `extractors.code_of`; empty for built-in ones.
        digest: the digest of a file.

    Raises:
        WeightsError: the weights no longer exist.
        ExtractorError: the extractor's file no longer exists.
    """
    weights = recipe.origin.get("weights")
    reasons = []
    weights = weights if isinstance(weights, str) and "weights" in recipe.identity else ""
    file = _file_of_run(weights) if weights.startswith(RUN) else Path(weights)
    if file.is_absolute():
        if not file.is_file():
            raise WeightsError(f"its weights {file} are gone; restore them")
        if digest(file) != recipe.identity["weights"]:
            reasons.append(f"its weights {file} have changed")
    if code.endswith(".py"):
        if not Path(code).is_file():
            raise ExtractorError(f"its extractor {code} is gone; restore it")
        if source_digest(Path(code)) != recipe.identity.get("source"):
            reasons.append(f"its extractor {code} has changed")
    return reasons


def _file_of_run(weights: str) -> Path:
    """The file that a run keeps for an extractor: a backbone, or a PCA."""
    run, view = run_and_view(weights)
    backbone = run / (AUDIO_BACKBONE if is_for_sound(view) else BACKBONE)
    return run / PCA_FILE if (run / PCA_FILE).is_file() and not backbone.is_file() else backbone

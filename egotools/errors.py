"""What can go wrong with a user's files, each as one clear line.

The command line maps every `EgotoolsError` to one line on stderr and exit status 1. A wrong argument of a function
is a `ValueError` instead.
"""

from __future__ import annotations


class EgotoolsError(Exception):
    """A mistake in a user's files or options; its text says what is wrong, where, and what to do."""


class ManifestError(EgotoolsError):
    """A manifest that cannot be used; names the file and the row."""


class ClipError(EgotoolsError):
    """One clip that cannot be read; recorded, and the other clips go on."""


class NoSound(ClipError):
    """A clip without a sound stream: nothing to do for extractors of sound, and nothing wrong with it."""


class NoPicture(ClipError):
    """A clip without a video stream, of sound perhaps: nothing that extractors of frames can use."""


class StoreError(EgotoolsError):
    """A cache that cannot be opened, written or trusted."""


class RecipeError(StoreError):
    """A cache that was made in another way than is asked for now."""


class WeightsError(EgotoolsError):
    """Weights that are missing or do not fit the network."""


class ExtractorError(EgotoolsError):
    """An extractor that is unknown, has unusable options, or gives unusable rows."""


class ClusterError(EgotoolsError):
    """A cluster that cannot be reached, or whose machines are too small."""


class TableError(EgotoolsError):
    """Features and labels that cannot be joined or used."""


class RunError(EgotoolsError):
    """A run directory that cannot be used."""


class TrainingError(EgotoolsError):
    """A training that cannot begin here, or that diverged."""


class OutputError(EgotoolsError):
    """A result that cannot be written."""


class MissingExtra(EgotoolsError):
    """An optional library that is not installed; names the extra that brings it."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; install it with: pip install 'egotools[{extra}]'")
        self._parts = (library, extra)

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        """Errors travel between processes."""
        return MissingExtra, self._parts

"""The exceptions of egotools: each is a problem with a user's files or options, as one clear line.

The command line maps every `EgotoolsError` to one line on stderr and exit status 1. A wrong argument of a function
is a `ValueError` instead.
"""


class EgotoolsError(Exception):
    """A problem with a user's files or options; the text says what is wrong, where, and what to do."""


class ManifestError(EgotoolsError):
    """A manifest that cannot be used; the message names file and row."""


class ClipError(EgotoolsError):
    """One clip that cannot be read; it is recorded, and the other clips continue."""


class NoSound(ClipError):
    """A clip without a sound stream: audio extractors have nothing to do, which is not a failure."""


class NoPicture(ClipError):
    """A clip without a video stream, perhaps sound only: frame extractors cannot use it."""


class StoreError(EgotoolsError):
    """A cache that cannot be opened, written or trusted."""


class RecipeError(StoreError):
    """A cache whose recipe differs from the requested one."""


class WeightsError(EgotoolsError):
    """Weights that are missing or do not fit the network."""


class ExtractorError(EgotoolsError):
    """An extractor that is unknown, has unusable options, or returns unusable rows."""


class ClusterError(EgotoolsError):
    """A cluster that cannot be reached, or whose machines are too small."""


class TableError(EgotoolsError):
    """Features and labels that cannot be joined or used."""


class RunError(EgotoolsError):
    """A run directory that cannot be used."""


class TrainingError(EgotoolsError):
    """Training that cannot start, or that diverged."""


class OutputError(EgotoolsError):
    """A result that cannot be written."""


class MissingExtra(EgotoolsError):
    """An optional library that is not installed; names the extra that installs it, or the library if none does."""

    def __init__(self, library: str, extra: str | None) -> None:
        package = library if extra is None else f"'egotools[{extra}]'"
        super().__init__(f"{library} is not installed; install it with: pip install {package}")
        self._parts = (library, extra)

    def __reduce__(self) -> "tuple[type[MissingExtra], tuple[str, str | None]]":
        """Makes the error picklable: errors travel between processes."""
        return MissingExtra, self._parts


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line; the name of its class if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def reason_of(error: BaseException) -> str:
    """As `first_line`, without the number and the path that Python adds to errors of the system."""
    return error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)

"""Reading text files line by line."""

from collections.abc import Iterator
from pathlib import Path

from egotools.errors import ManifestError
from egotools.files.disk import open_file


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file with their numbers from 1, without line ends of any kind.

    Raises:
        ManifestError: it cannot be read, or is not text in UTF-8.
    """
    try:
        with open_file(path) as file:
            return [*lines_of(file.read(), str(path))]
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error


def lines_of(content: bytes, where: str) -> Iterator[tuple[int, str]]:
    """Like `numbered_lines`, of the content of a file.

    Raises:
        ManifestError: it is not text in UTF-8; `where` says which file.
    """
    try:
        text = content.decode("utf-8-sig")  # some editors put a byte order mark in front
    except UnicodeDecodeError as error:
        raise ManifestError(f"{where}: not a text file in UTF-8 (byte {error.start})") from error
    if "\0" in text:
        raise ManifestError(f"{where}: not a text file: it contains a NUL byte")
    # Not splitlines(): it would break lines at characters that names may hold.
    yield from enumerate(text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n"), 1)

"""Reading and writing files safely: a temporary file and an atomic rename; only regular files are opened.

Writing never follows a symbolic link: a link next to a result may point to any of the user's files.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from egotools.errors import OutputError

NOT_REGULAR = "not a regular file"


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A temporary file that is renamed to `path` once it is complete and on disk. Missing folders are created.

    Raises:
        OSError: it cannot be written; a file already at `path` is unchanged. Devices and pipes are not replaced.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        _check_regular(os.stat(path), path)
    part = path.with_name(f".{path.name}.part")  # a fixed name, so that the leftover of a killed process is replaced
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with create_file(part) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):  # the file system may have become read-only
            part.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file through a temporary file and an atomic rename (`new_file`).

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with new_file(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def create_file(path: Path) -> BinaryIO:
    """A new file, open for writing; a file or link already at `path` is removed first.

    Raises:
        OSError: it cannot be created.
    """
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "w+b")


def append_line(path: Path, line: str) -> None:
    """Appends a line to a text file, which is created if it does not exist.

    Raises:
        OutputError: it cannot be written, or is a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, flags, 0o666), "ab") as file:
            _check_regular(os.fstat(file.fileno()), path)
            file.write(line.encode() + b"\n")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def open_file(path: Path) -> BinaryIO:
    """A regular file, open for reading. Devices, pipes and sockets are refused before they are opened.

    Raises:
        OSError: it does not exist, or is a folder or another kind of file (`strerror` says which).
    """
    _check_regular(os.stat(path), path)
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe that takes its place does not block
    try:
        _check_regular(os.fstat(file), path)
        return os.fdopen(file, "rb")
    except OSError:
        os.close(file)
        raise


def walk(
    top: Path, left_out: list[str], *, follow_links: bool = False, unlisted: list[str] | None = None
) -> Iterator[tuple[Path, list[str]]]:
    """Each folder at and below `top`, with the names of the files in it; hidden entries are skipped.

    A link to a file inside `top` counts as that file; a link to a folder inside `top` is skipped, since that folder
    is walked anyway. With `follow_links` every folder is walked once, the targets of links last, so that loops end.

    Args:
        top: a folder.
        left_out: collects the names, relative to `top`, of links that lead out of it and are not followed.
        follow_links: whether to follow links that lead out of `top`.
        unlisted: collects the folders below `top` that cannot be listed, with the reason: "a/b: permission denied".

    Raises:
        OSError: a folder cannot be listed and `unlisted` is None, or it is `top` itself.
    """
    real_top = os.path.realpath(top)
    seen: set[str] = set()
    links: list[Path] = []
    waiting = [top]
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        try:
            entries = os.listdir(folder)
        except OSError as error:
            if unlisted is None or folder == top:
                raise
            unlisted.append(f"{folder.relative_to(top).as_posix()}: {(error.strerror or str(error)).lower()}")
            continue
        names, folders = [], []
        for name in sorted(name for name in entries if not name.startswith(".")):
            path = folder / name
            is_link, is_folder = path.is_symlink(), os.path.isdir(path)
            if is_link and not follow_links and not is_below(os.path.realpath(path), real_top):
                left_out.append(path.relative_to(top).as_posix())
            elif not is_folder:
                names.append(name)
            elif not is_link:
                folders.append(path)
            elif follow_links:
                links.append(path)
        waiting.extend(reversed(folders))
        yield folder, names


def real(path: str | Path) -> Path:
    """The path with links resolved; a link in a loop (an error in `Path.resolve` before Python 3.13) is kept."""
    return Path(os.path.realpath(path))


def is_below(path: str, folder: str) -> bool:
    """Whether an absolute, normalized path is `folder` itself or lies inside it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def remove(path: Path) -> None:
    """Removes a file, a folder with everything in it, or a link (but not its target).

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _check_regular(status: os.stat_result, path: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))

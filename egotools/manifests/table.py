"""Reads and writes manifests: CSV tables with one clip per row."""

import math
import os
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from egotools.errors import ManifestError
from egotools.files.csv_files import another_delimiter, open_csv
from egotools.files.disk import is_below, new_file
from egotools.machine import uncollected
from egotools.types import Clip

RESERVED = ("id", "path", "start", "end", "split", "fps", "root")  # every other column is a label


@uncollected()
def read_manifest(path: Path | str, *, labels: Collection[str] | None = None) -> list[Clip]:
    """The clips of a manifest, in its order, with absolute paths (`Path()` for rows that have features only).

    Args:
        path: the CSV file.
        labels: the label columns to keep; None: all.

    Raises:
        ManifestError: the file is missing, empty or not a manifest, or a row is invalid; names file and row.
    """
    clips = []
    for _, clip in read_rows(path, labels=labels):
        if isinstance(clip, ManifestError):
            raise clip
        clips.append(clip)
    return clips


def read_rows(path: Path | str, *, labels: Collection[str] | None = None) -> Iterator[tuple[int, Clip | ManifestError]]:
    """Each row's number (the header is row 1) with its clip, or the error that it causes.

    Args:
        path: the CSV file.
        labels: the label columns to keep; None: all.

    Raises:
        ManifestError: the file is not a manifest.
    """
    columns, rows = open_csv(Path(path))
    if "id" not in columns:
        raise ManifestError(
            f"{path}: no column 'id'; the first line says {','.join(columns)[:80]!r}{another_delimiter(columns)}"
        )
    wanted = [name for name in columns if name not in RESERVED and (labels is None or name in labels)]
    paths = _Paths(Path(os.path.abspath(path)).parent)
    first_row: dict[str, int] = {}
    number = 0
    for number, values in rows:
        try:
            clip = _clip(values, paths.of(values.get("path", ""), values.get("root", "")), wanted)
            if (first := first_row.setdefault(clip.id, number)) != number:
                raise ManifestError(f"the id {clip.id!r} is also that of row {first}; ids must differ")
            yield number, clip
        except ManifestError as error:
            yield number, ManifestError(f"{path}, row {number}: {error}")
    if not number:
        raise ManifestError(f"{path}: no clips, only a header")


def label_columns(path: Path | str) -> list[str]:
    """The names of a manifest's label columns.

    Raises:
        ManifestError: the file is not a manifest.
    """
    return [name for name in open_csv(Path(path))[0] if name not in RESERVED]


def _clip(values: Mapping[str, str], path: Path, labels: Sequence[str]) -> Clip:
    return Clip(
        id=values["id"],
        path=path,
        start=_number(values, "start") or 0.0,
        end=_number(values, "end"),
        split=values.get("split", ""),
        labels={name: values[name] for name in labels},
        fps=_fps(values),
    )


def _number(values: Mapping[str, str], column: str) -> float | None:
    text = values.get(column, "").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise ManifestError(f"{column} {text!r} is not a number") from None


def _fps(values: Mapping[str, str]) -> float | None:
    fps = _number(values, "fps")
    if fps is not None and not 0 < fps < math.inf:
        raise ManifestError(f"fps {values['fps']!r} is not a positive number of frames per second")
    return fps


class _Paths:
    """The absolute paths of rows' files; what their folders have in common is looked up once."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the manifest's."""
        self._folder = folder
        self.real = lru_cache(maxsize=None)(os.path.realpath)
        self.below = lru_cache(maxsize=None)(self._below)
        self.of = lru_cache(maxsize=1)(self._of)  # clips of a file follow each other

    def _of(self, path: str, root: str) -> Path:
        """The file of a row. `root` may lie anywhere; a relative `path` stays below it."""
        if not path:
            return Path()  # a clip that has features only
        if os.path.isabs(path):
            return Path(on_disk(os.path.normpath(path)))
        folder, name = os.path.split(path)
        is_plain = path.isascii() and name not in ("", os.curdir, os.pardir)
        if is_plain and (below := self.below(folder, root)) is not None:
            whole = os.path.join(below, name)
            if not os.path.islink(whole):  # so it is where its folder is
                return Path(whole)
        return Path(self._inside(path, root))

    def _below(self, folder: str, root: str) -> str | None:
        """The absolute path of a folder; None if it leaves the root."""
        try:
            return self._inside(folder, root)
        except ManifestError:
            return None

    def _inside(self, path: str, root: str) -> str:
        """The absolute path of a relative one, links followed to see that it stays inside.

        Raises:
            ManifestError: it does not.
        """
        top = on_disk(os.path.normpath(self._folder / root))
        whole = on_disk(os.path.normpath(os.path.join(top, path)))
        if not is_below(whole, top):
            raise ManifestError(
                f"path {path!r} leaves the root {top}; set the column 'root', or write an absolute path"
            )
        if not is_below(_behind_links(whole, self.real), self.real(top)):
            raise ManifestError(f"path {path!r} leaves the root {top} through a link; write an absolute path")
        return whole


def on_disk(path: str) -> str:
    """The path under which a file exists, in another Unicode normal form if need be; `path` itself if none exists.

    macOS writes names in the form NFD; tables that are typed, or come from other systems, have NFC.
    """
    if path.isascii() or os.path.lexists(path):
        return path
    folder, name = os.path.split(path)
    if folder in ("", path):
        return path
    folder = on_disk(folder)
    forms = (os.path.join(folder, unicodedata.normalize(form, name)) for form in ("NFC", "NFD"))
    return next((each for each in forms if os.path.lexists(each)), path)


def _behind_links(path: str, real: Callable[[str], str]) -> str:
    """`os.path.realpath`, with `real` a cached version for the folder: many files of a manifest share one."""
    return (
        os.path.realpath(path)
        if os.path.islink(path)
        else os.path.join(real(os.path.dirname(path)), os.path.basename(path))
    )


def write_manifest(path: Path | str, clips: Sequence[Clip]) -> None:
    """Writes clips so that `read_manifest` returns them again; through a temporary file and an atomic rename.

    Paths below the manifest's folder are written relative to it, the others relative to a `root` column. Label
    columns keep the order in which they first appear; the cell is empty for clips without it.

    Raises:
        ManifestError: a label has a reserved name, a text cannot be stored, the file cannot be written.
    """
    labels = list(dict.fromkeys(name for clip in clips for name in clip.labels))
    for name in labels:
        if name in RESERVED or name != name.strip() or not name:
            raise ManifestError(f"{path}: a label column cannot be named {name!r}")
    folder = os.path.dirname(os.path.abspath(path))
    root = _common_root(clips, folder)
    real = lru_cache(maxsize=None)(os.path.realpath)
    table = []
    for clip in clips:
        place, cell = _place(clip.path, folder, root, real)
        fixed = {"id": clip.id, "path": cell, "start": _decimal(clip.start), "end": _decimal(clip.end)}
        own = {"split": clip.split, "fps": _decimal(clip.fps), "root": place}
        table.append({**fixed, **own, **clip.labels})
    optional = [name for name in ("fps", "root") if any(row[name] for row in table)]
    columns = ["id", "path", "start", "end", "split", *optional, *labels]
    lines = [columns, *([row.get(column, "") for column in columns] for row in table)]
    _write(Path(path), "".join(",".join(map(_quoted, line)) + "\n" for line in lines))


def _common_root(clips: Sequence[Clip], folder: str) -> str:
    """The deepest folder that contains all files outside the manifest's own folder; empty if there are none."""
    outside = {str(clip.path.parent) for clip in clips if clip.path.is_absolute()}
    outside = {parent for parent in outside if not is_below(parent, folder)}
    return os.path.commonpath(outside) if outside else ""


def _place(path: Path, folder: str, root: str, real: Callable[[str], str]) -> tuple[str, str]:
    """The cells `root` and `path` of a file; an absolute path if a link leads out of both roots."""
    if path == Path():
        return "", ""
    whole = os.path.abspath(path)
    top = folder if is_below(whole, folder) else root
    if not (is_below(whole, top) and is_below(_behind_links(whole, real), real(top))):
        return "", whole
    return ("" if top == folder else top), os.path.relpath(whole, top)


def _decimal(value: float | None) -> str:
    return "" if value is None else repr(float(value)).removesuffix(".0")


def _quoted(cell: str) -> str:
    # By hand: before Python 3.13 csv.writer leaves a lone carriage return bare, and reading then breaks the row.
    if any(character in cell for character in ',"\r\n'):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def _write(path: Path, text: str) -> None:
    if "\0" in text:
        raise ManifestError(f"{path}: a manifest cannot contain a NUL character")
    try:
        with new_file(path) as file:
            file.write(text.encode())
    except UnicodeEncodeError as error:
        raise ManifestError(f"{path}: {text[error.start]!r} cannot be encoded in UTF-8; rename the file") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written: {error.strerror}") from error


def column_of(clips: Sequence[Clip], column: str) -> list[str]:
    """One text per clip: its `id`, `path`, `split`, or a label.

    Raises:
        ManifestError: the column does not exist.
    """
    if column in ("id", "path", "split"):
        return [str(getattr(clip, column)) for clip in clips]
    if not any(column in clip.labels for clip in clips):
        there = ", ".join(["id", "path", "split", *dict.fromkeys(name for clip in clips for name in clip.labels)])
        raise ManifestError(f"no column {column!r} in the manifest; choose from {there}")
    return [clip.labels.get(column, "") for clip in clips]

"""The annotation files of Assembly101: lists of sequences, coarse labels, frame ranges and published videos.

A sequence is `<type>_<recording>`, with the type assembly or disassembly. Frames are counted from 1 at 30 per second.
"""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from egotools.errors import ManifestError, first_line
from egotools.files.disk import open_file
from egotools.files.text_files import lines_of, numbered_lines
from egotools.manifests.classes import read_classes
from egotools.texts import tidy
from egotools.weights.pickles import read_pickle

TYPES = ("assembly", "disassembly")
OLD_TYPE = "disassebly"  # as files of an older release are spelled
LABELS = "coarse_labels"  # a folder, or a .zip of it
MOST_BYTES = 1 << 20  # of a label file; the longest has 4 kB

Ranges = dict[str, dict[str, tuple[int, int]]]  # by recording and camera: the first frame, and the one after the last
Reader = Callable[[str], "tuple[str, bytes] | None"]  # the label file of a sequence: where it is, and what it holds


@dataclass(frozen=True)
class Part:
    """A labeled stretch of frames, from `start` up to, but not including, `end`."""

    start: int
    end: int
    label: str


def recording_of(sequence: str) -> str:
    """A sequence's name without its type."""
    return sequence.partition("_")[2]


def read_list(path: Path) -> list[str]:
    """The sequences of a list, in its order; of lines with tabs the first field.

    Raises:
        ManifestError: a line names no sequence, or the same as another; says the row.
    """
    rows: dict[str, int] = {}
    for row, line in numbered_lines(path):
        if not (name := line.partition("\t")[0].strip()):
            if line.strip():
                raise ManifestError(f"{path}, row {row}: {line!r} has no sequence before the first tab")
            continue
        sequence = _spelled(name.removesuffix(".txt"))
        kind, _, recording = sequence.partition("_")
        if kind not in TYPES or not recording or "/" in recording or " " in recording:
            raise ManifestError(f"{path}, row {row}: {name!r} is not a sequence, <type>_<recording>, a type of {TYPES}")
        if sequence in rows:
            raise ManifestError(f"{path}, row {row}: {sequence!r} is also in row {rows[sequence]}")
        rows[sequence] = row
    if not rows:
        raise ManifestError(f"{path}: the list is empty")
    return [*rows]


def _spelled(sequence: str) -> str:
    return sequence.replace(f"{OLD_TYPE}_", f"{TYPES[1]}_", 1) if sequence.startswith(f"{OLD_TYPE}_") else sequence


def read_actions(root: Path) -> list[str]:
    """The names of the actions in `actions.csv`, by number."""
    return read_classes(root / "actions.csv")


@contextmanager
def open_labels(root: Path) -> Iterator[Reader]:
    """Reads label files by sequence, from the folder of labels or straight from its archive.

    Raises:
        ManifestError: there is neither, or the archive cannot be read.
    """
    folder, archive = root / LABELS, root / f"{LABELS}.zip"
    if folder.is_dir():
        yield _of_folder(folder)
        return
    if not archive.is_file():
        raise ManifestError(f"{root}: neither {LABELS}/ nor {LABELS}.zip; is this the folder of the annotations?")
    with ExitStack() as stack:
        with _explained(archive):
            opened = stack.enter_context(zipfile.ZipFile(stack.enter_context(open_file(archive))))
        yield _of_archive(archive, opened)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what damaged or encrypted archives raise into one line."""
    try:
        yield
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ManifestError(f"{path}: cannot be read: {first_line(error)}") from error


def _of_folder(folder: Path) -> Reader:
    def read(sequence: str) -> tuple[str, bytes] | None:
        path = next((each for each in (folder / name for name in _files(sequence)) if each.is_file()), None)
        if path is None:
            return None
        try:
            with open_file(path) as file:
                return str(path), file.read()
        except OSError as error:
            raise ManifestError(f"{path}: cannot be read: {error.strerror}") from error

    return read


def _of_archive(path: Path, archive: zipfile.ZipFile) -> Reader:
    members = {info.filename.rpartition("/")[2]: info for info in archive.infolist()}

    def read(sequence: str) -> tuple[str, bytes] | None:
        info = next((members[name] for name in _files(sequence) if name in members), None)
        if info is None:
            return None
        if info.file_size > MOST_BYTES:
            raise ManifestError(f"{path}: {info.filename} has {info.file_size} bytes, too many for a file of labels")
        with _explained(path):
            return f"{path}/{info.filename}", archive.read(info)

    return read


def _files(sequence: str) -> tuple[str, ...]:
    """The names that a sequence's file may have."""
    kind, _, recording = sequence.partition("_")
    older = f"{OLD_TYPE}_{recording}.txt" if kind == TYPES[1] else f"{sequence}.txt"
    return f"{sequence}.txt", older


def parts_of(content: bytes, where: str, actions: set[str]) -> list[Part]:
    """The labels of a sequence in order of time, without gaps.

    Args:
        content: of a label file: start, end, action and an empty field a line, separated by tabs.
        where: the file, for messages.
        actions: the names that labels may have.

    Raises:
        ManifestError: names the file and the row.
    """
    found = [(row, _part(f"{where}, row {row}", line, actions)) for row, line in lines_of(content, where) if line]
    if not found:
        raise ManifestError(f"{where}: no labels")
    for (one, before), (row, after) in pairwise(found):
        if after.start < before.end:
            raise ManifestError(
                f"{where}, row {row}: frame {after.start} lies before the end of row {one}, {before.end}: the labels"
                " overlap, or are not in order of time"
            )
        if after.start > before.end:
            raise ManifestError(f"{where}, row {row}: no label for the frames {before.end} to {after.start - 1}")
    return [part for _, part in found]


def _part(where: str, line: str, actions: set[str]) -> Part:
    fields = line.split("\t")
    if len(fields) not in (3, 4) or fields[3:] not in ([], [""]):
        raise ManifestError(
            f"{where}: {len(fields)} fields, {line[:60]!r}; a label has start, end, action and an empty field,"
            " separated by tabs"
        )
    start, end = (_frame(field, where) for field in fields[:2])
    label = tidy(fields[2])
    if label not in actions:
        raise ManifestError(f"{where}: the action {label!r} is not in actions.csv")
    if end <= start:
        raise ManifestError(f"{where}: the end {end} is not after the start {start}")
    return Part(start, end, label)


def _frame(text: str, where: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit()):
        raise ManifestError(f"{where}: {text!r} is not the number of a frame")
    return int(text)


def read_statistics(path: Path) -> Ranges:
    """The frames of each recording and camera, from a pickle of plain data, which is read without running anything.

    Raises:
        ManifestError: it holds something else; names recording and camera.
        WeightsError: not a pickle of plain data.
    """
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        raise ManifestError(f"{path}: not a dictionary of recordings")
    found: Ranges = {}
    for recording, cameras in content.items():
        if not isinstance(recording, str) or not isinstance(cameras, dict):
            raise ManifestError(f"{path}: {recording!r} is not a recording with a dictionary of cameras")
        found[recording] = {
            str(camera): _range(frames, f"{path}: {recording}, {camera}") for camera, frames in cameras.items()
        }
    return found


def _range(frames: object, where: str) -> tuple[int, int]:
    is_pair = isinstance(frames, (list, tuple)) and [type(each) for each in frames] == [int, int]
    if not is_pair or not 1 <= frames[0] < frames[1]:  # type: ignore[index]
        raise ManifestError(f"{where}: {frames!r} is not [first frame, last frame + 1], counted from 1")
    return frames[0], frames[1]  # type: ignore[index]


def read_published(path: Path) -> dict[str, set[str]]:
    """The cameras of each recording that were published, from `coarse_seq_views.txt`; empty without the file.

    Raises:
        ManifestError: a line is not `<type>_<recording>/<camera>.mp4`.
    """
    found: dict[str, set[str]] = {}
    for row, line in numbered_lines(path) if path.is_file() else []:
        sequence, slash, file = line.strip().partition("/")
        if line.strip() and not (slash and file.endswith(".mp4") and recording_of(sequence)):
            raise ManifestError(f"{path}, row {row}: {line!r} is not <type>_<recording>/<camera>.mp4")
        if line.strip():
            found.setdefault(recording_of(sequence), set()).add(file.removesuffix(".mp4"))
    return found

"""The layout in which Assembly101's features are published: one LMDB key per video frame, one environment per camera.

An environment is a folder `<camera>` with `data.mdb`; only its default database is used. The key of a frame is
`<recording>/<camera>/<camera>_<frame, ten digits>.jpg`, its value 2048 little-endian float32. Frames are those at 30
per second, counted from 1: frame f covers [(f - 1) / 30, f / 30] seconds.

Environments are read without LMDB (see `lmdb_index.py`): nothing is locked or created beside them, they may be open
elsewhere, in this process as well, and damaged ones do not end it.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from egotools.config import file_digest
from egotools.errors import StoreError
from egotools.files.disk import open_file
from egotools.stores.lmdb_index import scan
from egotools.stores.opening import open_store
from egotools.stores.store import SUFFIXES, Store
from egotools.texts import named
from egotools.types import IntArray

FPS = 30
WIDTH = 2048
VALUE = 4 * WIDTH  # bytes
DATA, LOCK, STATISTICS = "data.mdb", "lock.mdb", "statistic_input_all.pkl"
LONGEST_KEY = 511  # bytes, LMDB's own limit
TAIL = 14  # bytes of a key after the last underscore
KEY = re.compile(rb"([^/]+)/([^/]+)/\2_")
PARTS = re.compile(r"([^/]+)/([^/.][^/]*)")  # of an id; a camera is the name of a folder
OFF = 0.25  # frames that the start of a row may be away from that of a frame that follows the previous one
SMALL = 64 << 20  # bytes of a file of which all are digested
SAMPLES, SAMPLE = 1024, 4096  # of larger ones: places, and bytes at each

NO_FRAME = "keys that name no frame (<recording>/<camera>/<camera>_<ten digits, from 1>.jpg)"
NO_VALUE = f"values of another length than {VALUE} bytes"

Statistics = dict[str, dict[str, list[int]]]


@dataclass
class Strays:
    """Entries that hold no frame: how many of each kind, and the first key."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, kind: str, key: bytes) -> None:
        """Counts one."""
        self.first.setdefault(kind, key.decode(errors="backslashreplace"))
        self.counts[kind] = self.counts.get(kind, 0) + 1

    def lines(self) -> list[str]:
        """One line per kind: what, how many, and the first key."""
        return [f"{count} {kind}, such as {self.first[kind]!r}" for kind, count in self.counts.items()]


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of one clip that follow each other in an environment.

    `numbers` [N] int64, ascending; `places` [N] int64: where their values begin in the file, bytes.
    """

    id: str
    numbers: IntArray
    places: IntArray


@dataclass
class Span:
    """The frames of one clip: first and last, how many between them are missing, and the longest run of those."""

    first: int
    last: int
    missing: int = 0
    longest: int = 0  # missing in a row
    longest_at: int = 0  # the first of them
    first_missing: int = 0

    def add(self, numbers: IntArray) -> None:
        """Takes the next frames."""
        steps = np.diff(numbers, prepend=self.last)
        if (gaps := np.flatnonzero(steps > 1)).size:
            before = np.concatenate([[self.last], numbers[:-1]])
            worst = int(gaps[np.argmax(steps[gaps])])
            if steps[worst] - 1 > self.longest:
                self.longest, self.longest_at = int(steps[worst]) - 1, int(before[worst]) + 1
            self.first_missing = self.first_missing or int(before[gaps[0]]) + 1
            self.missing += int((steps[gaps] - 1).sum())
        self.last = int(numbers[-1])


def key_of_frame(id: str, number: int) -> str:
    """The key of a frame of the clip `<recording>/<camera>`.

    >>> key_of_frame("r/C10118_rgb", 81)
    'r/C10118_rgb/C10118_rgb_0000000081.jpg'
    """
    return f"{id}/{id.rpartition('/')[2]}_{number:010d}.jpg"


def parts_of(id: str, where: Path) -> tuple[str, str]:
    """Recording and camera of a clip.

    Raises:
        StoreError: the id is not `<recording>/<camera>`, or too long for a key.
    """
    found = PARTS.fullmatch(id)
    if found is None or len(key_of_frame(id, 0).encode()) > LONGEST_KEY:
        raise StoreError(
            f"{where}: clip {id!r} is not <recording>/<camera>, of at most {LONGEST_KEY} bytes as a key; "
            "'egotools manifest assembly101' makes such ids"
        )
    return found[1], found[2]


def frame_numbers(store: Store, id: str) -> IntArray:
    """The numbers [T] of a clip's frames, from the times of its rows.

    Raises:
        StoreError: the rows are not one per 1/30 s, without a gap.
    """
    times = np.asarray(store.stored(id).times)
    exact = times[:, 0] * FPS
    numbers = np.rint(exact).astype(np.int64) + 1
    lengths = (times[:, 1] - times[:, 0]) * FPS
    apart = np.abs(np.diff(exact) - 1) > OFF
    wrong = np.flatnonzero(
        (lengths <= 0) | (lengths > 1 + OFF) | (numbers < 1) | np.append(False, apart | (np.diff(numbers) != 1))
    )
    if wrong.size:
        start, end = times[wrong[0]].tolist()
        raise StoreError(
            f"{store.path}: clip {id!r}, row {wrong[0]} from 0, covers {start:.4f} to {end:.4f} s: not one row per "
            "1/30 s; extract with --fps 30"
        )
    return numbers


def environments(path: Path) -> list[Path]:
    """The data files of an environment (a folder, or its `data.mdb`), or of a folder of several.

    Raises:
        StoreError: there is none.
    """
    if path.is_file():
        return [path]
    try:
        found = [path / DATA] if (path / DATA).exists() else sorted(path.glob(f"[!.]*/{DATA}"))
    except OSError as error:
        raise StoreError(f"{path}: cannot be listed: {error.strerror}") from error
    if not found:
        what = "a folder without LMDB environments" if path.is_dir() else "no such folder"
        raise StoreError(f"{path}: {what}; give <camera>/ with {DATA} in it, or the folder of several cameras")
    return found


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """The data file of an environment, for reading.

    Raises:
        StoreError: it cannot be opened, or is empty.
    """
    try:
        handle = open_file(file)
    except OSError as error:
        raise StoreError(f"{file}: cannot be opened: {error.strerror}") from error
    with handle:
        if not os.fstat(handle.fileno()).st_size:
            raise StoreError(f"{file}: empty, not an LMDB environment; copy it again")
        yield handle


def frames_of(handle: BinaryIO, file: Path, strays: Strays) -> Iterator[Frames]:
    """The frames of an environment in the order of their keys, many at a time; no value is read.

    Raises:
        StoreError: it is not LMDB, damaged, cut short, or being written.
    """
    for entries in scan(handle.fileno(), file):
        at = 0
        for prefix, group in groupby(entries.keys, key=lambda key: key[:-TAIL]):
            keys = list(group)
            places, sizes = (each[at : at + len(keys)] for each in (entries.places, entries.sizes))
            at += len(keys)
            id, numbers = _parsed(prefix, keys)
            fits = sizes == VALUE
            for place in np.flatnonzero((numbers < 1) | ~fits).tolist():
                strays.add(NO_FRAME if numbers[place] < 1 else NO_VALUE, keys[place])
            if (good := (numbers >= 1) & fits).any():
                yield Frames(id, numbers[good], places[good])


def _parsed(prefix: bytes, keys: list[bytes]) -> tuple[str, IntArray]:
    """The id of keys with one prefix, and their frame numbers, 0 for those without one."""
    none: IntArray = np.zeros(len(keys), np.int64)
    found = KEY.fullmatch(prefix)
    if found is None:
        return "", none
    try:
        id = b"/".join(found.groups()).decode()
    except UnicodeDecodeError:
        return "", none
    tails = np.frombuffer(b"".join(key[-TAIL:] for key in keys), np.uint8).reshape(len(keys), TAIL)
    digits = tails[:, :-4].astype(np.int64) - ord("0")
    is_name = ((digits >= 0) & (digits <= 9)).all(1) & (tails[:, -4:] == np.frombuffer(b".jpg", np.uint8)).all(1)
    return id, np.where(is_name, digits @ 10 ** np.arange(9, -1, -1), 0)


def survey(file: Path, strays: Strays) -> dict[str, Span]:
    """The frames of each clip in one environment, from its keys alone.

    Raises:
        StoreError: it is not an environment, damaged, cut short, or being written.
    """
    spans: dict[str, Span] = {}
    with opened(file) as handle:
        for frames in frames_of(handle, file, strays):
            first = int(frames.numbers[0])
            spans.setdefault(frames.id, Span(first, first)).add(frames.numbers)
    return spans


def survey_all(path: Path, strays: Strays) -> dict[Path, dict[str, Span]]:
    """The frames of each clip in each environment of a folder.

    Raises:
        StoreError: as `survey`; or a clip is in two environments, or there is none at all.
    """
    found: dict[Path, dict[str, Span]] = {}
    where: dict[str, Path] = {}
    for file in environments(path):
        found[file] = survey(file, strays)
        for id in found[file]:
            if (other := where.setdefault(id, file)) != file:
                raise StoreError(f"{path}: clip {id!r} is in {other.parent.name} and in {file.parent.name}; give one")
    if not where:
        said = named(strays.lines(), 2, between="; ")
        raise StoreError(f"{path}: contains no frame of Assembly101's layout{f': {said}' if said else ''}")
    return found


def statistics(path: Path) -> Statistics:
    """The range of frames of each recording and camera, as `statistic_input_all.pkl` has it: [first, last + 1].

    Args:
        path: an environment or a folder of several, of which only keys are read; or a cache.

    Raises:
        StoreError: it is neither, or is damaged.
    """
    if path.suffix in SUFFIXES and path.is_file():
        return statistics_of(open_store(path))
    found: Statistics = {}
    for clips in survey_all(path, Strays()).values():
        for id, span in clips.items():
            recording, camera = parts_of(id, path)
            found.setdefault(recording, {})[camera] = [span.first, span.last + 1]
    return found


def statistics_of(store: Store) -> Statistics:
    """The same of a cache, whose rows and ids are checked; a clip without rows has no entry.

    Raises:
        StoreError: an id is not `<recording>/<camera>`, or rows are not one per 1/30 s.
    """
    found: Statistics = {}
    for id in store:
        recording, camera = parts_of(id, store.path)
        if len(numbers := frame_numbers(store, id)):
            found.setdefault(recording, {})[camera] = [int(numbers[0]), int(numbers[-1]) + 1]
    return found


def environments_digest(path: Path) -> str:
    """The digest of environments: of the whole file up to 64 MiB, of larger ones of their size and samples.

    Samples are LMDB's own metadata, which every change through LMDB counts up, and 1024 places spread evenly, so that a
    file that was written anew differs, too. Tens of gigabytes are not read whenever caches are listed.

    Raises:
        OSError: it cannot be read.
    """
    if not path.exists():
        raise FileNotFoundError(2, "no such file or folder", str(path))
    sha = hashlib.sha256()
    try:
        files = environments(path)
    except StoreError:
        files = []
    for file in files:
        sha.update(_file_digest(file).encode())
    return sha.hexdigest()[:16]


def _file_digest(path: Path) -> str:
    size = path.stat().st_size
    if size <= SMALL:
        return file_digest(path)
    sha = hashlib.sha256(str(size).encode())
    with open_file(path) as file:
        sha.update(os.pread(file.fileno(), 2 << 16, 0))  # both pages of metadata, however large pages are
        for place in np.linspace(0, size - SAMPLE, SAMPLES).astype(np.int64).tolist():
            sha.update(os.pread(file.fileno(), SAMPLE, place))
    return sha.hexdigest()[:16]


def read_values(handle: BinaryIO, places: IntArray) -> npt.NDArray[np.float32]:
    """The values [N, 2048] at these places of a file, read in one piece where they lie close together."""
    values = np.empty((len(places), WIDTH), "<f4")
    bytes_ = values.view(np.uint8)
    begin, end = int(places.min()), int(places.max()) + VALUE
    if end - begin <= 3 * values.nbytes:
        block = np.frombuffer(os.pread(handle.fileno(), end - begin, begin), np.uint8)
        for row, place in enumerate((places - begin).tolist()):
            bytes_[row] = block[place : place + VALUE]
        return values
    for row, place in enumerate(places.tolist()):
        os.preadv(handle.fileno(), [bytes_[row].data], place)
    return values

"""Turns a folder into clips: finds videos, frame folders, images, sound and stacks, and joins labels to them."""

import glob
import itertools
import os
import posixpath
import re
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from egotools.errors import ClipError, ManifestError
from egotools.files.csv_files import read_csv
from egotools.files.disk import NOT_REGULAR, is_below, walk
from egotools.manifests.table import RESERVED
from egotools.media.animation import is_animated
from egotools.media.audio import SOUND_SUFFIXES
from egotools.media.limits import reading
from egotools.media.numbering import are_frames, may_be_frames
from egotools.media.sound.sound_only import is_sound_alone
from egotools.media.stills import IMAGE_SUFFIXES, mapped_array
from egotools.media.video import RAW_SUFFIXES, VIDEO_SUFFIXES
from egotools.texts import AT_ENDS, composed, shortened, split_name, tidy
from egotools.types import LONGEST_ID, Clip

ROOMY_ID = LONGEST_ID - 20  # bytes of a shortened id: leaves room for the number of a window
MOST_LOOKED_INTO = 10_000  # videos checked for having sound only: takes a second, or minutes on a slow disk
KEYS = ("path", "file", "filename", "video")  # accepted names of the key column of a labels file

FPS = 30.0  # default for frame folders and stacks

Kind = Literal["video", "frames", "image", "sound", "stack"]
Pictures = Literal["auto", "frames", "images"]
KINDS: dict[Kind, Sequence[str]] = {"video": VIDEO_SUFFIXES, "sound": SOUND_SUFFIXES, "image": IMAGE_SUFFIXES}


@dataclass(frozen=True)
class FolderItem:
    """A file or a frame folder that can become a clip. `name` is relative to the root, with "/"."""

    kind: Kind
    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The name without suffix; folders have none."""
        return self.name if self.kind == "frames" else self.name.removesuffix(Path(self.name).suffix)


@dataclass
class Listing:
    """What was found below `root`: items in natural order, files of other kinds, and links that lead out.

    `left_out` lists files of known kinds, and folders, that cannot be used, with the reason: "a.mp4: not a regular
    file".
    `unsure` lists folders whose images are treated as images, though by their numbers they could be frames.
    """

    root: Path
    found: list[FolderItem] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Joined:
    """Clips with labels; the rows of the labels file that match no clip, and the ids of clips without a row."""

    clips: list[Clip]
    rows_left: list[str]
    clips_left: list[str]
    columns_left: list[str]


def list_folder(root: Path | str) -> Listing:
    """What `root` and its sub-folders hold; hidden files are skipped.

    Raises:
        ManifestError: the folder does not exist, cannot be listed, or contains nothing that can be read.
    """
    if not os.path.isdir(root):
        raise ManifestError(f"{root}: no such folder")
    return list_places([root])


def list_places(places: Sequence[Path | str], *, pictures: Pictures = "auto", follow_links: bool = False) -> Listing:
    """What several folders, files and patterns such as `videos/*.mp4` contain; each item once.

    Names are relative to the folder if only one is given, otherwise to the deepest folder that contains all of them.
    Images that are given by name are separate images, not frames.

    Args:
        places: folders, files and patterns.
        pictures: whether the images of a folder are frames of a video or separate images; "auto" treats eight or
            more images as frames if their names differ only in a running number.
        follow_links: whether links that lead out of a folder are followed.

    Raises:
        ManifestError: as `list_folder`; or a file does not exist, or nothing matches a pattern.
    """
    tops = [Path(place) for place in places]
    named = [pair for place in tops for pair in _expanded(place)]
    top = os.path.commonpath([os.path.abspath(top) for _, top in named])
    root = tops[0] if len(tops) == 1 and tops[0].is_dir() else Path(top)
    listing = Listing(root)
    for path, _ in named:
        if path.is_dir():
            part = _list_folder(path, pictures, follow_links)
        else:
            part = Listing(path.parent)
            _list_files(path.parent, [path.name], path.parent, "images", part)
        prefix = os.path.relpath(os.path.abspath(part.root), os.path.abspath(root))
        for item in part.found:
            listing.found.append(replace(item, name=posixpath.normpath(posixpath.join(prefix, item.name))))
        for kind in ("ignored", "refused", "left_out", "unsure"):
            names = (posixpath.normpath(posixpath.join(prefix, name)) for name in getattr(part, kind))
            getattr(listing, kind).extend(names)
    listing.found = sorted({item.name: item for item in listing.found}.values(), key=lambda item: natural(item.name))
    if sum(item.kind == "video" for item in listing.found) <= MOST_LOOKED_INTO:
        # Browsers record sound as .webm, and phones send it as .mp4.
        heard = {item.name for item in listing.found if item.kind == "video" and is_sound_alone(item.path)}
        listing.found = [replace(item, kind="sound") if item.name in heard else item for item in listing.found]
    if not listing.found:
        where = ", ".join(map(str, places[:3]))
        left = f"; {len(listing.refused)} links point outside" if listing.refused else ""
        left += f"; left out: {', '.join(listing.left_out[:3])}" if listing.left_out else ""
        raise ManifestError(f"{where}: no videos, frame folders, images, sound files or stacks{left}")
    return listing


def _expanded(place: Path) -> list[tuple[Path, Path]]:
    """The folders and files that a name or a pattern refers to, each with the folder that its name is relative to."""
    if os.path.lexists(place):
        return [(place, place if place.is_dir() else place.parent)]
    if not glob.has_magic(str(place)):
        raise ManifestError(f"{place}: no such folder or file")
    matches = sorted(glob.glob(str(place), recursive=True))
    if not matches:
        raise ManifestError(f"{place}: nothing matches this pattern")
    parts = list(itertools.takewhile(lambda part: not glob.has_magic(part), place.parts))
    return [(Path(match), Path(*parts)) for match in matches]


def _list_folder(root: Path, pictures: Pictures, follow_links: bool) -> Listing:
    listing = Listing(root)
    try:
        for folder, names in walk(root, listing.refused, follow_links=follow_links, unlisted=listing.left_out):
            _list_files(folder, names, root, pictures, listing)
    except OSError as error:
        raise ManifestError(f"{error.filename}: cannot be listed: {error.strerror}") from error
    return listing


def _list_files(folder: Path, names: Iterable[str], root: Path, pictures: Pictures, listing: Listing) -> None:
    images: list[FolderItem] = []
    moving = False
    for name in names:
        path = folder / name
        relative = path.relative_to(root).as_posix()
        if problem := _problem(path, relative):
            listing.left_out.append(f"{relative}: {problem}")
            continue
        kind = _kind(path)
        moving = moving or (kind == "video" and path.suffix.lower() in IMAGE_SUFFIXES)
        if kind is None:
            listing.ignored.append(relative)
        else:
            (images if kind == "image" else listing.found).append(FolderItem(kind, path, relative))
    image_names = [item.path.name for item in images]
    if images and (pictures == "frames" or (pictures == "auto" and not moving and are_frames(image_names))):
        listing.found.append(FolderItem("frames", folder, folder.relative_to(root).as_posix()))
        return
    listing.found.extend(images)
    if pictures == "auto" and may_be_frames(image_names):
        listing.unsure.append(folder.relative_to(root).as_posix())


def _kind(path: Path) -> Kind | None:
    suffix = path.suffix.lower()
    if not os.path.isfile(path):
        return None
    if suffix == ".npy":
        return "stack" if _is_stack(path) else None
    if suffix in IMAGE_SUFFIXES and _is_animated(path):
        return "video"
    return next((kind for kind, suffixes in KINDS.items() if suffix in suffixes), None)


def _problem(path: Path, name: str) -> str:
    """Why a file of a known kind, called `name` below the root, cannot be a clip; empty if it can."""
    if path.suffix.lower() not in (".npy", *itertools.chain(*KINDS.values())):
        return ""
    try:
        name.encode()
        if not stat.S_ISREG(os.stat(path).st_mode):
            return NOT_REGULAR
    except UnicodeEncodeError:
        return "its name is not UTF-8, and a manifest is: rename the file"
    except OSError as error:
        return "a broken link" if os.path.islink(path) else (error.strerror or str(error)).lower()
    return ""


def _is_animated(path: Path) -> bool:
    try:
        return is_animated(path)
    except ClipError:
        return False  # a damaged image, which `check` and `extract` report


def _is_stack(path: Path) -> bool:
    """Whether an array file holds frames: uint8 [T, H, W(, 1 or 3)]. Features and others do not count."""
    try:
        with reading(path):
            array = mapped_array(path)
    except ClipError:
        return True  # damaged, perhaps a stack: let `check` and `extract` report it rather than skip it
    return bool(array.dtype == np.uint8 and (array.ndim == 3 or array.shape[3:] in ((1,), (3,))))


def is_raw(path: Path) -> bool:
    """Whether a file name says raw video without a container; its frame rate may have to be given."""
    return path.suffix.lower() in RAW_SUFFIXES


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts names as people do: `clip2` before `clip10`."""
    parts = re.findall(r"\d+|\D+", name)
    return (*((int(part), "") if part.isdecimal() else (-1, part) for part in parts), (-2, name))


def clips_of(found: Sequence[FolderItem], *, fps: float | None = None) -> list[Clip]:
    """One clip for each item: `label` is the folder it is in, `video` its name without suffix.

    Where files in different folders share a name, `video` is the path without suffix, so that they stay distinct.
    Ids longer than 400 bytes are shortened and end in a digest of the original.

    Args:
        found: items of one listing.
        fps: frame rate of frame folders and stacks, which store none (None: 30), and of raw streams whose header has
            none.

    Raises:
        ManifestError: two names differ only in their Unicode normalization.
    """
    ids = _ids(found)
    names = Counter(Path(stem).name for stem in {item.stem for item in found})
    clips = []
    for item in found:
        clip_id, name = ids[item.name], Path(item.stem).name
        labels = {
            "label": composed(Path(item.name).parent.name),
            "video": (name if names[name] == 1 else item.stem) or clip_id,
        }
        rate = (fps or FPS) if item.kind in ("frames", "stack") else fps if is_raw(item.path) else None
        clips.append(
            Clip(
                shortened(composed(clip_id), ROOMY_ID) if is_long(clip_id) else clip_id,
                Path(os.path.abspath(item.path)),
                labels=labels,
                fps=rate,
            )
        )
    return clips


def is_long(clip_id: str) -> bool:
    """Whether an id would exceed the maximum length."""
    return len(composed(clip_id).encode()) > LONGEST_ID


def _ids(found: Sequence[FolderItem]) -> dict[str, str]:
    """The id of each name: without suffix, or with it where two items would share an id."""
    names = {item.name for item in found}
    stems = Counter(item.stem for item in found)
    ids = {}
    for item in found:
        is_own = stems[item.stem] == 1 and (item.stem == item.name or item.stem not in names)
        ids[item.name] = item.stem if is_own else item.name
    if len({composed(id) for id in ids.values()}) < len(ids):
        twice = next(id for id, count in Counter(map(composed, ids.values())).items() if count > 1)
        raise ManifestError(
            f"two files are named {twice!r}, in different Unicode forms (NFC and NFD): rename one of them"
        )
    for item in found:
        if item.name == ".":  # the folder itself is a frame folder
            own = Path(os.path.abspath(item.path)).name
            ids["."] = own if own and own not in ids.values() else "."
    return ids


def join_labels(clips: Sequence[Clip], root: Path | str, labels: Path | str) -> Joined:
    """Adds the columns of a CSV file as labels to the clips whose files its rows name.

    The key column is `path`, `file`, `filename` or `video`, else the first one. A row names a file by its path below
    `root`, with or without suffix, or by its file name if that is unique. Columns become labels, `split` the
    split; `fps` applies to frame folders, stacks and raw streams only, because other videos store their own.

    Raises:
        ManifestError: the file cannot be used, two rows name one file, or no row names a file.
    """
    root, labels = Path(root), Path(labels)
    columns, rows = read_csv(labels, known=KEYS)
    own = {name.lower(): name for name in reversed(columns)}
    key = next((own[name] for name in KEYS if name in own), columns[0])
    names = _names(clips, root)
    row_of: dict[str, int] = {}
    values_of: dict[str, dict[str, str]] = {}
    rows_left = []
    for number, values in rows:
        clip_id = names.get(_normal(values[key], root))
        if clip_id is None:
            rows_left.append(f"row {number}: {values[key]}")
            continue
        if clip_id in row_of:
            raise ManifestError(f"{labels}, row {number}: names the same file as row {row_of[clip_id]}: {values[key]}")
        row_of[clip_id], values_of[clip_id] = number, values
    if not row_of:
        such = f", such as {rows[0][1][key]!r}" if rows else ""
        raise ManifestError(
            f"{labels}: none of its {len(rows)} rows names a file below {root}: the column {key!r} should hold paths or"
            f" file names such as {next(iter(names), '')!r}{such and '; it holds other values'}{such}"
        )
    kept = [name for name in columns if name != key and name not in RESERVED]
    return Joined(
        clips=[_labelled(clip, values_of.get(clip.id), kept, labels, row_of.get(clip.id)) for clip in clips],
        rows_left=rows_left,
        clips_left=[clip.id for clip in clips if clip.id not in row_of],
        columns_left=[name for name in columns if name in RESERVED and name not in (key, "split")],
    )


def _names(clips: Sequence[Clip], root: Path) -> dict[str, str]:
    """The names by which a labels file may refer to each clip -> its id; exact names first, ambiguous ones left out."""
    top = os.path.abspath(root)
    paths = [(clip.id, Path(composed(os.path.relpath(clip.path, top)))) for clip in clips]
    names: dict[str, str] = {}
    for levels in (
        [(path.as_posix(), id_) for id_, path in paths],
        [(path.with_suffix("").as_posix(), id_) for id_, path in paths if path.name],
        [(path.name, id_) for id_, path in paths],
        [(path.stem, id_) for id_, path in paths],
    ):
        counts = Counter(name for name, _ in levels)
        for name, id_ in levels:
            if counts[name] == 1:
                names.setdefault(name, id_)
    return names


def _normal(key: str, root: Path) -> str:
    """The form in which a key is looked up: relative to the root, with "/" between folders."""
    path = os.path.normpath(composed(key).strip().strip(AT_ENDS).strip().replace("\\", "/"))
    top = composed(os.path.abspath(root))
    return os.path.relpath(path, top) if os.path.isabs(path) and is_below(path, top) else path


def _labelled(
    clip: Clip, values: Mapping[str, str] | None, columns: Sequence[str], labels: Path, row: int | None
) -> Clip:
    if values is None:
        return replace(clip, labels={**clip.labels, **{name: clip.labels.get(name, "") for name in columns}})
    fps = clip.fps
    if (fps is not None or is_raw(clip.path)) and values.get("fps"):
        try:
            fps = float(values["fps"])
        except ValueError:
            raise ManifestError(f"{labels}, row {row}: fps {values['fps']!r} is not a number") from None
    return replace(
        clip,
        fps=fps,
        split=split_name(values["split"]) if "split" in values else clip.split,
        labels={**clip.labels, **{name: tidy(values[name]) for name in columns}},
    )

"""The clips of a manifest as folders of frames, written in parallel, with a manifest of these; resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Literal

from egotools.config import to_json
from egotools.errors import ManifestError, OutputError
from egotools.extract.failures import write_failures
from egotools.extract.frame_writing import FrameOptions, FrameTask, Written, about_folder, write_frames
from egotools.files.disk import write_whole
from egotools.files.json_files import read_json
from egotools.machine import usable_cores
from egotools.manifests.table import write_manifest
from egotools.processes import Crash, apart
from egotools.progress import Progress, no_progress
from egotools.stores.source import SourceFiles
from egotools.texts import shortened
from egotools.training.runs import one_writer
from egotools.types import Clip

OPTIONS, MANIFEST = "frames.json", "manifest.csv"
LONGEST_NAME = 200  # bytes of a folder's name
Layout = Literal["id", "memdpc"]


@dataclass
class Folders:
    """What became of the clips."""

    manifest: Path
    clips: list[Clip] = field(default_factory=list)  # with folders, in the manifest's order
    made: int = 0
    files: int = 0  # in all folders
    changed: list[str] = field(default_factory=list)  # ids that were made again, for their files had changed
    failed: list[tuple[Clip, str]] = field(default_factory=list)
    remarks: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by id


def write_folders(
    clips: Sequence[Clip],
    out: Path,
    options: FrameOptions,
    *,
    layout: Layout = "id",
    label: str = "label",
    limit: int | None = None,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> Folders:
    """Writes a folder a clip, those that are there aside, then `manifest.csv` and `frames.failed.csv`.

    Args:
        clips: of a manifest.
        out: the folder of the folders; of `memdpc`, the reference's `frame` or `flow` in it.
        options: what is written.
        layout: by the clips' ids, or by label and the file's name as MemDPC's lists have it.
        label: the column of `memdpc`'s classes.
        limit: only the first clips.
        workers: processes; by default as many as there are cores.
        progress: reports clips done.

    Raises:
        OutputError: the folders there have other options, or the disk fails.
        ManifestError: a clip has no such label.
        StoreError: another process is writing there.
    """
    top = out if layout == "id" else out / ("flow" if options.flow else "frame")
    folders = names_of(clips) if layout == "id" else memdpc_names(clips, label)
    tasks = [FrameTask(clip, top / folders[clip.id], options) for clip in clips[:limit]]
    with one_writer(top):
        _check_options(top, options)
        found = Folders(top / MANIFEST)
        done = _done(tasks, found)
        left = [task for task in tasks if task.clip.id not in done]
        count = min(len(left), workers or usable_cores())
        progress("writing frames", len(done), len(tasks), sum(each.files for each in done.values()))
        for task, written in apart(write_frames, left, count=count):
            if isinstance(written, Crash):
                written = Written(error=f"{task.clip.path}: the decoder crashed (exit code {written.status})")
            if written.is_fatal:
                raise OutputError(written.error)
            done[task.clip.id] = written
            progress("writing frames", len(done), len(tasks), sum(each.files for each in done.values()))
        found.made = sum(not done[task.clip.id].error for task in left)
        _finish(found, tasks, done)
    return found


def names_of(clips: Sequence[Clip]) -> dict[str, str]:
    """A folder for each id, relative: the id itself wherever that can be one, and none inside another."""
    return _apart({clip.id: _safe(clip.id) for clip in clips})


def memdpc_names(clips: Sequence[Clip], label: str) -> dict[str, str]:
    """`<class>/<video>` for each id, the video being the file's name without suffix.

    Raises:
        ManifestError: a clip has no class.
    """
    for clip in clips:
        if not clip.labels.get(label):
            raise ManifestError(
                f"clip {clip.id!r} has no {label!r}, which --layout memdpc needs as its class (--label)"
            )
    stems = {clip.id: clip.path.name if clip.path.is_dir() else clip.path.stem for clip in clips}
    return _apart({clip.id: f"{_part(clip.labels[label])}/{_part(stems[clip.id])}" for clip in clips})


def _safe(name: str) -> str:
    return "/".join(_part(part) for part in name.split("/"))


def _part(text: str) -> str:
    """A folder's name: not hidden, not empty, not too long, without a slash."""
    text = text.replace("/", "_").replace("\0", "_")
    return shortened(f"_{text.lstrip('.')}" if not text or text.startswith(".") else text, LONGEST_NAME)


def _apart(names: Mapping[str, str]) -> dict[str, str]:
    """The names, with a digest of the id where two are one, or one is a folder in which others are."""
    count = Counter(names.values())
    inner = {str(parent) for name in names.values() for parent in PurePosixPath(name).parents}
    files = {OPTIONS, MANIFEST}
    return {
        id: f"{name}~{sha256(id.encode()).hexdigest()[:16]}" if count[name] > 1 or name in inner | files else name
        for id, name in names.items()
    }


def _check_options(top: Path, options: FrameOptions) -> None:
    """Refuses a folder of frames that were written otherwise; keeps the options in a new one."""
    now = {**asdict(options), "quality": options.jpeg_quality}
    path = top / OPTIONS
    try:
        there = read_json(path, dict)
    except FileNotFoundError:
        write_whole(path, to_json(now))
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"{path} cannot be read: {error}") from error
    for name in now:
        if there.get(name) != now[name]:
            raise OutputError(
                f"{top} holds frames with {name}={there.get(name)}, not {now[name]}; choose another --out, or delete it"
            )


def _done(tasks: Sequence[FrameTask], found: Folders) -> dict[str, Written]:
    """The clips whose folders are there already, and up to date."""
    files, done = SourceFiles(), {}
    for task in tasks:
        if (about := about_folder(task.folder)) is None:
            continue
        source, written = about
        if source.path == str(task.clip.path) and not files.change(source, task.clip):
            done[task.clip.id] = written
        else:
            found.changed.append(task.clip.id)
    return done


def _finish(found: Folders, tasks: Sequence[FrameTask], done: Mapping[str, Written]) -> None:
    for task in tasks:
        written = done[task.clip.id]
        if written.error:
            found.failed.append((task.clip, written.error))
            continue
        found.clips.append(replace(task.clip, path=task.folder.absolute(), start=0.0, end=None, fps=written.fps))
        found.files += written.files
        if written.remarks:
            found.remarks[task.clip.id] = written.remarks
    if found.clips:
        write_manifest(found.manifest, found.clips)
    write_failures(found.manifest.with_name("frames"), [task.clip for task in tasks], found.failed)

"""The clips of a manifest as folders of frames, written in parallel, with a manifest of these; resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from egotools.config import to_json
from egotools.errors import ManifestError, OutputError
from egotools.extraction.failures import write_failures
from egotools.extraction.frame_writing import (
    FrameOptions,
    FrameTask,
    Written,
    about_folder,
    begin_folder,
    complete_folder,
    plan_frames,
    write_frames,
    write_piece,
)
from egotools.files.disk import remove, write_whole
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
PIECE = 32  # files that a process writes at a time, where each takes a second
Layout = Literal["id", "memdpc", "storyboard"]
Step = tuple[FrameTask, Written | None, float]  # a clip, what became of it once it is over, and how much of it is done


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
        layout: by the clips' ids, or by label and the file's name as MemDPC's lists have it; `storyboard` by ids, with
            files numbered from 0 and called so.
        label: the column of `memdpc`'s classes.
        limit: only the first clips.
        workers: processes; by default as many as there are cores.
        progress: reports clips done.

    Raises:
        OutputError: the folders there have other options, or the disk fails.
        ManifestError: a clip has no such label.
        StoreError: another process is writing there.
    """
    top = out if layout != "memdpc" else out / ("flow" if options.flow else "frame")
    folders = names_of(clips) if layout != "memdpc" else memdpc_names(clips, label)
    is_numbered = layout == "storyboard"
    tasks = [FrameTask(clip, top / folders[clip.id], options, is_numbered_from_0=is_numbered) for clip in clips[:limit]]
    with one_writer(top):
        _check_options(top, {**asdict(options), "quality": options.jpeg_quality, "from_0": is_numbered or None})
        found = Folders(top / MANIFEST)
        done = _done(tasks, found)
        left = [task for task in tasks if task.clip.id not in done]
        write = _written_in_pieces if options.flow == "tvl1" else _written
        amount = float(len(done))
        progress("writing frames", amount, len(tasks), sum(each.files for each in done.values()))
        for task, written, share in write(left, workers or usable_cores()):
            amount += share
            if written is not None:
                done[task.clip.id] = written
            progress("writing frames", amount, len(tasks), sum(each.files for each in done.values()))
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


def _check_options(top: Path, now: Mapping[str, Any]) -> None:  # Any: JSON values
    """Refuses a folder of frames that were written otherwise; keeps the options in a new one."""
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


def _written(tasks: Sequence[FrameTask], count: int) -> Iterator[Step]:
    yield from ((task, written, 1.0) for task, written in _each(write_frames, tasks, count))


def _written_in_pieces(tasks: Sequence[FrameTask], count: int) -> Iterator[Step]:
    """As `_written`, where a file takes so long that a clip is worth several processes."""
    planned: dict[str, tuple[FrameTask, Written]] = {}
    for task, plan in _each(plan_frames, tasks, count):
        if plan.error:
            yield task, plan, 1.0
        else:
            planned[task.clip.id] = task, plan
    pieces = [
        replace(task, files=(first, min(first + PIECE, plan.files)))
        for task, plan in planned.values()
        for first in range(0, plan.files, PIECE)
    ]
    left = Counter(piece.clip.id for piece in pieces)
    failed: dict[str, Written] = {}
    try:
        for task, _ in planned.values():
            with _on_disk(task):
                begin_folder(task)
        for piece, written in _each(write_piece, pieces, count):
            task, plan = planned[piece.clip.id]
            left[piece.clip.id] -= 1
            if written.error:
                failed.setdefault(piece.clip.id, written)
            is_last = not left[piece.clip.id]
            if is_last and piece.clip.id not in failed:
                with _on_disk(task):
                    complete_folder(task, plan)
            yield task, failed.get(piece.clip.id, plan) if is_last else None, _share(piece, plan)
    finally:
        for task, _ in planned.values():
            with suppress(OSError):
                remove(task.part)


def _share(piece: FrameTask, plan: Written) -> float:
    first, end = piece.files or (0, plan.files)
    return (end - first) / plan.files


def _each(
    work: Callable[[FrameTask], Written], tasks: Sequence[FrameTask], count: int
) -> Iterator[tuple[FrameTask, Written]]:
    """Each task with its result, a crash as an error, from at most `count` processes."""
    for task, written in apart(work, tasks, count=min(len(tasks), count)):
        if isinstance(written, Crash):
            written = Written(error=f"{task.clip.path}: the decoder crashed (exit code {written.status})")
        if written.is_fatal:
            raise OutputError(written.error)
        yield task, written


@contextmanager
def _on_disk(task: FrameTask) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{task.folder} cannot be written: {error.strerror}") from error


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

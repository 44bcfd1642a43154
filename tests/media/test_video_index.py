"""What is known of a file is found out once and handed to all who read it; its digest is made beside."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from media_files import write_video

from egotools.extraction import readers
from egotools.extraction.messages import FileDigest, Message, Piece, ReadingTask
from egotools.extraction.readers import Readers
from egotools.extractors.lookup import find_extractor
from egotools.stores.source import content_digest
from egotools.types import Clip

ODD = Path(__file__).parents[1] / "odd_extractors.py"
HOLE = 200 << 20  # bytes, which take longer to digest than a small video to decode


def tasks_of(path: Path, ids: Sequence[str]) -> list[ReadingTask]:
    """Clips of a tenth of a second, the first of which brings the digest."""
    clips = [Clip(id, path, number / 10, (number + 1) / 10) for number, id in enumerate(ids)]
    return [ReadingTask(number, clip, (0,), digest=number == 0) for number, clip in enumerate(clips)]


def messages_of(tasks: Sequence[ReadingTask], count: int, name: str = "Brightness", **options: Any) -> list[Message]:
    """What `count` workers find of tasks."""
    extractor = find_extractor(f"{ODD}:{name}").kind(**options)
    with Readers([extractor], count=count, piece_rows=4, sources=[ODD]) as pool:
        pool.give(tasks)
        found = list(pool.messages())
        assert not pool._indexes
        return found


def test_a_file_is_indexed_once_whoever_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[ReadingTask] = []
    send = readers._send

    def noting(worker: Any, message: Any) -> None:
        if isinstance(message, list) and message and isinstance(message[0], ReadingTask):
            given.append(message[0])
        send(worker, message)

    monkeypatch.setattr(readers, "_send", noting)
    paths = [write_video(tmp_path / name, codec="mpeg4") for name in ("a.avi", "b.avi")]
    tasks = [task for path in paths for task in tasks_of(path, "01234567")]
    tasks = [ReadingTask(number, task.clip, (0,)) for number, task in enumerate(tasks)]
    pieces = [message for message in messages_of(tasks, 2) if isinstance(message, Piece)]
    assert {piece.clip for piece in pieces} == set(range(16))
    assert len(given) == 8
    for path in paths:
        assert [task.index is None for task in given if task.clip.path == path] == [True, False, False, False]


def test_rows_do_not_wait_for_the_digest_and_a_crash_amid_it_loses_neither(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4")
    with path.open("r+b") as file:
        file.truncate(HOLE)
    ids = ["0", "crash", *"234567"]
    found = messages_of(tasks_of(path, ids), 1, "Crashing", marker=tmp_path / "crashed", once=True)
    assert {message.clip for message in found if isinstance(message, Piece)} == set(range(8))
    assert [message for message in found if isinstance(message, FileDigest)] == [FileDigest(0, content_digest(path))]
    kinds = [type(message) for message in found]
    assert kinds.index(Piece) < kinds.index(FileDigest)

"""One writer at a time, and a lock file that leads nowhere else."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from egotools.errors import StoreError
from egotools.stores.writer_lock import WriterLock, lock_file, said_by_writer, writer_of


def test_a_writer_is_seen_by_others_until_it_lets_go_and_looking_creates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    assert (writer_of(path), said_by_writer(path)) == (None, "")
    assert os.listdir(tmp_path) == []
    lock = WriterLock(path)
    lock.say("at work")
    assert (writer_of(path), said_by_writer(path)) == (f"process {os.getpid()}", "at work")
    with pytest.raises(StoreError, match=f"being written by another process \\(process {os.getpid()}\\)"):
        WriterLock(path)
    lock.release()
    assert writer_of(path) is None
    assert os.listdir(tmp_path) == []


def test_what_a_killed_writer_said_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    lock_file(path).write_text("process 1\nat work\n")
    assert writer_of(path) is None
    lock = WriterLock(path)
    assert said_by_writer(path) == ""
    lock.release()


def test_whoever_only_looks_keeps_no_writer_out(tmp_path: Path) -> None:
    path = tmp_path / "a.lmdb"
    with lock_file(path).open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.05, fcntl.flock, (looking.fileno(), fcntl.LOCK_UN)).start()
        WriterLock(path).release()


@pytest.mark.parametrize("kind", ["link", "dangling", "hard link", "pipe", "folder"])
def test_a_lock_file_that_is_something_else_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path, elsewhere = tmp_path / "a.lmdb", tmp_path / "elsewhere"
    if kind != "dangling":
        elsewhere.write_text("as it was")
    if kind == "hard link":
        os.link(elsewhere, lock_file(path))
    elif kind == "pipe":
        os.mkfifo(lock_file(path))
    elif kind == "folder":
        lock_file(path).mkdir()
    else:
        os.symlink(elsewhere, lock_file(path))
    with pytest.raises(StoreError, match=r"a\.lmdb cannot be written: "):
        WriterLock(path)
    assert writer_of(path) is None
    if kind != "hard link":
        assert said_by_writer(path) == ""
    assert elsewhere.exists() == (kind != "dangling")
    assert kind == "dangling" or elsewhere.read_text() == "as it was"

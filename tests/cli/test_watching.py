"""`cache ls --watch`, and the log beside the caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root

from egotools.manifests.table import write_manifest
from egotools.rebuild.watching import Watch, is_over
from egotools.stores import Recipe, Source
from egotools.stores.lmdb_writer import LMDBWriter
from egotools.stores.unfinished import Begun
from egotools.types import Clip, Rows


def run(*words: object) -> Result:
    return CliRunner().invoke(root, [str(word) for word in words])


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    write_manifest(tmp_path / "m.csv", [Clip(f"{at}", tmp_path / "a.mp4") for at in range(4)])
    return tmp_path / "m.csv"


def writer_in(folder: Path, manifest: Path) -> LMDBWriter:
    return LMDBWriter(folder / "a.lmdb", Recipe({"extractor": "color"}, {"manifest": str(manifest)}))


def add(writer: LMDBWriter, id: str, rows: int = 5, *, finish: bool = True) -> None:
    writer.append(id, Rows(np.ones((rows, 3), np.float32), np.zeros((rows, 2))))
    if finish:
        writer.finish(id, Source(""))
    writer.commit({} if finish else {id: Begun(Source(""), 10)})


def test_a_watch_counts_clips_of_the_manifest_and_rows_that_are_not_whole_clips_yet(
    manifest: Path, tmp_path: Path
) -> None:
    watch = Watch([tmp_path])
    assert not is_over(watch.look())  # no cache yet
    with writer_in(tmp_path, manifest) as writer:
        (seen,) = watch.look()
        assert (seen.clips, seen.rows, seen.total, seen.problem) == (0, 0, None, "")
        add(writer, "0")
        add(writer, "1", finish=False)
        (seen,) = watch.look()
        assert (seen.clips, seen.total, seen.rows, seen.done) == (1, 4, 10, 1.5)
        assert seen.writer is not None
        assert seen.seconds_left is not None
        assert seen.seconds_left * seen.clips_per_second == pytest.approx(2.5)
        writer.finish("1", Source(""))
        writer.commit()
        for id in "23":
            add(writer, id)
        assert not is_over(watch.look())  # somebody writes it
    assert is_over(watch.look())


@pytest.mark.parametrize("words", [["--watch"], ["--watch", "0.2"]])
def test_the_watch_of_a_running_job_ends_by_itself(
    manifest: Path, tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_in(tmp_path, manifest)
    add(writer, "0", finish=False)
    remaining = iter("0123")

    def work_on(_: float) -> None:
        if (id := next(remaining, None)) is None:
            writer.close()
        else:
            add(writer, id)

    monkeypatch.setattr("egotools.cli.watching.time.sleep", work_on)
    done = run("cache", "ls", *words, tmp_path)
    assert done.exit_code == 0, done.output
    lines = [line.partition(": ")[2] for line in done.stdout.splitlines()]
    assert "unfinished: 0 (5 of 10 rows)" in lines[0]
    assert lines[-1].startswith("4 of 4 clips, 25 rows")
    assert "complete: nobody writes, and all clips are there" in done.stderr


def test_ctrl_c_ends_a_watch_with_status_0(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    with writer_in(tmp_path, manifest) as writer:
        add(writer, "0")
        monkeypatch.setattr("egotools.cli.watching.time.sleep", interrupt)
        assert run("cache", "ls", "--watch", tmp_path).exit_code == 0


def test_an_extraction_logs_into_the_folder_of_its_caches(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 8)
    (tmp_path / "b.mp4").write_text("not a video")
    write_manifest(tmp_path / "m.csv", [*(Clip(name, tmp_path / f"{name}.mp4") for name in "ab"), Clip("c", Path())])
    words = ["extract", "--manifest", tmp_path / "m.csv", "--out", tmp_path / "out", "--workers", 1, "color", "pixels"]
    assert run(*words).exit_code == 1
    log = (tmp_path / "out/RUN.log").read_text().splitlines()
    assert all(line.split()[1] == log[0].split()[1] for line in log)  # who wrote it
    said = [" ".join(line.split()[2:]) for line in log]
    assert said[0].startswith("started: ")
    assert said[1].startswith("egotools 0.1.0, process ")
    assert [sum(line.startswith(f"failed: {id}: ") for line in said) for id in "bc"] == [1, 1]
    assert any(line.startswith("extracting: 3 of 3 clips") for line in said)
    assert run("cache", "ls", tmp_path / "out").exit_code == 0

    (tmp_path / "out/RUN.log").unlink()
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "out/RUN.log").symlink_to(tmp_path / "mine.txt")
    done = run(*words)
    assert "RUN.log: cannot be written" in done.stderr
    assert "continuing without it" in done.stderr
    assert (done.exit_code, (tmp_path / "mine.txt").read_text()) == (1, "mine")

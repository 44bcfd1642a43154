"""Tasks to shards, durations, and what is open after a worker's death."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import write_video
from hypothesis import given
from hypothesis import strategies as st

from egotools.extraction.cluster.sharding import Open, durations, shards_of
from egotools.extraction.messages import BegunAgain, Done, Failure, Piece, ReadingTask
from egotools.types import Clip


def tasks_of(files: list[list[float]]) -> list[ReadingTask]:
    """A task a clip: `files` holds, by file, the seconds of its clips."""
    clips = [
        Clip(f"{file}/{number}", Path(f"{file}.mp4"), float(sum(lengths[:number])), float(sum(lengths[: number + 1])))
        for file, lengths in enumerate(files)
        for number in range(len(lengths))
    ]
    return [ReadingTask(number, clip, (0,)) for number, clip in enumerate(clips)]


def seconds(clip: Clip) -> float:
    assert clip.end is not None
    return clip.end - clip.start


lengths = st.lists(st.lists(st.floats(0.5, 3600), min_size=1, max_size=5), min_size=1, max_size=40)


@given(files=lengths, workers=st.integers(1, 9))
def test_every_task_is_in_one_shard_with_all_clips_of_its_file(files, workers):
    tasks = tasks_of(files)
    shards = shards_of(tasks, workers, seconds)
    assert sorted(task.number for shard in shards for task in shard) == [task.number for task in tasks]
    homes: dict[Path, int] = {}
    for number, shard in enumerate(shards):
        assert shard
        assert all(homes.setdefault(task.clip.path, number) == number for task in shard)
    assert len(shards) == min(8 * workers, len(files))


@given(files=lengths, workers=st.integers(1, 9))
def test_shards_are_balanced_and_come_longest_first(files, workers):
    shards = shards_of(tasks_of(files), workers, seconds)
    loads = [sum(seconds(task.clip) for task in shard) for shard in shards]
    assert loads == sorted(loads, reverse=True)
    longest_file = max(map(sum, files))
    assert loads[0] <= sum(map(sum, files)) / len(shards) + longest_file + 1e-6  # what longest-first guarantees


def test_a_clip_without_an_end_lasts_as_long_as_its_file(tmp_path):
    path = write_video(tmp_path / "a.mp4", 20)
    found = durations([Clip("whole", path), Clip("rest", path, 0.5), Clip("part", path, 0.5, 0.75)])
    assert found == pytest.approx({"whole": 2.0, "rest": 1.5, "part": 0.25})


def test_files_that_state_no_length_get_a_rough_one_and_none_is_an_error(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.jpg").touch()
    (tmp_path / "text.mp4").write_text("no video " * 50_000)
    clips = [
        Clip("folder", folder, fps=10.0),
        Clip("text", tmp_path / "text.mp4"),
        Clip("gone", tmp_path / "gone.mp4"),
    ]
    found = durations(clips)
    assert found["folder"] == 3
    assert found["text"] == pytest.approx(1.8)
    assert found["gone"] == 0


def piece(clip: int, extractor: int, rows: int, *, attempt: int = 0, total: int = 4) -> Piece:
    return Piece(clip, attempt, extractor, total, np.arange(rows), np.zeros((rows, 2)), np.zeros((rows, 1)))


def open_parts(state: Open, tasks: list[ReadingTask]) -> list[tuple[int, tuple[int, ...]]]:
    return [(task.number, task.positions) for task in state.among(tasks)]


def test_only_parts_without_all_their_rows_are_open():
    tasks = [ReadingTask(number, Clip(str(number), Path("a.mp4")), (0, 1)) for number in range(3)]
    state = Open(tasks)
    state.note(piece(0, 0, 4))
    state.note(piece(0, 1, 3))
    state.note(piece(1, 0, 0, total=0))
    state.note(Failure(1, 0, 1, "cannot be read"))
    assert open_parts(state, tasks) == [(0, (1,)), (2, (0, 1))]
    state.note(piece(0, 1, 1))
    assert open_parts(state, tasks) == [(2, (0, 1))]


def test_rows_of_an_attempt_that_crashed_do_not_count():
    task = ReadingTask(0, Clip("a", Path("a.mp4")), (0,))
    state = Open([task])
    state.note(piece(0, 0, 3))
    state.note(piece(0, 0, 3, attempt=1))
    state.note(piece(0, 0, 1))
    assert open_parts(state, [task]) == [(0, (0,))]
    state.note(piece(0, 0, 1, attempt=1))
    assert open_parts(state, [task]) == []


def test_rows_that_an_interrupted_run_has_computed_count_unless_the_clip_begins_again():
    task = ReadingTask(0, Clip("a", Path("a.mp4")), (0,), done={0: Done(3, 1, 0)})
    for begins_again, is_open in ((False, False), (True, True)):
        state = Open([task])
        if begins_again:
            state.note(BegunAgain(0, 0, 0))
        state.note(piece(0, 0, 1))
        assert bool(open_parts(state, [task])) == is_open

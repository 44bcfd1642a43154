"""A run that ends in the middle of a clip is resumed there: the rows are those of a run that nothing disturbed."""

from __future__ import annotations

import os
import signal
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from extracted import ODD, assert_same_rows, rows_of, want
from faults import Starter, wait_until
from media_files import write_video
from sounds import bursts
from whole import line

from egotools.extraction.engine import extract
from egotools.extraction.estimate import estimate
from egotools.extraction.messages import BegunAgain, Done, Piece
from egotools.extraction.reading import Reader
from egotools.extraction.request import CacheRequest, Extraction, Resources
from egotools.extractors.lookup import find_extractor
from egotools.manifests.table import write_manifest
from egotools.provenance import manifest_origin
from egotools.stores import open_store
from egotools.stores.lmdb_store import LMDBStore
from egotools.stores.verify import verify
from egotools.types import Clip

FRAMES = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [np.full((32, 48, 3), 30 + 2 * at, np.uint8) for at in range(FRAMES)]
    return write_video(tmp_path_factory.mktemp("video") / "long.mp4", frames, options={"g": "10"})


def run(clips: list[Clip], wanted: list[CacheRequest]) -> Extraction:
    return extract(clips, wanted, resources=Resources("cpu", batch_size=4, workers=1))


def stop(clips: list[Clip], wanted: list[CacheRequest]) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(clips, wanted)


def stopped(folder: Path, **options: Any) -> CacheRequest:
    """The extractor that is interrupted after 30 windows."""
    return want(folder, "Stopped", place_of_marks=folder, **options)


def computed(folder: Path) -> int:
    return sum(map(int, (folder / "computed").read_text().split()))


def there(wanted: CacheRequest) -> int:
    (clip,) = LMDBStore(wanted.cache).unfinished.values()
    return clip.rows


@pytest.mark.parametrize("each", [1, 3])
def test_an_interrupted_clip_goes_on_from_its_first_missing_row(video: Path, tmp_path: Path, each: int) -> None:
    clips, wanted = [Clip("long", video)], stopped(tmp_path, each=each)
    stop(clips, [wanted])
    assert len(open_store(wanted.cache)) == 0
    rows = there(wanted)
    assert (rows % each, 20 <= rows // each <= 30) == (0, True)
    assert estimate(clips, [wanted], resources=Resources("cpu")).caches[wanted.cache].rows == FRAMES * each - rows
    (tmp_path / "computed").unlink()
    result = run(clips, [wanted])
    assert result.resumed[wanted.cache] == {"long": rows}
    assert computed(tmp_path) == FRAMES - rows // each
    assert result.rows == FRAMES * each - rows

    (tmp_path / "other").mkdir()
    (tmp_path / "other/stopped").touch()
    expected = stopped(tmp_path / "other", each=each)
    run(clips, [expected])
    assert_same_rows(rows_of(wanted), rows_of(expected))
    one, other = (open_store(cache.cache)["long"].times for cache in (wanted, expected))
    assert np.array_equal(one, other)
    assert verify(wanted.cache).is_sound
    assert verify(wanted.cache).orphans == 0
    assert run(clips, [wanted]).skipped[wanted.cache] == 1


def test_extractors_of_one_pass_go_on_from_different_rows(video: Path, tmp_path: Path) -> None:
    clips = [Clip("long", video), Clip("half", video, 1.0)]
    wanted = [stopped(tmp_path), want(tmp_path, "Brightness"), want(tmp_path, "Backwards"), want(tmp_path, "FileSize")]
    stop(clips, wanted)
    result = run(clips, wanted)
    assert result.is_complete
    resumed = [{**result.resumed[each.cache]} for each in wanted]
    assert resumed[0]
    assert resumed[2:] == [{}, {}]  # rows that come in another order are kept once all are there
    (tmp_path / "other").mkdir()
    (tmp_path / "other/stopped").touch()
    others = [want(tmp_path / "other", each) for each in ("Brightness", "Backwards", "FileSize")]
    run(clips, expected := [stopped(tmp_path / "other"), *others])
    for one, other in zip(wanted, expected, strict=True):
        assert_same_rows(rows_of(one), rows_of(other))


def test_a_clip_whose_file_has_changed_begins_again(video: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(video.read_bytes())
    clips, wanted = [Clip("long", path)], stopped(tmp_path)
    stop(clips, [wanted])
    os.utime(path, (1e9, 1e9))
    (tmp_path / "computed").unlink()
    result = run(clips, [wanted])
    assert "its file was written on" in result.begun_again[wanted.cache]["long"]
    assert (computed(tmp_path), result.resumed[wanted.cache]) == (FRAMES, {})
    assert verify(wanted.cache).orphans == 0


def test_a_file_that_is_away_fails_and_its_rows_are_still_there_when_it_is_back(video: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(video.read_bytes())
    clips, wanted = [Clip("long", path)], stopped(tmp_path)
    stop(clips, [wanted])
    rows = there(wanted)
    path.rename(tmp_path / "away.mp4")
    assert len(run(clips, [wanted]).failed[wanted.cache]) == 1
    (tmp_path / "away.mp4").rename(path)
    assert run(clips, [wanted]).resumed[wanted.cache] == {"long": rows}


def during(wanted: CacheRequest, folder: Path, patch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Does something once, when 20 windows are computed."""
    (folder / "stopped").touch()
    network, acts = wanted.extractor.network, [act]

    def acting() -> Any:
        run = network()

        def computing(windows: Any) -> Any:
            rows = run(windows)
            if computed(folder) >= 20 and acts:
                acts.pop()()
            return rows

        return computing

    patch.setattr(type(wanted.extractor), "network", lambda _: acting())


def test_a_file_that_is_changed_while_it_is_read_fails_instead_of_giving_rows_of_two(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.mp4"
    path.write_bytes(video.read_bytes())
    wanted = stopped(tmp_path)
    during(wanted, tmp_path, monkeypatch, lambda: os.utime(path, (1e9, 1e9)))
    ((_, reason),) = run([Clip("long", path)], [wanted]).failed[wanted.cache]
    assert "was changed while it was read (its file was written on" in reason
    assert LMDBStore(wanted.cache).unfinished == {}


@pytest.mark.parametrize(("suffix", "each"), [(".lmdb", 1), (".lmdb", 3), (".h5", 1)])
def test_a_file_that_disappears_while_it_is_read_fails_and_its_rows_are_there_when_it_is_back(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, each: int
) -> None:
    path, away = tmp_path / "long.mp4", tmp_path / "away.mp4"
    path.write_bytes(video.read_bytes())
    clips, wanted = [Clip("long", path)], stopped(tmp_path, suffix=suffix, each=each)
    during(wanted, tmp_path, monkeypatch, lambda: path.rename(away))
    ((_, reason),) = run(clips, [wanted]).failed[wanted.cache]
    assert "disappeared while it was read" in reason
    away.rename(path)
    assert run(clips, [wanted]).resumed[wanted.cache] == {"long": FRAMES * each}
    assert len(open_store(wanted.cache)["long"].values) == FRAMES * each
    assert not (tmp_path / "stopped.h5.part").exists()


def test_a_worker_that_crashes_in_the_middle_of_a_clip_costs_no_row_and_doubles_none(
    video: Path, tmp_path: Path
) -> None:
    clips, wanted = [Clip("long", video)], want(tmp_path, "CrashingLate", marker=tmp_path / "crashed")
    assert run(clips, [wanted]).is_complete
    assert (tmp_path / "crashed").exists()
    run(clips, [expected := want(tmp_path, "Brightness")])
    assert_same_rows(rows_of(wanted), rows_of(expected))


def done_of(times: np.ndarray) -> Done:
    return Done(len(times), 1, zlib.crc32(np.ascontiguousarray(times).data))


def test_rows_are_skipped_only_if_they_have_the_times_of_their_windows(video: Path, tmp_path: Path) -> None:
    from media_files import write_sound

    sound = write_sound(tmp_path / "a.wav", bursts(16000), 16000)
    for path, extractor in (
        (video, find_extractor(f"{ODD}:Brightness").kind()),
        (sound, find_extractor("log-mel").kind()),
    ):
        clip = Clip("a", path)
        every = [message for message in Reader([extractor], 4).read(clip, [0], 0, 0) if isinstance(message, Piece)]
        times = np.concatenate([piece.times for piece in every])
        assert len(times) > 3
        for count in (1, len(times) - 1, len(times)):
            rest = [*Reader([extractor], 4).read(clip, [0], 0, 0, done={0: done_of(times[:count])})]
            assert [row for piece in rest for row in piece.rows] == [*range(count, len(times))]
            assert {piece.total for piece in rest} == {len(times)}
            units, others = (
                np.concatenate([it.units for it in which if len(it.rows)] or [[]]) for which in (rest, every)
            )
            assert np.allclose(units, others[count:] if len(units) else [], rtol=1e-4, atol=1e-6)
        wrong = [*Reader([extractor], 4).read(clip, [0], 0, 0, done={0: done_of(times[:3] + 1e-9)})]
        assert isinstance(wrong[0], BegunAgain)
        assert sum(len(message.rows) for message in wrong if isinstance(message, Piece)) == len(times)


@pytest.mark.integration
def test_a_job_that_is_killed_in_a_long_clip_loses_seconds_and_says_where_it_was_resumed(
    starter: Starter, video: Path, tmp_path: Path
) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "out"
    write_manifest(manifest, [Clip("long", video)])
    words = line(manifest, out, "lmdb", f"{ODD}:Slow")
    words[1:1] = ["--batch-size", 2]
    running = starter.start(words, tmp_path / "said")

    def begun() -> bool:
        return (out / "slow.lmdb").exists() and '"rows": ' in CliRunner().invoke(
            root, ["cache", "ls", str(out), "--no-state", "--json"]
        ).stdout.partition("unfinished")[2]

    wait_until(begun, "no rows are kept")
    running.kill(everyone=True, number=signal.SIGKILL)
    rows = LMDBStore(out / "slow.lmdb").unfinished["long"].rows
    finished = starter.run(words, tmp_path / "said")
    assert finished.status == 0, finished.stderr
    assert f"1 clip resumed at row {rows}: 'long'" in finished.stderr
    assert len(open_store(out / "slow.lmdb")["long"].values) == FRAMES
    log = (out / "RUN.log").read_text()
    assert log.count(" started: ") == 2
    assert log.count(" ended: exit status 0") == 1


def test_a_rebuild_of_an_interrupted_cache_goes_on_in_the_clip_too(video: Path, tmp_path: Path) -> None:
    clips, wanted = [Clip("long", video)], stopped(tmp_path)
    write_manifest(tmp_path / "m.csv", clips)
    with pytest.raises(KeyboardInterrupt):
        extract(
            clips,
            [wanted],
            resources=Resources("cpu", batch_size=4, workers=1),
            origin=manifest_origin(tmp_path / "m.csv"),
        )
    rows = there(wanted)
    (tmp_path / "computed").unlink()
    words = ["rebuild", str(wanted.cache), "--trust", str(ODD), "--batch-size", "4", "--workers", "1"]
    done = CliRunner().invoke(root, words)
    assert done.exit_code == 0, done.output
    assert (computed(tmp_path), len(open_store(wanted.cache)["long"].values)) == (FRAMES - rows, FRAMES)
    assert LMDBStore(wanted.cache).unfinished == {}
    assert "is fresh; computed 1" in (tmp_path / "RUN.log").read_text()

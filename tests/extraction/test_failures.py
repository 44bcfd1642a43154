"""Clips that could not be read, and whether they are worth another try."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from extracted import rows_of, want

from egotools.errors import ManifestError
from egotools.extraction.engine import extract
from egotools.extraction.failures import failures_path, read_failures, write_failures
from egotools.extraction.messages import Message, Piece, ReadingTask
from egotools.extraction.pipeline import Pipeline
from egotools.extraction.request import Resources
from egotools.manifests.table import read_manifest
from egotools.stores.source import SourceFiles
from egotools.types import Clip


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "caches/a.lmdb"


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    (tmp_path / "v.mp4").write_bytes(b"text")
    return Clip("k/1", tmp_path / "v.mp4", 0.1, 1 / 3, "train", {"label": "pour, slowly"})


def should_retry(cache: Path, clip: Clip) -> bool:
    return read_failures(cache)[clip.id].should_retry(clip, SourceFiles())


def test_a_failure_is_a_row_of_a_manifest_with_its_reason(cache: Path, clip: Clip) -> None:
    write_failures(cache, [clip], [(clip, 'not a "video",\nat all')])
    assert failures_path(cache) == cache.with_name("a.lmdb.failed.csv")
    (row,) = read_manifest(failures_path(cache))
    assert replace(row, labels=clip.labels) == clip
    assert {**clip.labels, "error": 'not a "video",\nat all', "file_size": "4"}.items() <= row.labels.items()
    assert read_failures(cache)[clip.id].reason == 'not a "video",\nat all'


def test_a_clip_whose_rows_do_not_all_arrive_has_failed(tmp_path: Path, tiny_video: Path) -> None:
    class Forgetful(Pipeline):
        """Rows of the first clip are all that it gives."""

        def pieces(self, tasks: Sequence[ReadingTask], is_wanted: Callable[[Piece], bool]) -> Iterator[Message]:
            yield from super().pieces(tasks[:1], is_wanted)

    clips = [Clip("a", tiny_video), Clip("b", tiny_video)]
    request = want(tmp_path, "color")
    result = extract(clips, [request], resources=Resources("cpu", workers=1), engine=Forgetful)
    assert (result.done[request.cache], result.is_complete) == (1, False)
    ((clip, reason),) = result.failed[request.cache]
    assert (clip.id, "its rows did not all arrive; rerun the command" in reason) == ("b", True)
    assert list(rows_of(request)) == ["a"]


def test_there_is_no_list_without_failures(cache: Path, clip: Clip) -> None:
    write_failures(cache, [clip], [])
    assert read_failures(cache) == {}
    assert not cache.parent.exists()


def test_clips_that_were_not_tried_stay_and_those_that_were_are_brought_up_to_date(cache: Path, clip: Clip) -> None:
    others = [replace(clip, id=id) for id in "abc"]
    write_failures(cache, others, [(other, "old") for other in others])
    write_failures(cache, others[:2], [(others[0], "new")])
    assert {id: each.reason for id, each in read_failures(cache).items()} == {"a": "new", "c": "old"}
    write_failures(cache, others, [])
    assert not failures_path(cache).exists()


def test_the_same_clip_of_the_same_file_is_not_worth_a_try(cache: Path, clip: Clip) -> None:
    write_failures(cache, [clip], [(clip, "broken")])
    assert not should_retry(cache, clip)
    assert not should_retry(cache, replace(clip, labels={}, split="test"))


@pytest.mark.parametrize("changes", [{"start": 0.2}, {"end": None}, {"fps": 3.0}])
def test_another_clip_should_retry(cache: Path, clip: Clip, changes: dict[str, float]) -> None:
    write_failures(cache, [clip], [(clip, "broken")])
    assert should_retry(cache, replace(clip, **changes))


def test_a_mended_file_should_retry(cache: Path, clip: Clip) -> None:
    write_failures(cache, [clip], [(clip, "broken")])
    os.utime(clip.path, (0, 1.5))
    assert should_retry(cache, clip)
    write_failures(cache, [clip], [(clip, "broken")])
    assert not should_retry(cache, clip)
    clip.path.write_bytes(b"a video")
    os.utime(clip.path, (0, 1.5))
    assert should_retry(cache, clip)


def test_a_file_that_was_not_there_should_retry_when_it_is(cache: Path, clip: Clip) -> None:
    clip.path.rename(clip.path.with_name("away"))
    write_failures(cache, [clip], [(clip, "gone")])
    assert not should_retry(cache, clip)
    clip.path.with_name("away").rename(clip.path)
    assert should_retry(cache, clip)


def test_a_file_that_is_gone_since_is_not_worth_a_try(cache: Path, clip: Clip) -> None:
    write_failures(cache, [clip], [(clip, "broken")])
    clip.path.unlink()
    assert not should_retry(cache, clip)


def test_a_row_without_a_file_should_retry_when_it_names_one(cache: Path, clip: Clip) -> None:
    nameless = replace(clip, path=Path())
    write_failures(cache, [nameless], [(nameless, "the manifest names no file for it")])
    assert not should_retry(cache, nameless)
    assert should_retry(cache, clip)


def test_a_list_of_an_earlier_egotools_says_nothing_of_files_and_should_retry(cache: Path, clip: Clip) -> None:
    write_failures(cache, [clip], [(clip, "broken")])
    lines = failures_path(cache).read_text().splitlines()
    failures_path(cache).write_text("\n".join(line.rsplit(",", 2)[0] for line in lines))
    assert "file_size" not in failures_path(cache).read_text()
    assert should_retry(cache, clip)


def test_a_list_that_is_no_manifest_any_more_is_refused_and_kept(cache: Path, clip: Clip) -> None:
    cache.parent.mkdir()
    failures_path(cache).write_text("notes\n")
    for act in (lambda: read_failures(cache), lambda: write_failures(cache, [clip], [(clip, "broken")])):
        with pytest.raises(ManifestError, match=r"a\.lmdb\.failed\.csv: no column 'id'"):
            act()
    assert failures_path(cache).read_text() == "notes\n"

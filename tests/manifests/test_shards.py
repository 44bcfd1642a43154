"""Shards of a manifest: every machine finds the same ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egotools.manifests.shards import clips_of, shards_of
from egotools.types import Clip, Shard

ends = st.one_of(st.none(), st.floats(0.001, 3600))
files = st.lists(st.lists(ends, min_size=1, max_size=4), min_size=1, max_size=30)
counts = st.integers(1, 12)


def clips_in(folder: str, files: list[list[float | None]]) -> list[Clip]:
    """Clips `<file>/<number>` of files in a folder; `files` holds, by file, the seconds at which its clips end."""
    return [
        Clip(f"{file}/{number}", Path(folder) / f"{file}.mp4", 0.0, end)
        for file, lengths in enumerate(files)
        for number, end in enumerate(lengths)
    ]


def ids(shards: list[list[Clip]]) -> list[set[str]]:
    return [{clip.id for clip in shard} for shard in shards]


@given(files=files, count=counts, rng=st.randoms(use_true_random=False))
def test_shards_depend_neither_on_the_order_of_the_clips_nor_on_where_the_files_are(files, count, rng):
    clips = clips_in("/videos", files)
    shards = ids(shards_of(clips, count))
    elsewhere = clips_in("/scratch/node7", files)
    rng.shuffle(elsewhere)
    assert ids(shards_of(elsewhere, count)) == shards


@given(files=files, count=counts)
def test_every_clip_is_in_one_shard_with_all_clips_of_its_file_and_in_order(files, count):
    clips = clips_in("/videos", files)
    shards = shards_of(clips, count)
    assert len(shards) == count
    homes: dict[str, int] = {}
    for number, shard in enumerate(shards):
        assert shard == [clip for clip in clips if clip in shard]
        assert all(homes.setdefault(str(clip.path), number) == number for clip in shard)
    assert sum(map(len, shards)) == len(clips)
    assert sum(map(bool, shards)) == min(count, len(files))  # none is empty as long as there are files


@given(files=st.lists(st.lists(st.floats(0.5, 3600), min_size=1, max_size=4), min_size=1, max_size=30), count=counts)
def test_shards_are_balanced_by_duration(files, count):
    loads = [sum(clip.end or 0 for clip in shard) for shard in shards_of(clips_in("/videos", files), count)]
    longest = max(map(sum, files))
    assert max(loads) <= sum(map(sum, files)) / count + longest + 0.1  # what longest-first guarantees; rounded to ms


def test_a_clip_without_an_end_counts_as_the_mean_of_the_others():
    clips = [Clip("a", Path("a"), 0, 10), Clip("b", Path("b"), 5, 25), Clip("c", Path("c")), Clip("d", Path("d"), 0, 8)]
    assert ids(shards_of(clips, 2)) == [{"b", "d"}, {"c", "a"}]  # 20 + 8 and 12.7 + 10 seconds


def test_paths_in_another_unicode_form_are_of_one_file():
    clips = [Clip("a", Path("caf\u00e9.mp4")), Clip("b", Path("cafe\u0301.mp4"))]
    assert sorted(map(len, shards_of(clips, 2))) == [0, 2]


def test_a_shard_is_numbered_from_one():
    clips = clips_in("/videos", [[1.0], [2.0], [3.0]])
    assert [clip.id for number in (1, 2, 3) for clip in clips_of(clips, Shard(number, 3))] == ["2/0", "1/0", "0/0"]
    assert clips_of(clips, Shard(4, 4)) == []


@pytest.mark.parametrize(
    "text", ["0/2", "3/2", "1", "1/", "/2", "a/b", "-1/2", "1/2/3", "1/0", "1/200000", " 1/2", "\u0661/\u0662"]
)
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ValueError, match="is not K/N, such as 3/64"):
        Shard.parse(text)


def test_a_shard_is_its_text():
    assert Shard.parse("3/64") == Shard.parse("03/64") == Shard(3, 64)
    assert str(Shard(3, 64)) == "3/64"

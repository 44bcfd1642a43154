"""Segments of cached clips: their seconds and labels, windows, what is refused, and joined clips found exactly."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from clip_rows import every, scenes, write_rows

from egotools.derive.segments import Cutting, rows_of, segment_cache, segmented_clip
from egotools.derive.storyboard_picture import binned_similarity, key_rows
from egotools.errors import StoreError, TableError
from egotools.extractors.pixels import Pixels
from egotools.linear.change_points import change_points
from egotools.media.video import open_frames
from egotools.stores import open_store
from egotools.types import Clip, Rows

SLOW = ("cockatoo.mp4", "gopro_max_walk.mp4")  # to decode; benchmarks/shot_boundaries.py has them, too


def cut(values: np.ndarray, times: np.ndarray | None = None, **how: float | str) -> list[tuple[float, float, str]]:
    rows = Rows(values, every(len(values)) if times is None else times)
    return [(each.start, each.end, each.label) for each in segmented_clip("a", rows, Cutting(**how)).segments()]  # type: ignore[arg-type]


def test_segments_follow_each_other_in_seconds_of_the_file():
    times = every(30, 0.1, start=7.3)
    assert cut(scenes(12, 5, 13), times, segments=3) == [(7.3, 8.5, "0"), (8.5, 9.0, "1"), (9.0, 10.3, "2")]


def test_between_rows_that_do_not_meet_a_segment_begins_in_the_middle():
    apart, over = every(30), every(30)
    apart[12:] += 4  # nothing for four seconds
    over[:, 1] += 0.4  # each row is that of half a second
    assert [start for start, *_ in cut(scenes(12, 18), apart, segments=2)] == [0, pytest.approx(3.2)]
    assert [start for start, *_ in cut(scenes(12, 18), over, segments=2)] == [0, pytest.approx(1.4)]


@pytest.mark.parametrize(("class_length", "segments"), [(3.0, 1), (2.9, 2), (1.0, 3), (0.3, 10), (0.2, 15)])
def test_a_class_length_gives_one_segment_for_each_begun_length(class_length, segments):
    values = np.random.default_rng(0).normal(size=(30, 4))
    found = cut(values, class_length=class_length)
    assert [label for *_, label in found] == [str(number) for number in range(segments)]
    assert found == cut(values, segments=segments)


def test_windows_are_segmented_one_by_one_and_begin_with_the_last_class_of_the_one_before():
    values = scenes(4, 11, 9, 16, 3, 17, noise=0.3)  # 60 rows, 6 s; classes of 1 s, windows of 2.5 s
    windows = [(0, 25), (20, 45), (40, 60)]
    expected = np.zeros(60, int)
    for start, end in windows:
        points = change_points(values[start:end], -(-(end - start) // 10))
        expected[start:end] = start // 10 + np.searchsorted(points, np.arange(end - start), side="right")
    clip = segmented_clip("a", Rows(values, every(60)), Cutting(class_length=1.0, window=2.5), first_label=7)
    found = np.repeat(clip.labels, np.diff(clip.edges))
    assert found.tolist() == (7 + expected).tolist()
    assert (np.diff(clip.labels) > 0).all()


def test_one_window_is_the_whole_clip():
    values = scenes(12, 20, 9, 19, noise=0.4)
    assert cut(values, class_length=1.5, window=6.0) == cut(values, class_length=1.5)
    assert cut(values, segments=4, window=6.0) == cut(values, segments=4)


def test_uniform_segments_are_of_equal_length_to_the_digit():
    values = np.random.default_rng(0).normal(size=(30, 4))
    assert cut(values, every(30, 0.1, start=1.0), method="uniform", segments=4) == [
        *((1.0, 1.75, "0"), (1.75, 2.5, "1"), (2.5, 3.25, "2"), (3.25, 4.0, "3")),
    ]
    ends = [0.8, 1.6, 2.4, 3.0]
    assert [end for _, end, _ in cut(values, method="uniform", class_length=0.8)] == ends
    assert [end for _, end, _ in cut(values[:, :1], method="uniform", segments=3)] == [1.0, 2.0, 3.0]
    clip = segmented_clip("a", Rows(values, every(30)), Cutting("uniform", segments=4))
    assert clip.edges.tolist() == [0, 7, 15, 22, 30]  # a row belongs where its middle lies


def test_uniform_segments_without_a_row_are_left_out():
    times = every(30)
    times[20:] += 5  # nothing from 2 to 7 s
    found = cut(scenes(30), times, method="uniform", class_length=1.0)
    assert found == [(0, 1, "0"), (1, 7, "1"), (7, 8, "7")]


def test_changes_are_found_without_their_number_and_gaps_are_none_by_themselves():
    times = every(60, 0.5, start=3.0)
    times[30:] += 4
    values = scenes(12, 33, 15)
    assert [start for start, *_ in cut(values, times, method="change")] == [3.0, 9.0, 29.5]
    assert len(cut(values, times, method="change", threshold=50.0)) == 1
    assert [start for start, *_ in cut(values, times, method="change", min_length=30)] in ([3.0, 9.0], [3.0, 29.5])
    assert [start for start, *_ in cut(values, times, method="change", segments=3)] == [3.0, 9.0, 29.5]
    assert cut(values[:1], times[:1], method="change") == [(3.0, 3.5, "0")]


@pytest.mark.parametrize("share", [2, 4])
def test_a_cut_inside_of_windows_that_overlap_is_found_once_and_where_it_is(share):
    frames = scenes(120, 200, 93, 187, width=16)  # 10 a second
    width, hop = 16, 16 // share
    first = np.arange(0, len(frames) - width + 1, hop)
    values = np.array([frames[start : start + width].mean(axis=0) for start in first])
    found = cut(values, np.stack([first, first + width], axis=1) / 10, method="change")
    np.testing.assert_allclose([start for start, *_ in found], [0, 12, 32, 41.3], atol=hop / 10)


def test_labels_differ_between_clips_and_a_manifest_chooses_them(tmp_path):
    clips = {id: Rows(scenes(5, 5, seed=seed), every(10)) for seed, id in enumerate("abc")}
    cache = write_rows(tmp_path / "c.lmdb", clips)
    whole = segment_cache(cache, Cutting(segments=2))
    assert [(clip.id, clip.labels.tolist()) for clip in whole.clips] == [("a", [0, 1]), ("b", [2, 3]), ("c", [4, 5])]
    (tmp_path / "m.csv").write_text("id,path\nc,\na,\n")
    chosen = segment_cache(cache, Cutting(segments=2), tmp_path / "m.csv")
    assert [(clip.id, clip.labels.tolist()) for clip in chosen.clips] == [("c", [0, 1]), ("a", [2, 3])]


def test_clips_that_cannot_be_segmented_are_named_and_the_others_go_on(tmp_path):
    values, order = scenes(20, 20), every(40)
    order[[5, 6]] = order[[6, 5]]
    broken = values.copy()
    broken[17, 3] = np.nan
    clips = {
        "broken": Rows(broken, every(40)),
        "empty": Rows(values[:0], every(0)),
        "fine": Rows(values, every(40)),
        "short": Rows(values[:9], every(9)),
        "unsorted": Rows(values, order),
    }
    cache = write_rows(tmp_path / "c.lmdb", clips)
    (tmp_path / "m.csv").write_text("id,path\nabsent,\n" + "".join(f"{id},\n" for id in clips))
    found = segment_cache(cache, Cutting(class_length=2.0), tmp_path / "m.csv")
    assert [clip.id for clip in found.clips] == ["fine"]
    reasons = dict(found.failed)
    assert list(reasons) == ["absent", "broken", "empty", "short", "unsorted"]
    for id, words in {
        "absent": "not in",
        "broken": "row 17 (1.7 to 1.8 s) has NaN",
        "empty": "no rows",
        "short": "0.9 s long, less than one --class-length of 2 s",
        "unsorted": "row 6",
    }.items():
        assert words in reasons[id]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"segments": 40}, r"40 segments of 40 rows: choose 1 to 39 \(--segments\)"),
        ({"class_length": 0.1}, r"40 segments of 40 rows.*\(--class-length\)"),
        ({"class_length": 1e-300}, "--class-length makes far more segments than the 40 rows"),
        ({"segments": 3, "window": 1.0}, "a --window of 1 s has only one class"),
        ({"method": "uniform", "segments": 41}, r"41 segments of 40 rows: choose 1 to 40 \(--segments\)"),
        ({"method": "change", "segments": 5}, "40 rows with 3 changes at least 1 s apart, too few for 5 segments"),
    ],
)
def test_more_segments_than_a_clip_can_have_are_refused(how, words):
    with pytest.raises(TableError, match=words):
        cut(scenes(20, 20), **how)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, "give one of --segments and --class-length"),
        ({"segments": 2, "class_length": 3.0}, "give one of"),
        ({"segments": 0}, "--segments must be above 0"),
        ({"class_length": -1.0}, "--class-length must be above 0"),
        ({"class_length": float("nan")}, "--class-length must be above 0"),
        ({"class_length": 2.0, "window": 2.0}, "--window must be longer than --class-length"),
        ({"class_length": float("inf")}, "finite"),
        ({"method": "uniform"}, "give one of"),
        ({"method": "uniform", "segments": 2, "window": 3.0}, "--window is for --method cluster"),
        ({"segments": 2, "threshold": 2.0}, "--threshold is for --method change"),
        ({"segments": 2, "min_length": 2.0}, "--min-length is for --method change"),
        ({"method": "change", "class_length": 2.0}, "--class-length is for --method cluster or uniform"),
        ({"method": "change", "segments": 2, "threshold": 2.0}, "give one of --segments and --threshold"),
        ({"method": "change", "threshold": 0.0}, "--threshold must be above 0"),
        ({"method": "change", "min_length": float("inf")}, "--min-length must be a finite number"),
        ({"method": "shots", "segments": 2}, "--method is one of cluster, uniform, change"),
    ],
)
def test_options_without_a_meaning_are_refused(how, words):
    with pytest.raises(ValueError, match=words):
        Cutting(**how)


def test_windows_that_lose_a_segment_say_so(tmp_path):
    values = scenes(41, 1, 1, 1, 56)  # the first window of 45 rows changes after the last class has begun
    cache = write_rows(tmp_path / "c.lmdb", {"a": Rows(values, every(100))})
    found = segment_cache(cache, Cutting(segments=10, window=4.5))
    assert len(found.clips[0]) == 8
    assert f"a: {len(found.clips[0])} segments, not 10" in found.remarks[0]


def test_rows_of_one_number_are_refused():
    with pytest.raises(TableError, match="rows of one number"):
        cut(scenes(20, 20)[:, :1], segments=2)


def test_a_damaged_clip_is_refused(tmp_path):
    cache = write_rows(tmp_path / "c.lmdb", {"a": Rows(scenes(20, 20), every(40))})
    content = bytearray(cache.read_bytes())
    at = content.index(open_store(cache)["a"].values[3].tobytes())
    content[at] ^= 1
    cache.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        rows_of(open_store(cache), "a")


def test_a_key_row_is_the_one_nearest_the_mean_of_its_segment():
    values = np.array([[1, 0], [2, 0.2], [1, 1], [0, 1], [0, 3], [-1, 1]], float)
    assert key_rows(values, np.array([0, 3, 6])).tolist() == [1, 3]


def test_a_long_clips_similarities_are_means_of_blocks(rng):
    values = rng.normal(size=(11, 5))
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    whole = unit @ unit.T
    found = binned_similarity(values, 4)
    blocks = [slice(0, 4), slice(4, 8), slice(8, 11)]
    np.testing.assert_allclose(found, [[whole[a, b].mean() for b in blocks] for a in blocks])


def pixels_of(path: Path, extractor: Pixels) -> np.ndarray:
    with closing(open_frames(path)) as frames:
        (indices,) = extractor.windows(frames.info, Clip("a", path)).frames.T
        shown = np.unique(indices)
        pictures = [extractor.prepare(frame) for frame in frames.frames(shown)]
    rows = extractor.network()(np.array(pictures)[:, np.newaxis])
    return np.asarray(rows[np.searchsorted(shown, indices)])


def test_joins_of_real_clips_are_found_from_pixels(shared):
    """Ten clips one after the other at 10 frames per second: all nine joins, to 0.2 s, and nothing else."""
    folder = shared / "data/videos"
    names = [each["file"] for each in json.loads((folder / "concat.json").read_text())]
    files = [folder / name for name in names if name not in SLOW]
    with ThreadPoolExecutor(2) as threads:
        parts = [*threads.map(lambda path: pixels_of(path, Pixels(fps=10, size=16)), files)]
    joins = np.cumsum([len(part) for part in parts])[:-1] / 10
    rows = Rows(np.concatenate(parts), every(sum(map(len, parts))))
    for cutting in (Cutting(segments=len(parts)), Cutting("change")):
        found = segmented_clip("joined", rows, cutting).seconds[1:-1]
        assert len(found) == len(joins)
        assert np.abs(found - joins).max() <= 0.2

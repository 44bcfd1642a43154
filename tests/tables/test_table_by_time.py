"""Rows that are labeled by time: each by the segment that its window's middle lies in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from timed_rows import make_cache, make_times, write

from egotools.derive.cut import Cut
from egotools.derive.deriving import Derived, derive
from egotools.errors import EgotoolsError
from egotools.evaluate.comparison import VOTE, compared
from egotools.evaluate.splits import Partition
from egotools.stores import open_store
from egotools.tables.table import Table, read_table

HALVES = make_times(8)  # of half a second: middles 0.25, 0.75, ... 3.75


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two videos of four seconds, with a row every half second, and their manifest."""
    make_cache(tmp_path / "x.lmdb", {"a": ("a.mp4", HALVES), "b": ("b.mp4", HALVES)})
    write(tmp_path / "m.csv", "id,path,recording,place", "a,a.mp4,r1,kitchen", "b,b.mp4,r1,hall")
    return tmp_path


def read(place: Path, *, segments: str = "s.csv", manifest: str = "m.csv", **more: object) -> Table:
    return read_table(place / manifest, place / "x.lmdb", reduce=None, segments=place / segments, **more)  # type: ignore[arg-type]


def error_of(place: Path, **more: object) -> str:
    with pytest.raises(EgotoolsError) as caught:
        read(place, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def of(table: Table, id: str, column: str = "label") -> list[str]:
    return table.labels[column][table.ids == id].tolist()


def test_a_row_has_the_label_of_the_segment_that_its_middle_lies_in(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label", "a,0,1,eat", "a,1,2.25,rest", "b,3.5,9,eat", "a,2.75,3.25,eat")
    table = read(place)
    assert of(table, "a") == ["eat", "eat", "rest", "rest", "", "eat", "", ""]  # 2.25 is after the end of a segment
    assert of(table, "b") == [""] * 7 + ["eat"]
    assert of(table, "b", "place") == ["hall"] * 8  # what the clip's manifest says stays
    assert of(table, "b", "path") == [str(place / "b.mp4")] * 8
    assert table.remarks == ("10 of 16 rows lie in no segment",)
    assert len(table.labeled("label")) == 6
    assert table.labeled("label").remarks == ("10 of 16 rows lie in no segment, and are left out",)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_labels_are_those_of_a_loop_over_rows_and_segments(tmp_path: Path, rng: np.random.Generator, is_sorted) -> None:
    starts = rng.integers(0, 80, 60) / 4
    starts = np.sort(starts) if is_sorted else starts
    times = np.stack([starts, starts + (0.5 if is_sorted else rng.integers(1, 5, 60) / 4)], axis=1)
    make_cache(tmp_path / "x.lmdb", {"a": ("a.mp4", times)})
    write(tmp_path / "m.csv", "id,path", "a,a.mp4")
    borders = np.unique(rng.integers(0, 90, 30)) / 4  # many rows' middles meet them exactly
    spans = [*zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True)]
    write(tmp_path / "s.csv", "id,start,end,label", *(f"a,{s},{e},l{n % 5}" for n, (s, e) in enumerate(spans)))
    expected = []
    for first, last in times.tolist():
        inside = [f"l{n % 5}" for n, (s, e) in enumerate(spans) if s <= (first + last) / 2 < e]
        expected.append(inside[0] if inside else "")
    assert of(read(tmp_path), "a") == expected


def test_views_of_a_recording_share_its_segments(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label", "r1,0,1,eat", "b,1,2,rest")
    table = read(place, labels=["label"])
    assert of(table, "a") == ["eat"] * 2 + [""] * 6
    assert of(table, "b") == ["eat"] * 2 + ["rest"] * 2 + [""] * 4
    assert [*table.labels] == ["label", "path"]


def test_a_manifest_of_segments_is_joined_by_file_whatever_the_ids(place: Path) -> None:
    (place / "videos").mkdir()
    (place / "link").symlink_to(place / "videos")
    late = HALVES + 100  # a clip that begins in the middle of its file
    (place / "x.lmdb").unlink()
    make_cache(place / "x.lmdb", {"whole": ("videos/a.mp4", HALVES), "late": ("videos/a.mp4", late)})
    write(place / "m.csv", "id,path,start,end", "late,videos/a.mp4,100,104", "whole,videos/a.mp4,,50")
    columns = "id,path,start,end,behavior,who"
    write(place / "s.csv", columns, "b,link/a.mp4,0,1,eat,", "a,link/a.mp4,0.5,101.5,,cat", "c,link/a.mp4,103,,rest,")
    table = read(place)
    assert of(table, "whole", "behavior") == ["eat"] * 2 + [""] * 6
    assert of(table, "whole", "who") == ["", *["cat"] * 7]
    assert of(table, "late", "behavior") == [""] * 6 + ["rest"] * 2
    assert of(table, "late", "who") == ["cat"] * 3 + [""] * 5
    assert set(table.labels["path"].tolist()) == {str(place / "videos/a.mp4")}


def test_the_file_of_a_clip_without_a_path_is_the_one_that_its_cache_names(place: Path) -> None:
    write(place / "m.csv", "id", "a", "b")
    write(place / "s.csv", "id,path,start,end,behavior", "x,a.mp4,0,1,eat")
    assert of(read(place), "a", "behavior") == ["eat"] * 2 + [""] * 6


def test_the_rows_of_a_label_are_those_that_derive_cut_gives_its_segment(place: Path) -> None:
    write(place / "s.csv", "id,path,start,end,behavior", "x,a.mp4,0.75,2.25,eat", "y,b.mp4,0.7,3.8,rest")
    made = derive(Derived(place / "cut/x.lmdb", "cut", Cut(place / "s.csv"), {"x": place / "x.lmdb"}))
    table, cut = read(place), open_store(made.cache)
    for behavior, id in (("eat", "x"), ("rest", "y")):
        chosen = table.only(table.labels["behavior"] == behavior)
        assert chosen.values.tolist() == cut[id].values.tolist()
        assert chosen.times.tolist() == cut[id].times.tolist()


def test_segments_that_say_different_things_of_a_row_are_named(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label,sequence", "a,0,2,eat,one", "a,1.5,3,rest,two")
    said = error_of(place)
    assert "the segments 'a', 0 to 2 s, and 'a', 1.5 to 3 s, overlap, so that the row of clip 'a' at 1.75 s" in said
    assert "both 'eat' and 'rest' in 'label'" in said
    write(place / "s.csv", "id,path,start,end,behavior", "x,a.mp4,0,2,eat", "y,a.mp4,1.5,3,rest")
    assert "the segments 'x' and 'y' overlap" in error_of(place)
    write(place / "s.csv", "id,path,start,end,behavior", "x,a.mp4,0,2,eat", "y,a.mp4,1.5,3,eat", "z,a.mp4,1.8,2.2,rest")
    assert of(read(place), "a", "behavior") == ["eat"] * 6 + ["", ""]  # no row's middle lies in the last one


def test_a_rounding_error_between_touching_segments_is_no_overlap(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label", "a,0,0.75000000001,eat", "a,0.75,2,rest")
    assert of(read(place), "a") == ["eat", "rest", "rest", "rest", "", "", "", ""]


def test_parts_of_a_recording_that_are_annotated_apart_label_the_same_clip(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label,sequence", "a,0,1,on,build", "a,2,3,off,undo")
    assert of(read(place), "a") == ["on", "on", "", "", "off", "off", "", ""]


def test_a_column_of_both_files_must_say_the_same(place: Path) -> None:
    write(place / "s.csv", "id,path,start,end,behavior,place", "x,a.mp4,0,1,eat,kitchen", "y,b.mp4,0,1,eat,hall")
    assert of(read(place), "a", "place") == ["kitchen"] * 8
    write(place / "s.csv", "id,path,start,end,behavior,place", "x,a.mp4,0,1,eat,kitchen", "y,b.mp4,0,1,eat,bath")
    said = error_of(place)
    assert "m.csv and " in said
    assert "both have the column 'place', and say 'hall' and 'bath' of clip 'b' at 0.25 s" in said
    assert of(read(place, labels=["behavior"]), "b", "behavior") == ["eat"] * 2 + [""] * 6
    write(place / "m.csv", "id,path,label", "a,a.mp4,", "b,b.mp4,")  # as the manifest of a folder has it
    write(place / "s.csv", "id,start,end,label", "a,0,1,eat")
    assert of(read(place), "a") == ["eat"] * 2 + [""] * 6


def test_splits_of_segments_are_those_of_rows_whose_clips_have_none(place: Path) -> None:
    write(place / "s.csv", "id,path,start,end,split,behavior", "x,a.mp4,0,1,Train,eat", "y,b.mp4,3,4,test,eat")
    assert read(place).split.tolist() == ["train"] * 2 + [""] * 12 + ["test"] * 2
    write(place / "m.csv", "id,path,split", "a,a.mp4,train", "b,b.mp4,train")
    assert "both have the column 'split', and say 'train' and 'test' of clip 'b'" in error_of(place)


def test_what_does_not_meet_is_counted_and_named(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label", "a,0,4,eat", "b,0.3,0.7,eat", "b,90,95,rest", "c,0,1,eat", "c,1,2,eat")
    assert read(place).remarks == (
        "2 segments of 1 clip without features left out: 'c'",
        "2 segments without a row, as no row's middle lies inside: 'b', 0.3 to 0.7 s; 'b', 90 to 95 s",
        "8 of 16 rows lie in no segment",
    )


def test_segments_that_fit_nothing_are_refused_with_the_reason(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label", "c,0,1,eat")
    assert "has no segments of the 2 clips of" in error_of(place)
    assert "its ids are like 'c', those of the clips like 'a'" in error_of(place)
    write(place / "s.csv", "id,path,start,end,behavior", "x,c.mp4,0,1,eat")
    assert f"its files are like '{place}/c.mp4', those of the clips like '{place}/a.mp4'" in error_of(place)
    write(place / "s.csv", "id,start,end,label", "a,250,1000,eat")  # milliseconds
    assert "is from 250 to 1000 s, and the clip's rows are at 0 to 4 s" in error_of(place)
    write(place / "m.csv", "id,path,fps", "a,a.mp4,25")
    write(place / "s.csv", "id,path,start,end,fps,behavior", "x,a.mp4,0,1,30,eat")
    assert "counts frames at 30 fps, its clip 'a' at 25" in error_of(place)


def test_an_unknown_column_lists_those_of_both_files(place: Path) -> None:
    write(place / "s.csv", "id,path,start,end,behavior", "x,a.mp4,0,1,eat")
    with pytest.raises(EgotoolsError, match="its label columns are: recording, place, behavior, path"):
        read(place, labels=["verb"]).labeled("verb")


def test_caches_side_by_side_must_have_rows_at_the_same_times(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label", "a,0,1,eat")
    caches = [place / "x.lmdb", make_cache(place / "y.lmdb", {"a": ("a.mp4", HALVES), "b": ("b.mp4", HALVES)})]
    both = read_table(place / "m.csv", caches, reduce=None, segments=place / "s.csv")
    assert (both.values.shape, of(both, "a")) == ((16, 6), ["eat"] * 2 + [""] * 6)
    make_cache(place / "z.lmdb", {"a": ("a.mp4", HALVES + 0.1), "b": ("b.mp4", HALVES)})
    with pytest.raises(EgotoolsError, match=r"clip 'a'.*different times"):
        read_table(place / "m.csv", [place / "x.lmdb", place / "z.lmdb"], reduce=None, segments=place / "s.csv")


def test_reduced_clips_have_no_rows_to_label(place: Path) -> None:
    with pytest.raises(ValueError, match="reduce=None"):
        read_table(place / "m.csv", place / "x.lmdb", segments=place / "s.csv")


def test_a_data_frame_has_the_file_times_and_labels_of_each_row(place: Path) -> None:
    write(place / "s.csv", "id,start,end,label", "a,0,1,eat")
    frame = read(place).to_pandas()
    first = frame.iloc[0][["id", "start", "end", "label", "path"]].tolist()
    assert first == ["a", 0.0, 0.5, "eat", str(place / "a.mp4")]


def test_what_a_clip_says_holds_where_its_segments_say_nothing(place: Path) -> None:
    write(place / "m.csv", "id,label", "a,walk", "b,")
    write(place / "s.csv", "id,start,end,label", "a,0,1,walk", "b,1,2,eat")
    assert of(read(place), "a") == ["walk"] * 8
    assert of(read(place), "b") == ["", "", "eat", "eat", "", "", "", ""]
    write(place / "s.csv", "id,start,end,label", "a,0,1,eat")
    assert "both have the column 'label', and say 'walk' and 'eat' of clip 'a'" in error_of(place)


def test_rows_of_one_file_of_arrays_are_not_of_one_video(tmp_path: Path) -> None:
    make_cache(tmp_path / "x.lmdb", {"a": ("rows.npz", HALVES), "b": ("rows.npz", HALVES), "c": ("c.mp4", HALVES)})
    write(tmp_path / "m.csv", "id", "a", "b", "c")
    write(tmp_path / "s.csv", "id,start,end,label", *(f"{id},0,2,eat\n{id},2,4,rest" for id in "abc"))
    table = read(tmp_path)
    assert [set(of(table, id, "path")) for id in "abc"] == [{""}, {""}, {str(tmp_path / "c.mp4")}]
    assert len(set(compared(table, "label", Partition(), VOTE).groups.tolist())) == 3

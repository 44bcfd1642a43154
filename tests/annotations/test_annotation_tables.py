"""Tables of annotations: which column is what, what is said of it, and times in every usual form."""

from __future__ import annotations

import pytest
from annotated import read, said

from egotools.annotations.times import time_of
from egotools.errors import ManifestError


@pytest.mark.parametrize(
    ("text", "fps", "seconds"),
    [
        ("12.5", None, 12.5),
        (" 0 ", None, 0.0),
        ("1e1", None, 10.0),
        ("01:30", None, 90.0),
        ("75:00", None, 4500.0),
        ("1:02:03.250", None, 3723.25),
        ("00:00:02:12", 24, 2.5),
        ("00:01:00:00", 29.97, 1800 / 29.97),  # a time code counts 30 a second
        ("00:01:00;02", 29.97, 1800 / 29.97),  # drop-frame: two numbers are left out
        ("00:10:00;00", 29.97, 17982 / 29.97),  # but not in each tenth minute
    ],
)
def test_a_time_is_seconds_however_it_is_written(text, fps, seconds):
    assert time_of(text, "seconds", fps=fps) == (pytest.approx(seconds, abs=1e-9), False)


@pytest.mark.parametrize(
    "text",
    ["", "nan", "inf", "-1", "1:75:00", "1:00:60", "12,5", "1_000", "soon", "1:2:3:4:5", "1e999", "2024-01-01", "0x10"],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"time|60 or more"):
        time_of(text, "seconds", fps=None)


def test_units_frames_and_decimal_commas():
    assert time_of("12,5", "seconds", fps=None, decimal_comma=True) == (12.5, False)
    assert time_of("0:01,5", "seconds", fps=None, decimal_comma=True) == (1.5, False)
    assert time_of("1500", "milliseconds", fps=None) == (1.5, False)
    assert time_of("30", "frames", fps=None) == (30, True)
    assert time_of("30", "frames", fps=20) == (1.5, False)
    with pytest.raises(ValueError, match=r"'1\.234,5' is not a time"):
        time_of("1.234,5", "seconds", fps=None, decimal_comma=True)
    with pytest.raises(ValueError, match="'1,234' may be thousands or a decimal"):
        time_of("1,234", "milliseconds", fps=None, decimal_comma=True)
    with pytest.raises(ValueError, match="number of a frame"):
        time_of("1.5", "frames", fps=None)
    with pytest.raises(ManifestError, match="--fps"):
        time_of("00:00:01:05", "seconds", fps=None)
    with pytest.raises(ValueError, match="25 frames per second"):
        time_of("00:00:01:25", "seconds", fps=25)


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("video,start,end,label\na,1,2.5,eat\n", "'video', start: 'start' (seconds), end: 'end' (seconds)"),
        ("Clip;Begin;Stop;Activity\na;1,0;2,5;eat\n", "'Clip', start: 'Begin' (seconds), end: 'Stop' (seconds)"),
        ("file\tonset_ms\tduration_ms\tcode\na.mp4\t1000\t1500\teat\n", "duration: 'duration_ms' (milliseconds)"),
        ("video_id|startTime|endTime|class\na|0:01|00:00:02.500|eat\n", "start: 'startTime' (seconds)"),
        (
            "video_id,start_timestamp,stop_timestamp,start_frame,stop_frame,verb\na,1,2.5,10,25,eat\n",
            "'stop_timestamp'",
        ),
        ("tmin,tier,text,tmax,video\n1,t,eat,2.5,a\n", "start: 'tmin' (seconds), end: 'tmax' (seconds)"),
        ("sep=;\nvideo;start;end;label\na;1;2.5;eat\n", "separated by semicolons"),
        (
            "Tier\tBegin Time - hh:mm:ss.ms\tBegin Time - ss.msec\tEnd Time - hh:mm:ss.ms\tEnd Time - ss.msec\tvideo\t"
            "text\n"
            "t\t00:00:01.000\t1.0\t00:00:02.500\t2.5\ta\teat\n",
            "'Begin Time - hh:mm:ss.ms'",
        ),
    ],
)
def test_columns_are_found_by_usual_names_and_said(tmp_path, table, columns):
    found = read(tmp_path / "t.csv", table, "a.mp4")
    (event,) = found.events
    assert (event.video.removesuffix(".mp4"), event.start, event.end) == ("a", 1.0, 2.5)
    assert "eat" in event.labels.values()
    assert columns in found.remarks[0]
    assert found.lost == {}


def test_utf16_and_a_byte_order_mark_are_read(tmp_path):
    table = "video\tstart\tend\tlabel\nfilmé\t1\t2\teat\n"
    for encoding in ("utf-16", "utf-8-sig"):
        assert said(read(tmp_path / "t.txt", table.encode(encoding)), "label") == [("filmé", 1, 2, "eat")]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("video,clip,start,end,label\nz,z,1,2,x\n", "'video' or 'clip': choose with --video-column"),
        ("video,start,onset,end\na,1,1,2\n", "'start' or 'onset': choose with --start-column"),
        ("video,end,label\na,1,x\n", "no column of start times among 'video', 'end', 'label'.*--start-column"),
        ("video,time,label\na,1,x\n", "--around SECONDS if the rows are moments, --format frames"),
        ("video start end label\na 1 2 x\n", "--start-column"),
        ('video,start,end,label\na,1,2,"x\n', "quote left open"),
        ("video,start,end,start\na,1,2,3\n", "two columns are named 'start'"),
        ("", "empty"),
        (b"\x00\x01\x02video", "NUL"),
        (b"video,start\xff\xfe,end\n", "not text in UTF-8"),
        (b"PK\x03\x04nothing", "damaged zip"),
        (b"\x1f\x8bzip", "gunzip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a spreadsheet of Excel: save it as CSV"),
        ("x" * 200_000, "its first line has more than"),
        ("video,start,end,label\na,00:00:01:05,2,x\n", "row 2: '00:00:01:05' counts frames .* --fps"),
    ],
)
def test_what_is_ambiguous_or_no_table_is_an_error_that_names_the_option(tmp_path, table, problem):
    with pytest.raises(ManifestError, match=problem):
        read(tmp_path / "t.csv", table, "a.mp4")


def test_options_decide_and_the_videos_that_exist_tell_columns_apart(tmp_path):
    table = "clip,video,anfang,ende,art,id\nx,a,1,2,eat,7\n"
    found = read(tmp_path / "t.csv", table, "a.mp4", start_column="anfang", end_column="Ende", label_column=("art",))
    assert said(found, "art") == [("a", 1, 2, "eat")]
    assert found.events[0].labels == {"clip": "x", "art": "eat", "id": "7"}
    found = read(tmp_path / "t.csv", table, start_column="anfang", end_column="ende", video_column="clip")
    assert said(found, "art") == [("x", 1, 2, "eat")]
    with pytest.raises(ManifestError, match="no column 'nothing'; its columns are"):
        read(tmp_path / "t.csv", table, start_column="nothing")


def test_a_table_without_videos_is_about_the_one_it_is_named_after(tmp_path):
    found = read(tmp_path / "film.csv", "start,end,label\n1,2,eat\n")
    assert said(found, "label") == [("film", 1, 2, "eat")]
    assert "the video is 'film' (--video)" in found.remarks[1]
    assert read(tmp_path / "film.csv", "start,end,label\n1,2,eat\n", video="other").events[0].video == "other"
    with pytest.raises(ManifestError, match="its column 'file' names videos, so --video cannot"):
        read(tmp_path / "t.csv", "file,start,end,label\na,1,2,eat\n", "a.mp4", video="other")


def test_rows_that_cannot_be_used_are_counted_with_their_numbers(tmp_path):
    table = "video,start,end,label\na,1,2,x\na,1\na,nan,3,x\na,1:75:00,3,x\n\na,4,5,x\n"
    found = read(tmp_path / "t.csv", table)
    assert [event.where for event in found.events] == ["row 2", "row 7"]
    assert found.lost == {
        "rows with more or fewer cells than the header": ["row 3"],
        "rows whose times cannot be used": ["row 4: 'nan' is not a time", "row 5: '1:75:00' has 60 or more minutes"],
    }


def test_runs_of_equal_labels_a_frame_are_segments(tmp_path):
    lines = [f"a,{frame},{label}" for frame, label in enumerate(["x", "x", "y", "", "y", "y"])] + ["b,0,x", "b,1,x"]
    found = read(tmp_path / "t.csv", "\n".join(["video,frame,label", *lines]))
    assert said(found, "label") == [("a", 0, 2, "x"), ("a", 2, 3, "y"), ("a", 4, 6, "y"), ("b", 0, 2, "x")]
    assert all(event.in_frames for event in found.events)
    found = read(tmp_path / "t.csv", "\n".join(["video,frame,label", *lines]), fps=2)
    assert said(found, "label")[0] == ("a", 0, 1, "x")
    assert not any(event.in_frames for event in found.events)


def test_frames_far_apart_are_not_taken_for_labels_of_all_frames_between(tmp_path):
    table = "video,frame,label\na,100,touch\na,950,release\na,2000,touch\n"
    with pytest.raises(ManifestError, match="--around SECONDS if the rows are moments, --format frames"):
        read(tmp_path / "t.csv", table)
    assert said(read(tmp_path / "t.csv", table, around=1), "label")[0] == ("a", 100, None, "touch")
    assert said(read(tmp_path / "t.csv", table, format="frames"), "label")[0] == ("a", 100, 950, "touch")


def test_a_label_holds_until_the_next_row_and_missing_rows_end_it(tmp_path):
    table = "time;label;note\n0;x;1\n0,5;x;2\n1;x;3\n9;x;4\n9,5;y;5\n9,5;z;6\n"
    found = read(tmp_path / "film.csv", table, format="frames")
    assert said(found, "label") == [("film", 0, 1.5, "x"), ("film", 9, 9.5, "x"), ("film", 9.5, 10, "z")]
    assert found.lost == {"frames with two rows, of which the last counts": ["rows 6 and 7"]}
    assert "not kept: 'note'" in found.remarks[-1]


def test_a_table_of_moments_has_no_ends(tmp_path):
    found = read(tmp_path / "t.csv", "video,time,label\na,1.5,bite\n", around=0.5)
    assert said(found, "label") == [("a", 1.5, None, "bite")]

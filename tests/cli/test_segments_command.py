"""`egotools manifest segments`: from annotations to clips of videos, and on to what is learned from them."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root

from egotools.annotations.clips import clips_of_annotations
from egotools.annotations.events import Annotations, Event
from egotools.annotations.videos import Videos
from egotools.errors import ManifestError
from egotools.manifests.table import read_manifest, write_manifest
from egotools.types import Clip


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> Path:
    """A folder with `a.mp4` to `d.mp4`, 4 s at 10 frames a second."""
    folder = tmp_path_factory.mktemp("films")
    for name in "abcd":
        write_video(folder / f"{name}.mp4", 40, size=(32, 32), first=ord(name))
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["manifest", "segments", *map(str, arguments)])


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def spans(path: Path) -> list[tuple[str, float, float | None]]:
    return [(clip.labels["video"], clip.start, clip.end) for clip in read_manifest(path)]


def test_the_three_commands_work_as_they_are_written(films, tmp_path, monkeypatch, installed):
    monkeypatch.chdir(tmp_path)
    Path("VIDEOS").symlink_to(films)
    rows = [f"{name}.mp4,{at},{at + 1},{'rest' if at % 2 else 'groom'},anna" for name in "abcd" for at in range(4)]
    write(Path("observations.csv"), "File,Start (s),Stop (s),Behavior,Subject", *rows)
    for line in (
        "manifest folder VIDEOS/ --out m.csv",
        "extract --manifest m.csv --out caches/a color --fps 5",
        "manifest segments observations.csv --videos VIDEOS --out s.csv",
        "derive cut --features caches/a/color.lmdb --manifest s.csv --out caches/cut",
        "eval probe --features caches/cut/color.lmdb --manifest s.csv --label behavior --group video",
    ):
        done = installed(*line.split())
        assert done.returncode == 0, done.stderr
    assert "video kept whole" in done.stdout
    with open("s.csv") as file:
        first = next(csv.DictReader(file))
    expected = {"id": "a@0-1", "start": "0", "end": "1", "behavior": "groom", "subject": "anna", "video": "a"}
    assert {name: first[name] for name in expected} == expected
    assert [clip.path.name for clip in read_manifest("s.csv")][::4] == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


def test_everything_that_is_not_as_it_should_be_is_counted_and_named_and_the_rest_written(films, tmp_path):
    lines = ["a,0,1,x", "a,0.5,2,y", "a,3,9,x", "a,7,9,x", "zebra,1,2,x", "b,2,1,x", "b,1,1,x", "a,0,1,x"]
    table = write(tmp_path / "t.csv", "video,start,end,label", *lines)
    done = run(table, "--videos", films, "--out", tmp_path / "s.csv")
    assert done.exit_code == 1
    assert spans(tmp_path / "s.csv") == [("a", 0, 1), ("a", 0.5, 2), ("a", 3, 4)]
    for said in (
        "overlapping segments, all written: 1 (row 2 and row 3: 0 to 1 s and 0.5 to 2 s of 'a')",
        "segments that reach out of their video, of which the part inside is written: 1 (row 4: 3 to 9 s, a.mp4 has 0",
        "rows outside of their video: 1 (row 5: 7 to 9 s, a.mp4 has 0 to 4 s)",
        "or not clearly: 1 ('zebra': 1 row, from row 6)",
        "segments that end before they start: 1 (row 7: 2 to 1 s)",
        "moments, of which --around SECONDS makes segments: 1 (row 8: at 1 s)",
        "repeated annotations, written once: 1 (row 9, as row 2)",
        "videos without annotations: 2 (c, d)",
    ):
        assert said in done.stderr, done.stderr


def test_moments_get_seconds_on_either_side_and_stay_in_their_video(films, tmp_path):
    table = write(tmp_path / "t.csv", "video,time,label", "a,0.25,x", "a,2,x", "b,3.9,x", "b,4,x")
    done = run(table, "--videos", films, "--around", 0.5, "--out", tmp_path / "s.csv")
    assert done.exit_code == 1  # of the one at the end of b
    assert "rows outside of their video: 1 (row 5: at 4 s" in done.stderr
    assert spans(tmp_path / "s.csv") == [("a", 0, 0.75), ("a", 1.5, 2.5), ("b", 3.4, 4)]


def test_overlaps_may_be_meant_and_subjects_may_always_overlap(films, tmp_path):
    rows = ["a,0,2,x,anna", "a,1,3,x,ben"]
    table = write(tmp_path / "t.csv", "video,start,end,label,subject", *rows)
    assert run(table, "--videos", films, "--out", tmp_path / "s.csv").exit_code == 0
    table = write(tmp_path / "t.csv", "video,start,end,label,subject", *rows, "a,1,2,y,anna")
    assert run(table, "--videos", films, "--out", tmp_path / "s.csv").exit_code == 1
    done = run(table, "--videos", films, "--allow-overlaps", "--out", tmp_path / "s.csv")
    assert done.exit_code == 0
    assert "overlapping segments, all written: 1" in done.stderr
    assert len(spans(tmp_path / "s.csv")) == 3


def test_an_id_is_of_video_and_times_so_that_other_rows_leave_it_alone(films, tmp_path):
    def ids(*lines: str) -> list[str]:
        table = write(tmp_path / "t.csv", "video,start,end,label", *lines)
        run(table, "--videos", films, "--out", tmp_path / "s.csv")
        return [clip.id for clip in read_manifest(tmp_path / "s.csv")]

    assert ids("a,0.5,1.25,x", "b,1,2,y") == ["a@0.5-1.25", "b@1-2"]
    assert ids("a,0,0.5,z", "a,0.5,1.25,other", "b,1,2,y", "b,1,2,z") == ["a@0-0.5", "a@0.5-1.25", "b@1-2", "b@1-2#2"]


def test_frames_are_those_that_the_video_shows(tmp_path):
    folder = tmp_path / "v"
    folder.mkdir()
    with av.open(str(folder / "film.mp4"), "w") as container:  # 5 frames of 0.1 s, then 5 of 0.4 s
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for time in [0, 1, 2, 3, 4, 5, 9, 13, 17, 21]:
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * time, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    table = write(tmp_path / "film.csv", "frame,label", *(f"{frame},{'xxxxxyyyzz'[frame]}" for frame in range(10)))
    assert run(table, "--videos", folder, "--out", tmp_path / "s.csv").exit_code == 0
    assert [(each[1], each[2]) for each in spans(tmp_path / "s.csv")][:2] == [(0, 0.5), (0.5, 1.7)]
    assert run(table, "--videos", folder, "--fps", 10, "--out", tmp_path / "s.csv").exit_code == 0
    assert [(each[1], each[2]) for each in spans(tmp_path / "s.csv")] == [(0, 0.5), (0.5, 0.8), (0.8, 1.0)]


def test_the_clips_of_a_manifest_are_named_by_their_ids(films, tmp_path):
    clips = [
        Clip("walk/0", films / "a.mp4", 0.0, 2.0, "train", {"video": "a", "label": "street"}),
        Clip("walk/1", films / "a.mp4", 2.0, 4.0, "test", {"video": "a", "label": "park"}),
    ]
    write_manifest(tmp_path / "m.csv", clips)
    table = write(tmp_path / "seg.csv", "id,start,end,label,sequence", "walk/0,0.5,1.5,7,p", "walk/1,1.0,3.0,8,p")
    done = run(table, "--manifest", tmp_path / "m.csv", "--out", tmp_path / "s.csv")
    assert done.exit_code == 1
    assert "reach out of their video, of which the part inside is written: 1 (row 3: 1 to 3 s" in done.stderr
    found = read_manifest(tmp_path / "s.csv")
    assert [(clip.id, clip.start, clip.end, clip.split) for clip in found] == [
        ("walk/0@0.5-1.5", 0.5, 1.5, "train"),
        ("walk/1@2-3", 2.0, 3.0, "test"),
    ]
    assert found[0].labels == {"label": "7", "sequence": "p", "video": "a"}
    assert found[0].path == films / "a.mp4"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give either --videos, a folder, or --manifest"),
        (["--videos", "films", "--manifest", "m.csv"], "give either --videos"),
        (["--videos", "films", "--out", "t.csv"], "--out t.csv is another file of this command"),
        (["--videos", "films", "--fps", "0"], "--fps must be above 0"),
        (["--videos", "films", "--offset", "nan"], "--offset and --around are seconds"),
    ],
)
def test_wrong_usage_is_said_so(films, tmp_path, monkeypatch, arguments, problem):
    monkeypatch.chdir(tmp_path)
    Path("films").symlink_to(films)
    write(Path("t.csv"), "video,start,end,label", "a,0,1,x")
    done = run("t.csv", *([] if "--out" in arguments else ["--out", "s.csv"]), *arguments)
    assert done.exit_code == 2, done.output
    assert problem in done.output


def test_segments_of_a_recording_are_those_of_each_of_its_views(films, tmp_path):
    views = {"ego": "a.mp4", "cam01": "b.mp4"}
    clips = [
        Clip(f"take/{view}", films / file, labels={"recording": "take", "view": view}) for view, file in views.items()
    ]
    write_manifest(tmp_path / "m.csv", clips)
    table = write(tmp_path / "seg.csv", "id,start,end,label,sequence", "take,0.5,1.5,open,take")
    done = run(table, "--manifest", tmp_path / "m.csv", "--out", tmp_path / "s.csv")
    assert done.exit_code == 0, done.output
    assert "recordings of several views, each of which gets the segments: 1 (take)" in done.stderr
    found = read_manifest(tmp_path / "s.csv")
    assert [(clip.id, clip.path.name, clip.labels["view"]) for clip in found] == [
        ("take/ego@0.5-1.5", "a.mp4", "ego"),
        ("take/cam01@0.5-1.5", "b.mp4", "cam01"),
    ]


def test_nothing_is_written_if_no_row_can_be_used(films, tmp_path):
    table = write(tmp_path / "t.csv", "video,start,end,label", "zebra,0,1,x")
    done = run(table, "--videos", films, "--out", tmp_path / "s.csv")
    assert done.exit_code == 1
    assert "no segment can be used" in done.stderr
    assert not (tmp_path / "s.csv").exists()


def test_a_video_that_cannot_be_read_loses_its_rows_only(films, tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v/a.mp4").symlink_to(films / "a.mp4")  # not followed
    (tmp_path / "v/broken.mp4").write_bytes(b"no video")
    table = write(tmp_path / "t.csv", "video,start,end,label", "a,0,1,x", "broken,0,1,x")
    done = run(table, "--videos", tmp_path / "v", "--out", tmp_path / "s.csv")
    assert done.exit_code == 1
    assert "broken.mp4" in done.stderr
    assert "not among the videos: 1" in done.stderr


def clips_of(events: list[Event], folder: Path, **options: float) -> list[Clip]:
    found = clips_of_annotations(Annotations(events), Videos.of_folder(folder), **options)
    assert found.lost == {}
    return found.clips


def test_columns_that_mean_something_else_in_a_manifest_are_renamed(films):
    labels = {"Behavior": " eat  up ", "ID": "7", "Video": "x", "Split": " Train", "path": "p"}
    (clip,) = clips_of([Event("a", 0, 1, labels, "row 2")], films)
    assert clip.labels == {"behavior": "eat up", "table id": "7", "table video": "x", "table path": "p", "video": "a"}
    assert clip.split == "train"
    with pytest.raises(ManifestError, match="'Label' and 'label' differ in case"):
        clips_of([Event("a", 0, 1, {"Label": "x", "label": "y"}, "row 2")], films)


def test_times_may_begin_elsewhere(films):
    (clip,) = clips_of([Event("a", 0, 1, {}, "row 2")], films, offset=1.5)
    assert (clip.start, clip.end) == (1.5, 2.5)


def test_long_names_make_ids_that_fit(tmp_path):
    name = "x" * 200
    folder = tmp_path / name / name
    folder.mkdir(parents=True)
    write_video(folder / "film.mp4", 10)
    (clip,) = clips_of([Event("film", 0, 0.5, {}, "row 2")], tmp_path)
    assert len(clip.id.encode()) <= 400
    assert clip.id.endswith("@0-0.5")


def test_events_of_observations_that_are_longer_than_their_only_file_are_lost(films):
    event = Event("a", 0, 1, {}, "row 2", total=60.0)
    found = clips_of_annotations(Annotations([event]), Videos.of_folder(films))
    assert found.clips == []
    assert "row 2: 60 s, a.mp4 4 s" in next(iter(found.lost.values()))


def test_videos_of_another_length_than_the_annotations_say_are_named(films):
    events = [Event("a", 0, 1, {}, "row 2", length=60.0), Event("b", 0, 1, {}, "row 3", length=4.2)]
    found = clips_of_annotations(Annotations(events), Videos.of_folder(films))
    assert len(found.clips) == 2
    (remark,) = [each for each in found.remarks if "another copy" in each]
    assert "1 (a.mp4 4 s, not 60 s)" in remark


def test_a_clock_that_begins_late_is_said(tmp_path):
    write_video(tmp_path / "late.ts", 20)
    found = clips_of_annotations(Annotations([Event("late", 1, 2, {}, "row 2")]), Videos.of_folder(tmp_path))
    assert any("late.ts: 0.2 s" in remark and "--offset" in remark for remark in found.remarks)
    assert np.isclose(found.clips[0].start, 1.0)

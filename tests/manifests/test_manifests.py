"""Manifests: what is read is what was written, and every mistake is one line with file and row."""

from __future__ import annotations

import os
import string
from importlib.resources import files as files_of_package
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from egotools.errors import ManifestError
from egotools.manifests.table import read_manifest, read_rows, write_manifest
from egotools.types import Clip


def manifest(folder: Path, *lines: str) -> Path:
    path = folder / "m.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_columns_become_clips(tmp_path):
    path = manifest(
        tmp_path, "id,path,start,end,split,fps,action", 'a,v.mp4,1.5,2,train,,"cut, slowly"', "b,sub/frames,,,,25,"
    )
    assert read_manifest(path) == [
        Clip("a", tmp_path / "v.mp4", 1.5, 2.0, "train", {"action": "cut, slowly"}),
        Clip("b", tmp_path / "sub/frames", labels={"action": ""}, fps=25.0),
    ]


def test_only_an_id_is_needed_and_an_empty_path_is_a_row_of_features(tmp_path):
    (clip,) = read_manifest(manifest(tmp_path, "id,score", "a,0.5"))
    assert clip == Clip("a", Path(), labels={"score": "0.5"})


def test_root_is_relative_to_the_manifest_and_may_lie_anywhere(tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    path = manifest(folder, "id,path,root", "a,v.mp4,../videos", "b,v.mp4,/data/videos", "c,/elsewhere/v.mp4,")
    paths = [clip.path for clip in read_manifest(path)]
    assert paths == [tmp_path / "videos/v.mp4", Path("/data/videos/v.mp4"), Path("/elsewhere/v.mp4")]


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = tmp_path / "m.csv"
    path.write_bytes(b"\xef\xbb\xbfid,path\r\na,v.mp4\r\n\r\nb,w.mp4\r\n")
    assert [clip.id for clip in read_manifest(path)] == ["a", "b"]


def test_a_manifest_given_relative_to_the_working_folder_has_absolute_paths(tmp_path, monkeypatch):
    manifest(tmp_path, "id,path", "a,v.mp4")
    monkeypatch.chdir(tmp_path)
    assert read_manifest(Path("m.csv"))[0].path == tmp_path / "v.mp4"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["path,start", "v.mp4,0"], "no column 'id'"),
        (["id;path", "a;v.mp4"], "no column 'id'; the first line says 'id;path'"),
        (["id,path"], "no clips"),
        (["id,path", "a,v.mp4", "a,w.mp4"], "row 3: the id 'a' is also that of row 2"),
        (["id,path", ",v.mp4"], "row 2: a clip needs an id"),
        (["id,start", "a,soon"], "row 2: start 'soon' is not a number"),
        (["id,start", "a,-1"], "row 2: clip 'a': start -1.0"),
        (["id,start", "a,nan"], "row 2: clip 'a': start nan"),
        (["id,start,end", "a,2,1"], "row 2: clip 'a': end 1.0 s is not after start 2.0 s"),
        (["id,fps", "a,0"], "row 2: fps '0'"),
        (["id,path", "ok,v.mp4", "a,../v.mp4"], "row 3: path '../v.mp4' leaves the root"),
        (["id,path", "a,b/../../v.mp4"], "row 2: path 'b/../../v.mp4' leaves the root"),
        (["id,path", "a"], "row 2: 1 cells where the first line has 2 columns"),
        (["id,path", "a,v.mp4,x"], "row 2: 3 cells where the first line has 2 columns"),
        (["id,path,path", "a,v,w"], "two columns are named 'path'"),
        ([",id", "0,a"], "column 1 has no name"),
        (["id,path", 'a,"v.mp4'], "row 2: not CSV: unexpected end of data"),
        (["id,path", "a" * 401 + ",v.mp4"], "row 2: clip 'aaaa"),
        (["id,path", "a,v\0.mp4"], "row 2: not a text file"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_row(tmp_path, lines, words):
    path = manifest(tmp_path, *lines)
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_empty_and_binary_files_are_named(tmp_path):
    with pytest.raises(ManifestError, match=r"none\.csv: cannot be read: No such file"):
        read_manifest(tmp_path / "none.csv")
    with pytest.raises(ManifestError, match="cannot be read: Is a directory"):
        read_manifest(tmp_path)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ManifestError, match=r"empty\.csv: the file is empty"):
        read_manifest(tmp_path / "empty.csv")
    (tmp_path / "video.mp4").write_bytes(b"\x00\x00\x00 ftyp\xff\xfe")
    with pytest.raises(ManifestError, match=r"video\.mp4: not a text file"):
        read_manifest(tmp_path / "video.mp4")


def test_a_link_that_leaves_the_root_is_refused_and_one_inside_is_not(tmp_path):
    (tmp_path / "outside.mp4").touch()
    root = tmp_path / "root"
    root.mkdir()
    (root / "v.mp4").touch()
    (root / "inside.mp4").symlink_to("v.mp4")
    assert read_manifest(manifest(root, "id,path", "a,inside.mp4"))[0].path == root / "inside.mp4"
    (root / "out.mp4").symlink_to("../outside.mp4")
    with pytest.raises(ManifestError, match=r"row 2: path 'out\.mp4' leaves the root .* through a link"):
        read_manifest(manifest(root, "id,path", "a,out.mp4"))


def test_a_linked_root_is_no_escape(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/v.mp4").touch()
    (tmp_path / "link").symlink_to("videos")
    path = manifest(tmp_path, "id,path,root", "a,v.mp4,link")
    assert read_manifest(path)[0].path == tmp_path / "link/v.mp4"


def test_rows_go_on_after_a_mistake(tmp_path):
    path = manifest(tmp_path, "id,start", "a,0", "b,x", "a,1", "c,1")
    rows = list(read_rows(path))
    assert [number for number, _ in rows] == [2, 3, 4, 5]
    assert [isinstance(row, ManifestError) for _, row in rows] == [False, True, True, False]


def test_clips_in_the_manifests_folder_are_written_without_a_root(tmp_path):
    path = tmp_path / "m.csv"
    write_manifest(path, [Clip("a", tmp_path / "sub/v.mp4", 0.5, 2.0, "train", {"action": "x"})])
    assert path.read_text() == "id,path,start,end,split,action\na,sub/v.mp4,0.5,2,train,x\n"


def test_clips_elsewhere_are_written_below_one_root(tmp_path):
    path = tmp_path / "tables/m.csv"
    clips = [Clip("a", tmp_path / "videos/x/v.mp4"), Clip("b", tmp_path / "videos/y/v.mp4"), Clip("c", Path())]
    write_manifest(path, clips)
    root = tmp_path / "videos"
    assert path.read_text().splitlines()[1:] == [f"a,x/v.mp4,0,,,{root}", f"b,y/v.mp4,0,,,{root}", "c,,0,,,"]
    assert read_manifest(path) == clips


def test_a_clip_behind_a_link_out_of_the_folder_keeps_its_absolute_path(tmp_path):
    (tmp_path / "outside.mp4").touch()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.mp4").symlink_to("../outside.mp4")
    clips = [Clip("a", root / "link.mp4")]
    write_manifest(root / "m.csv", clips)
    assert read_manifest(root / "m.csv") == clips


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
files = st.lists(st.text(string.ascii_letters + " ,\"'\n\r;", min_size=1, max_size=5), min_size=1, max_size=3)


@st.composite
def clip_lists(draw: st.DrawFn) -> list[Clip]:
    ids = draw(st.lists(texts.filter(bool), min_size=1, max_size=5, unique=True))
    columns = draw(st.lists(st.sampled_from(["label", "verb noun", "a,b", 'say "so"']), unique=True))
    clips = []
    for id_ in ids:
        start = draw(st.floats(0, 1e5))
        end = draw(st.none() | st.floats(0.001, 1e5).map(lambda length, start=start: start + length))
        path = Path("/", draw(st.sampled_from(["data", "data/m", "other"])), *draw(files))
        labels = {name: draw(texts) for name in columns}
        clips.append(Clip(id_, draw(st.sampled_from([path, Path()])), start, end, draw(texts), labels))
    return clips


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clips=clip_lists(), fps=st.none() | st.floats(0.01, 1000))
def test_what_is_written_is_read_back_equal(tmp_path, clips, fps):
    clips = [Clip(**{**vars(clip), "fps": fps}) for clip in clips]
    write_manifest(tmp_path / "m.csv", clips)
    read = read_manifest(tmp_path / "m.csv")
    assert read == clips
    assert [list(clip.labels) for clip in read] == [list(clip.labels) for clip in clips]


def test_writing_replaces_whole_files_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "m.csv"
    write_manifest(path, [Clip("a", Path())])
    with pytest.raises(ManifestError, match="NUL"):
        write_manifest(path, [Clip("b", Path(), labels={"error": "\0"})])
    with pytest.raises(ManifestError, match="cannot be named 'path'"):
        write_manifest(path, [Clip("b", Path(), labels={"path": "x"})])
    with pytest.raises(ManifestError, match="UTF-8"):
        write_manifest(path, [Clip("b", Path(), labels={"name": "\udcff"})])
    assert [clip.id for clip in read_manifest(path)] == ["a"]
    assert os.listdir(tmp_path) == ["m.csv"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ManifestError, match=r"m\.csv: cannot be written"):
        write_manifest(tmp_path / "file/m.csv", [Clip("a", Path())])


def test_the_example_that_is_installed_shows_every_kind_of_column():
    path = Path(str(files_of_package("egotools.metas") / "example.csv"))
    clips = read_manifest(path)
    assert clips[1].labels == {"recording": "kitchen", "view": "head", "action": "wash, dry hands"}
    assert [clip.fps for clip in clips] == [None, None, None, 25.0]
    assert clips[3].path == path.parent.resolve() / "frames/walk"


def test_grey_stacks_are_found_and_features_are_not(tmp_path):
    from egotools.manifests.folders import list_folder

    np.save(tmp_path / "grey.npy", np.zeros((5, 12, 16), np.uint8))
    np.save(tmp_path / "masks.npy", np.zeros((5, 12, 16, 7), np.uint8))
    np.save(tmp_path / "features.npy", np.zeros((5, 12, 16), np.float32))
    assert [item.name for item in list_folder(tmp_path).found] == ["grey.npy"]


def test_files_of_one_name_in_two_folders_are_two_videos(tmp_path):
    from egotools.manifests.folders import clips_of, list_folder

    for folder, name in (("a", "1"), ("b", "1"), ("b", "2")):
        (tmp_path / folder).mkdir(exist_ok=True)
        np.save(tmp_path / folder / f"{name}.npy", np.zeros((5, 12, 16), np.uint8))
    assert [clip.labels["video"] for clip in clips_of(list_folder(tmp_path).found)] == ["a/1", "b/1", "2"]

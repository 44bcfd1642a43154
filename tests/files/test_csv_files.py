"""Tables as spreadsheets save them: what separates cells, how text is encoded, labels that match nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from egotools.cli.main import root

from egotools.errors import ManifestError
from egotools.files.csv_files import read_csv
from egotools.manifests.table import read_manifest

TABLE = [["file", "action"], ["a.mp4", "cut"], ["b.mp4", "wash, dry"]]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "v").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "v" / name).write_bytes(b"x" * 100)
    return tmp_path / "v"


def joined(videos: Path, labels: Path) -> Result:
    arguments = ["manifest", "folder", videos, "--labels", labels, "--out", videos.parent / "m.csv"]
    return CliRunner().invoke(root, list(map(str, arguments)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_labels_are_joined_whatever_separates_them(videos, encoding, delimiter):
    labels = videos.parent / "l.csv"
    labels.write_text("\r\n".join(delimiter.join(row) for row in TABLE), encoding=encoding)
    done = joined(videos, labels)
    assert done.exit_code == 0, done.output
    assert "labels for 2 of 2 clips" in done.stderr
    clips = read_manifest(videos.parent / "m.csv")
    assert [(clip.id, clip.labels["action"]) for clip in clips] == [("a", "cut"), ("b", "wash, dry")]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("id,what;ever\nx,1", ["id", "what;ever"]),  # of a table with commas, whatever else its names hold
        ("file;label (a, b)\nx;1", ["file", "label (a, b)"]),
        ('"file";"x,y"\na;b', ["file", "x,y"]),
        ("name,verb|noun\nx,y", ["name", "verb|noun"]),
        ("name;score\nx;0,5", ["name", "score"]),
        ("file\na.mp4", ["file"]),
        ("sep=;\nvideo;score\nx;1", ["video", "score"]),  # so Excel says it
        ("\n\nvideo\tscore\nx\t1", ["video", "score"]),
    ],
)
def test_what_separates_cells_is_told_by_the_first_line(tmp_path, text, columns):
    (tmp_path / "t.csv").write_text(text)
    found, ((number, values),) = read_csv(tmp_path / "t.csv", known=())
    assert (found, list(values)) == (columns, columns)
    assert number == text.count("\n") + 1


def test_a_name_that_the_user_gives_tells_what_separates(tmp_path):
    (tmp_path / "t.csv").write_text("clip name;scores (0, 1)\nx;1\n")
    arguments = ["manifest", "table", str(tmp_path / "t.csv"), "--id", "clip name", "--out", str(tmp_path / "m.csv")]
    done = CliRunner().invoke(root, arguments)
    assert done.exit_code == 0, done.output
    (clip,) = read_manifest(tmp_path / "m.csv")
    assert (clip.id, clip.labels) == ("x", {"scores (0, 1)": "1"})


@pytest.mark.parametrize(("delimiter", "shown"), [(";", "';'"), ("\t", r"'\t'"), ("|", "'|'")])
def test_a_manifest_that_was_saved_with_something_else_than_commas_says_so(tmp_path, delimiter, shown):
    (tmp_path / "m.csv").write_text(delimiter.join(["id", "path"]) + "\n" + delimiter.join(["x", "a.mp4"]) + "\n")
    done = CliRunner().invoke(root, ["manifest", "check", str(tmp_path / "m.csv")])
    assert done.exit_code == 1
    assert f"the header has no comma but {shown}: save the table with commas" in str(done.exception)


def test_a_row_that_does_not_fit_names_what_separates(tmp_path):
    (tmp_path / "l.csv").write_text("file;verb\nx;a;b\n")
    with pytest.raises(ManifestError, match=r"row 2: 3 cells where the first line has 2 columns; quote .* a semicolon"):
        read_csv(tmp_path / "l.csv", known=())


def test_another_encoding_is_named_in_one_line(tmp_path):
    (tmp_path / "m.csv").write_bytes("id,path\nä,a.mp4\n".encode("cp1252"))
    with pytest.raises(ManifestError, match=r"not a text file in UTF-8 .byte 8.; save the table as CSV in UTF-8"):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_bytes("id,path\n".encode("utf-16-le"))  # without a mark: NUL bytes
    with pytest.raises(ManifestError, match="not a text file"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("text", ["file,action\nother.mp4,cut\n", "file,action\n", "file:action\na.mp4:cut\n"])
def test_labels_that_match_no_clip_are_an_error_and_no_manifest_is_written(videos, text):
    (videos.parent / "l.csv").write_text(text)
    done = joined(videos, videos.parent / "l.csv")
    assert done.exit_code == 1
    assert "names a file below" in str(done.exception)
    assert not (videos.parent / "m.csv").exists()


def test_the_column_of_names_is_found_whatever_its_case(videos):
    (videos.parent / "l.csv").write_text("action,File\ncut,a.mp4\nwash,b\n")
    assert joined(videos, videos.parent / "l.csv").exit_code == 0
    assert [clip.labels["action"] for clip in read_manifest(videos.parent / "m.csv")] == ["cut", "wash"]


def test_scores_of_a_dataset_may_be_separated_by_semicolons(tmp_path):
    from egotools.datasets.videomem import VideoMem

    (tmp_path / "resized_mp4").mkdir()
    (tmp_path / "resized_mp4" / "v1.mp4").touch()
    (tmp_path / "ground-truth_dev-set.csv").write_text("video;short-term_memorability\nv1.webm;0.75\n")
    (clip,) = VideoMem().clips(tmp_path).clips
    assert np.isclose(float(clip.labels["memorability"]), 0.75)

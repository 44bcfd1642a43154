"""`manifest folder` of several folders, files, patterns and links; `extract --manifest FOLDER`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root

from egotools.errors import ManifestError
from egotools.manifests.table import read_manifest, write_manifest
from egotools.stores import open_store


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def run(*words: object) -> Result:
    return CliRunner().invoke(root, list(map(str, words)))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a/one.mp4", "a/deep/two.mp4", "b/one.mp4", "b/notes.txt", "c/three.wav")
    return tmp_path


def ids(*places: object, status: int = 0, more: tuple[object, ...] = ()) -> dict[str, str]:
    """The clips of a manifest of places: the path of each by its id."""
    done = run("manifest", "folder", *places, "--out", "m.csv", *more)
    assert done.exit_code == status, done.output
    return {clip.id: os.path.relpath(clip.path) for clip in read_manifest(Path("m.csv"))}


@pytest.mark.parametrize(
    ("places", "found"),
    [
        (["a"], {"one": "a/one.mp4", "deep/two": "a/deep/two.mp4"}),
        (["a", "b"], {"a/one": "a/one.mp4", "a/deep/two": "a/deep/two.mp4", "b/one": "b/one.mp4"}),
        (["a/deep", "c"], {"a/deep/two": "a/deep/two.mp4", "c/three": "c/three.wav"}),
        (["a/one.mp4"], {"one": "a/one.mp4"}),
        (["a/one.mp4", "b/one.mp4"], {"a/one": "a/one.mp4", "b/one": "b/one.mp4"}),
        (["a", "a/one.mp4", "./a/deep"], {"one": "a/one.mp4", "deep/two": "a/deep/two.mp4"}),
        (["*/one.mp4"], {"a/one": "a/one.mp4", "b/one": "b/one.mp4"}),
        (["a/*.mp4"], {"one": "a/one.mp4"}),
        (["**/*.mp4"], {"a/one": "a/one.mp4", "a/deep/two": "a/deep/two.mp4", "b/one": "b/one.mp4"}),
        (["[ab]"], {"a/one": "a/one.mp4", "a/deep/two": "a/deep/two.mp4", "b/one": "b/one.mp4"}),
        (["b", "c/*"], {"b/one": "b/one.mp4", "c/three": "c/three.wav"}),
    ],
)
def test_folders_files_and_patterns_become_clips_named_below_what_holds_them_all(here, places, found):
    assert ids(*places) == found
    assert ids(*(here / place for place in places)) == found


def test_what_is_not_there_or_no_video_is_one_line(here):
    for place, problem in (
        ("d", "d: no such folder or file"),
        ("*.mov", "*.mov: nothing matches this pattern"),
        ("b/notes.txt", "b/notes.txt: no videos"),
    ):
        done = run("manifest", "folder", place, "--out", "m.csv")
        assert (done.exit_code, type(done.exception)) == (1, ManifestError)
        assert problem in str(done.exception)
    assert not Path("m.csv").exists()


def test_images_that_are_named_are_images_of_their_own_and_those_of_a_folder_frames(here):
    touch(here, *(f"f/frame_{at:04d}.jpg" for at in range(9)), "g/one.mp4")
    assert set(ids("f/*.jpg")) == {f"frame_{at:04d}" for at in range(9)}
    assert ids("f", "g") == {"f": "f", "g/one": "g/one.mp4"}


def test_labels_are_joined_by_the_names_below_what_holds_them_all(here):
    (here / "l.csv").write_text("path,verb\na/one.mp4,cut\nb/one.mp4,wash\n")
    ids("a", "b", more=("--labels", "l.csv"))
    assert {clip.id: clip.labels["verb"] for clip in read_manifest(here / "m.csv") if clip.labels["verb"]} == {
        "a/one": "cut",
        "b/one": "wash",
    }


def test_links_that_lead_out_are_followed_when_asked_and_loops_end(here):
    touch(here, "far/x.mp4", "far/deep/y.mp4")
    (here / "a/link").symlink_to(here / "far")
    (here / "a/z.mp4").symlink_to(here / "far/x.mp4")
    (here / "a/again").symlink_to(here / "a/deep")  # what it leads to is listed anyway
    (here / "far/deep/loop").symlink_to(here / "far")
    (here / "a/up").symlink_to(here / "a")
    whole = {"one": "a/one.mp4", "deep/two": "a/deep/two.mp4"}
    done = run("manifest", "folder", "a", "--out", "m.csv")
    assert done.exit_code == 1
    assert "refused, links that lead out of the folder: 2 (link, z.mp4)" in done.stderr
    assert ids("a", status=1) == whole
    beyond = {"link/x": "a/link/x.mp4", "link/deep/y": "a/link/deep/y.mp4", "z": "a/z.mp4"}
    assert ids("a", more=("--follow-links",)) == {**whole, **beyond}


# extract --manifest FOLDER


@pytest.fixture
def videos(here: Path) -> Path:
    (here / "videos").mkdir()
    write_video(here / "videos/a.mp4", 5)
    return here / "videos"


def extracted(*, status: int = 0, place: str = "videos") -> str:
    done = run("extract", "--manifest", place, "--out", "caches", "--workers", 1, "color", "--fps", 2)
    assert done.exit_code == status, done.output
    return done.stderr if status == 0 else str(done.exception)


def test_extract_makes_the_manifest_of_a_folder_and_keeps_it_up_to_date(videos):
    made = Path("caches/manifest.csv")
    assert f"{made}: the manifest of videos" in extracted()
    assert list(open_store(Path("caches/color.lmdb"))) == ["a"]
    assert open_store(Path("caches/color.lmdb")).recipe.origin["manifest"] == str(made.absolute())
    before = made.read_bytes()
    assert f"{made}: exists already and is used as the manifest" in extracted()
    assert made.read_bytes() == before
    write_video(videos / "b.mp4", 5)
    assert f"{made}: the manifest of videos" in extracted()
    assert list(open_store(Path("caches/color.lmdb"))) == ["a", "b"]


def test_a_manifest_that_somebody_edited_is_used_and_never_overwritten(videos):
    extracted()
    made = Path("caches/manifest.csv")
    (clip,) = read_manifest(made)
    write_manifest(made, [type(clip)("mine", clip.path, labels={"verb": "cut"})])
    edited = made.read_bytes()
    assert "exists already" in extracted()
    assert "mine" in open_store(Path("caches/color.lmdb"))
    write_video(videos / "b.mp4", 5)
    line = extracted(status=1)
    assert (
        "was edited or is of another folder: 1 files of videos are not in it, 0 files in it are not in the folder"
        in line
    )
    assert made.read_bytes() == edited


def test_the_manifest_of_another_folder_is_not_overwritten(videos):
    extracted()
    write_video(Path("a") / "real.mp4", 5)
    before = Path("caches/manifest.csv").read_bytes()
    assert "is of another folder" in extracted(status=1, place="a")
    assert Path("caches/manifest.csv").read_bytes() == before


def test_a_dry_run_writes_no_manifest(videos):
    done = run("extract", "--manifest", "videos", "--out", "caches", "--dry-run", "color", "--fps", 2)
    assert done.exit_code == 0, done.output
    assert not Path("caches").exists()

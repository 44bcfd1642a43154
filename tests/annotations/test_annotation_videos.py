"""Which video annotations mean: by name, without suffix, from another machine, and never one of several."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotated import videos
from conftest import write_video

from egotools.annotations.videos import Videos
from egotools.errors import ManifestError
from egotools.types import Clip

FILMS = videos("film.mp4", "Film2.MOV", "day.1.mp4", "sound.mp4", "sound.wav", "cafe\u0301.mp4")


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("film", "film"),
        ("film.mp4", "film"),
        ("film.avi", "film"),  # the annotated copy had another container
        ("C:\\Users\\me\\film.mp4", "film"),
        ("../my/film.mp4", "film"),
        ("file:///D:/my%20films/film.mp4", "film"),
        ("day.1", "day.1"),
        ("sound", "sound"),  # the video, not the sound beside it
        ("café", "café"),
    ],
)
def test_a_video_is_found_by_its_name(name, id):
    assert FILMS.find(name).id == id


@pytest.mark.parametrize("name", ["", "Film", "film2", "day", "..", "../..", "nothing.mp4"])
def test_case_counts_and_other_names_are_unknown(name):
    assert not FILMS.has(name)


def test_a_sound_file_is_found_by_its_whole_name():
    assert FILMS.find("sound.wav").path.name == "sound.wav"


def test_folders_tell_files_of_one_name_apart_and_nothing_else_does():
    paths = [Path(f"/v/{day}/{camera}/film.mp4") for day in ("monday", "tuesday") for camera in "ab"]
    films = Videos([Clip(f"{path.parts[2]}/{path.parts[3]}/film", path) for path in paths], Path("/v"))
    assert films.find("D:\\work\\tuesday\\b\\film.mp4").path == paths[3]
    assert films.find("monday/a/film").path == paths[0]  # an id
    for name in ("film.mp4", "b/film.mp4", "wednesday/film.mp4"):
        with pytest.raises(ManifestError, match=r"may be any of [24]: /v/"):
            films.find(name)


def test_a_recording_means_all_of_its_views_and_other_names_one_file():
    views = {name: Clip(f"r/{name}", Path(f"/v/r_{name}.mp4"), labels={"recording": "r"}) for name in ("ego", "exo")}
    films = Videos([*views.values(), Clip("q", Path("/v/q.mp4"))], Path("m.csv"))
    assert [clip.id for clip in films.views("r")] == ["r/ego", "r/exo"]
    assert [clip.id for clip in films.views("r_ego.mp4")] == ["r/ego"]
    assert [clip.id for clip in films.views("q")] == ["q"]
    assert films.has("r")
    halves = Videos([Clip(f"q/{at}", Path("/v/q.mp4"), at, at + 1) for at in range(2)], Path("m.csv"))
    with pytest.raises(ManifestError, match="'q' may be any of 2: q/0, q/1"):
        halves.views("q")
    with pytest.raises(ManifestError, match="'s'"):
        films.views("s")


def test_a_folder_is_searched_below_and_images_are_no_videos(tmp_path):
    (tmp_path / "day").mkdir()
    write_video(tmp_path / "day/film.mp4", 2)
    (tmp_path / "day/film.png").write_bytes(b"a thumbnail")
    found = Videos.of_folder(tmp_path)
    assert [(clip.id, dict(clip.labels)) for clip in found.clips] == [("day/film", {"video": "film"})]
    (tmp_path / "day/film.mp4").unlink()
    with pytest.raises(ManifestError, match="no videos"):
        Videos.of_folder(tmp_path)

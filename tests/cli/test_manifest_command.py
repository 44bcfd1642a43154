"""`egotools manifest`: from a folder to clips, and what is wrong with them."""

from __future__ import annotations

import json
import wave
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import write_video
from egotools.cli.main import root
from PIL import Image

from egotools.manifests.check import check_clips
from egotools.manifests.table import read_manifest
from egotools.types import Clip


def run(*args: object, status: int = 0) -> Result:
    result = CliRunner().invoke(root, ["manifest", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        if status != 1:
            raise result.exception
        return result
    assert result.exit_code == status, result.output
    return result


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(2 * int(8000 * seconds)))
    return path


def write_images(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (16, 12), (90, 20, 30)).save(folder / name)
    return folder


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One of every kind of thing that a folder may hold."""
    top = tmp_path / "videos"
    touch(top / "cook/pan10.mp4")
    touch(top / "cook/pan2.MP4")
    touch(top / "walk.wav")
    touch(top / ".hidden/v.mp4")
    touch(top / "cook/.v.mp4")
    touch(top / "notes.txt")
    write_images(top / "ride/bike.01", *(f"frame_{index:04d}.jpg" for index in range(8)))
    write_images(top / "photos", "IMG_0001.png", "IMG_0007.png", "tree.png")
    np.save(top / "stack.npy", np.zeros((5, 12, 16, 3), np.uint8))
    np.save(top / "features.npy", np.zeros((5, 12), np.float32))
    return top


def test_a_folder_becomes_clips_in_natural_order(folder, tmp_path):
    result = run("folder", folder, "--out", tmp_path / "m.csv", "--fps", 25)
    clips = read_manifest(tmp_path / "m.csv")
    assert [(clip.id, clip.labels["label"], clip.labels["video"], clip.fps) for clip in clips] == [
        ("cook/pan2", "cook", "pan2", None),
        ("cook/pan10", "cook", "pan10", None),
        ("photos/IMG_0001", "photos", "IMG_0001", None),
        ("photos/IMG_0007", "photos", "IMG_0007", None),
        ("photos/tree", "photos", "tree", None),
        ("ride/bike.01", "ride", "bike.01", 25.0),
        ("stack", "", "stack", 25.0),
        ("walk", "", "walk", None),
    ]
    assert [clip.path.exists() for clip in clips] == [True] * 8
    assert "found 2 videos, 1 frame folder, 3 images, 1 sound file, 1 stack" in result.stderr
    assert "ignored, of other kinds: 2 (features.npy, notes.txt)" in result.stderr
    assert "at 25 frames per second" in result.stderr
    assert result.stdout == ""


def test_what_the_images_of_a_folder_are_can_be_forced(folder, tmp_path):
    run("folder", folder / "ride", "--out", tmp_path / "m.csv", "--images")
    assert len(read_manifest(tmp_path / "m.csv")) == 8
    run("folder", folder / "photos", "--out", tmp_path / "m.csv", "--frames")
    assert [(clip.id, clip.path, clip.fps) for clip in read_manifest(tmp_path / "m.csv")] == [
        ("photos", folder / "photos", 30.0)
    ]


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        ([f"{index}.png" for index in range(1, 12)], 1),
        ([f"img_{index:05d}.jpg" for index in range(0, 80, 10)], 1),  # every tenth frame
        ([f"img_{index:05d}.jpg" for index in range(7)], 7),  # too few
        ([f"{index:04d}.jpg" for index in (3, 13, 16, 37, 39, 68, 77, 86)], 8),  # a sample of a data set
        ([f"0108_{index:02d}.png" for index in range(1, 21)], 20),  # Omniglot: twenty hands, one character
        ([f"{side}_{index:04d}.jpg" for side in "xy" for index in range(8)], 16),  # two streams in one folder
    ],
)
def test_numbered_images_are_the_frames_of_one_video(tmp_path, names, kinds):
    run("folder", write_images(tmp_path / "f", *names), "--out", tmp_path / "m.csv")
    assert len(read_manifest(tmp_path / "m.csv")) == kinds


def test_ids_that_would_clash_keep_their_suffix(tmp_path):
    top = tmp_path / "v"
    for name in ("a.mp4", "a.wav", "a.mp4.mkv", "b.avi"):
        touch(top / name)
    run("folder", top, "--out", tmp_path / "m.csv")
    ids = {clip.path.name: clip.id for clip in read_manifest(tmp_path / "m.csv")}
    assert ids == {"a.mp4": "a.mp4", "a.wav": "a.wav", "a.mp4.mkv": "a.mp4.mkv", "b.avi": "b"}


def test_links_out_of_the_folder_are_refused_and_named(folder, tmp_path):
    outside = touch(tmp_path / "outside/secret.mp4")
    (folder / "link.mp4").symlink_to(outside)
    (folder / "all").symlink_to(outside.parent)
    (folder / "alias.mp4").symlink_to(folder / "cook/pan2.MP4")
    result = run("folder", folder, "--out", tmp_path / "m.csv", status=1)
    ids = [clip.id for clip in read_manifest(tmp_path / "m.csv")]
    assert "alias" in ids
    assert not any("secret" in id_ or "link" in id_ for id_ in ids)
    assert "refused, links that lead out of the folder: 2 (all, link.mp4)" in result.stderr


def test_a_folder_with_nothing_in_it_is_an_error(tmp_path):
    assert "no videos, frame folders" in str(run("folder", tmp_path, "--out", tmp_path / "m.csv", status=1).exception)
    missing = run("folder", tmp_path / "none", "--out", tmp_path / "m.csv", status=1)
    assert "none: no such folder" in str(missing.exception)
    assert not (tmp_path / "m.csv").exists()


def test_labels_are_joined_by_path_stem_and_file_name(folder, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "action,file,split,fps,id\n"
        f"stir,{folder}/cook/pan2.MP4,train,99,7\n"
        "fry,cook/pan10,test,99,8\n"
        "ride,bike.01,train,12.5,9\n"
        "sing,walk.wav,,,\n"
        "none,wash/pan2.MP4,train,,\n"
    )
    result = run("folder", folder, "--labels", labels, "--out", tmp_path / "m.csv")
    clips = {clip.id: clip for clip in read_manifest(tmp_path / "m.csv")}
    assert {id_: clip.labels["action"] for id_, clip in clips.items() if clip.labels["action"]} == {
        "cook/pan2": "stir",
        "cook/pan10": "fry",
        "ride/bike.01": "ride",
        "walk": "sing",
    }
    assert (clips["cook/pan2"].split, clips["cook/pan10"].split, clips["walk"].split) == ("train", "test", "")
    assert (clips["cook/pan2"].fps, clips["ride/bike.01"].fps) == (None, 12.5)
    assert clips["cook/pan2"].labels == {"label": "cook", "video": "pan2", "action": "stir"}
    assert "labels for 4 of 8 clips" in result.stderr
    assert "rows that match no file: 1 (row 6: wash/pan2.MP4)" in result.stderr
    assert "clips without labels: 4 (photos/IMG_0001, photos/IMG_0007, photos/tree, stack)" in result.stderr


def test_labels_that_name_a_file_twice_are_refused(folder, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("video,action\npan2,stir\npan2.MP4,fry\n")
    result = run("folder", folder, "--labels", labels, "--out", tmp_path / "m.csv", status=1)
    assert "labels.csv, row 3: names the same file as row 2: pan2.MP4" in str(result.exception)


def test_a_random_split_can_be_repeated(tmp_path):
    for index in range(10):
        touch(tmp_path / f"v/{index}.mp4")
        touch(tmp_path / f"v/{index}.wav")
    for name in ("a.csv", "b.csv"):
        run("folder", tmp_path / "v", "--split", "train=0.8,test=0.2", "--seed", 3, "--out", tmp_path / name)
    clips = read_manifest(tmp_path / "a.csv")
    assert clips == read_manifest(tmp_path / "b.csv")
    assert sorted(clip.split for clip in clips) == ["test"] * 4 + ["train"] * 16
    for video in range(10):
        assert len({clip.split for clip in clips if clip.labels["video"] == str(video)}) == 1


@pytest.mark.parametrize("text", ["train", "train=x", "train=0.8,test=0.1", "train=1.2,test=-0.2"])
def test_wrong_fractions_are_wrong_usage(tmp_path, text):
    run("folder", tmp_path, "--split", text, "--out", tmp_path / "m.csv", status=2)


@pytest.mark.usefixtures("tiny_video")
def test_a_good_manifest_passes_the_check(tmp_path):
    write_sound(tmp_path / "beep.wav")
    write_images(tmp_path / "frames", *(f"{index:04d}.png" for index in range(9)))
    run("folder", tmp_path, "--out", tmp_path / "m.csv")
    with (tmp_path / "m.csv").open("a") as file:
        file.write("features only,,0,,,,,,\n".replace(",,,,,,", "," * 5, 1))
    result = run("check", tmp_path / "m.csv")
    assert "4 clips in 3 files: nothing wrong" in result.stderr


@pytest.mark.usefixtures("tiny_video")
def test_check_names_everything_that_is_wrong(tmp_path):
    touch(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    sound = tmp_path / "only_sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    (tmp_path / "m.csv").write_text(
        "id,path,start,end\n"
        "good,tiny.mp4,0,2.15\n"
        "short,tiny.mp4,0,2.5\n"
        "late,tiny.mp4,3,4\n"
        "same,tiny.mp4,3,4\n"
        "empty,empty.mp4,,\n"
        "text,text.mp4,,\n"
        "sound,only_sound.mp4,,\n"  # nothing is wrong with it
        "gone,gone.mp4,,\n"
        "out,../tiny.mp4,,\n"
        "good,tiny.mp4,1,2\n"
    )
    result = run("check", tmp_path / "m.csv", "--json", status=1)
    report = json.loads(result.stdout)
    assert (report["clips"], report["files"]) == (10, 5)
    assert [(item["id"], item["problem"]) for item in report["problems"]] == [
        ("", "row"),
        ("", "row"),
        ("short", "short"),
        ("late", "late"),
        ("same", "late"),
        ("same", "duplicate"),
        ("empty", "empty"),
        ("text", "unreadable"),
        ("gone", "missing"),
    ]
    assert "row 10: path '../tiny.mp4' leaves the root" in report["problems"][0]["detail"]
    assert "row 11: the id 'good' is also that of row 2" in report["problems"][1]["detail"]
    assert "should end at 2.5 s, the file ends at 2.000 s" in report["problems"][2]["detail"]
    table = run("check", tmp_path / "m.csv", status=1)
    assert "the same span as clip 'late'" in table.stdout
    assert "2 row, 1 short, 2 late, 1 duplicate" in table.stderr


def test_a_name_that_the_file_system_cannot_write_is_a_problem_of_its_clip():
    clip = Clip("a", Path("\ud83d.mp4"))  # as every letter beyond ASCII is in Python's C locale without UTF-8 mode
    assert [(problem.id, problem.problem) for problem in check_clips([clip])] == [("a", "unreadable")]


def test_check_opens_a_file_once_and_says_how_much_a_cut_one_still_holds(tmp_path, monkeypatch):
    whole = write_video(tmp_path / "whole.mkv", 60)
    data = whole.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) // 2])
    (tmp_path / "m.csv").write_text("id,path,start,end\na,cut.mkv,0,0.5\nb,cut.mkv,0.5,0.9\nc,whole.mkv,,\n")
    import egotools.manifests.check

    given, opened = [], []
    apart, open_frames = egotools.manifests.check.apart, egotools.manifests.check.open_frames

    def counted(function, files, *, count):  # in this process, where openings can be counted
        given.extend(files)
        list(map(function, files))
        return apart(function, files, count=count)

    monkeypatch.setattr(egotools.manifests.check, "apart", counted)
    monkeypatch.setattr(
        egotools.manifests.check, "open_frames", lambda path, fps: opened.append(path) or open_frames(path, fps)
    )
    report = json.loads(run("check", tmp_path / "m.csv", "--json", status=1).stdout)
    assert [(item["id"], item["problem"]) for item in report["problems"]] == [("a", "truncated"), ("b", "truncated")]
    assert "frames can be read" in report["problems"][0]["detail"]
    assert len(given) == 2
    assert len(opened) == 2


@pytest.mark.usefixtures("tiny_video")
def test_windows_cut_a_manifest_in_place_and_again_change_nothing(tmp_path):
    run("folder", tmp_path, "--out", tmp_path / "m.csv")
    for _ in range(2):
        run("windows", tmp_path / "m.csv", "--length", 0.8, "--out", tmp_path / "m.csv")
        clips = read_manifest(tmp_path / "m.csv")
        assert [(clip.id, clip.start, clip.end) for clip in clips] == [
            ("tiny/0000", 0.0, 0.8),
            ("tiny/0001", 0.8, 1.6),
            ("tiny/0002", 1.6, 2.0),
        ]
        assert {clip.labels["video"] for clip in clips} == {"tiny"}


@pytest.mark.usefixtures("tiny_video")
def test_windows_keep_what_cannot_be_read_and_say_so(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    run("folder", tmp_path, "--out", tmp_path / "m.csv")
    result = run("windows", tmp_path / "m.csv", "--length", 1, "--out", tmp_path / "cut.csv", status=1)
    assert [clip.id for clip in read_manifest(tmp_path / "cut.csv")] == ["text", "tiny/0000", "tiny/0001"]
    assert "files that cannot be read, their clips stay as they are: 1" in result.stderr
    assert "text.mp4" in result.stderr


def test_windows_refuse_a_last_piece_longer_than_the_others(tmp_path):
    touch(tmp_path / "m.csv")
    run("windows", tmp_path / "m.csv", "--length", 1, "--min-length", 2, "--out", tmp_path / "m.csv", status=2)


def test_splits_are_drawn_again_by_any_column(tmp_path):
    rows = [f"{subject}{index},,{subject}" for subject in "abcde" for index in range(4)]
    (tmp_path / "m.csv").write_text("\n".join(["id,path,subject", *rows]) + "\n")
    fractions = "train=0.6,val=0.2,test=0.2"
    result = run("split", tmp_path / "m.csv", "--by", "subject", "--fractions", fractions, "--out", tmp_path / "m.csv")
    clips = read_manifest(tmp_path / "m.csv")
    assert sorted({(clip.labels["subject"], clip.split) for clip in clips}) == sorted(
        {clip.labels["subject"]: (clip.labels["subject"], clip.split) for clip in clips}.values()
    )
    for part in ("train 12", "val 4", "test 4"):
        assert part in result.stderr


def test_the_real_videos_become_a_labelled_manifest(shared, tmp_path):
    videos = shared / "data/videos"
    result = run("folder", videos, "--labels", videos / "labels.csv", "--out", tmp_path / "m.csv")
    clips = {clip.id: clip for clip in read_manifest(tmp_path / "m.csv")}
    assert len(clips) == 33
    assert clips["asl/again"].labels["label"] == "asl again"
    assert clips["aria_parking"].labels["view"] == "ego"
    assert all(clip.fps is None for clip in clips.values())
    assert "labels for 33 of 33 clips" in result.stderr


def test_the_real_videos_pass_the_check_but_for_the_broken_one(shared, tmp_path):
    videos = shared / "data/videos"
    run("folder", videos, "--out", tmp_path / "m.csv")
    report = json.loads(run("check", tmp_path / "m.csv", "--json", status=1).stdout)
    assert [(item["id"], item["problem"]) for item in report["problems"]] == [("corrupted", "damaged")]
    assert "3.000 s" in report["problems"][0]["detail"]


def test_check_finds_damage_anywhere_if_asked_to_decode(tmp_path):
    names = [f"{index:04d}.png" for index in range(20)]
    write_images(tmp_path / "frames", *names)
    (tmp_path / "frames" / names[3]).write_bytes(b"no image")
    run("folder", tmp_path, "--out", tmp_path / "m.csv")
    run("check", tmp_path / "m.csv")
    report = json.loads(run("check", tmp_path / "m.csv", "--decode", "--json", status=1).stdout)
    assert [(item["id"], item["problem"]) for item in report["problems"]] == [("frames", "damaged")]
    assert names[3] in report["problems"][0]["detail"]


def test_real_images_and_sound_are_told_from_frames(shared, tmp_path):
    for archive, kinds in (
        ("images/cifar10_jpeg.zip", {"image"}),
        ("images/omniglot_background_small1.zip", {"image"}),
        ("audio/fsdd.zip", {"sound"}),
    ):
        from egotools.manifests.folders import list_folder

        top = tmp_path / archive
        with zipfile.ZipFile(shared / "data" / archive) as file:
            names = [name for name in file.namelist() if not name.endswith("/")][:2000]
        for name in names:
            touch(top / name)
        assert {item.kind for item in list_folder(top).found} == kinds


def test_every_command_has_an_example():
    for command in ("folder", "check", "windows", "split"):
        assert f"egotools manifest {command} " in run(command, "--help").output

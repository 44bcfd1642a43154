"""Animated images are videos."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from media_files import number_of, numbered
from PIL import Image

from egotools.errors import ClipError
from egotools.manifests.table import read_manifest
from egotools.media.animation import Animation, is_animated
from egotools.media.stills import FrameFolder, Still
from egotools.media.video import Video, open_frames
from egotools.stores import open_store

NAMES = ["a.webp", "a.png", "a.apng", "a.avif", "gif.jpg"]


def animated(path: Path, count: int = 12, duration: int | list[int] = 100, **options: object) -> Path:
    """An animation of numbered frames; `duration` in milliseconds."""
    kind = {".apng": "PNG", ".jpg": "GIF"}.get(path.suffix)
    options = {**({"lossless": True} if path.suffix == ".webp" else {}), **options}
    if path.suffix not in Image.registered_extensions():
        pytest.skip("this Pillow reads no AVIF")
    images = [Image.fromarray(numbered(number)) for number in range(count)]
    images[0].save(path, kind, save_all=True, append_images=images[1:], duration=duration, **options)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_frames_come_in_order_at_their_own_times(name: str, tmp_path: Path) -> None:
    frames = open_frames(animated(tmp_path / name, duration=[100, 50] * 6))
    assert isinstance(frames, Animation)
    np.testing.assert_allclose(frames.info.times, [0.15 * (index // 2) + 0.1 * (index % 2) for index in range(12)])
    assert frames.info.end == pytest.approx(0.9)
    assert (frames.info.width, frames.info.height) == (96, 64)
    assert [number_of(frame) for frame in frames.frames(range(12))] == list(range(12))
    for indices in ([3, 7, 8], [7], [0, 1], [11], [4]):
        assert [number_of(frame) for frame in frames.frames(indices)] == indices
    assert (frames.damage, frames.remarks) == ("", [])
    with pytest.raises(ClipError, match="frame 12 does not exist"):
        list(frames.frames([12]))


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
def test_pixels_are_exact_and_put_together(name: str, tmp_path: Path, rng: np.random.Generator) -> None:
    expected = np.repeat(rng.integers(0, 256, (1, 40, 50, 3), np.uint8), 6, axis=0)
    for number in range(1, 6):  # of each only a patch changes, which is all that is written of it
        expected[number] = expected[number - 1]
        expected[number, 5 * number : 5 * number + 8, 10:20] = rng.integers(0, 256, (8, 10, 3), np.uint8)
    images = [Image.fromarray(frame) for frame in expected]
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=40, lossless=True)
    assert (tmp_path / name).stat().st_size < 2 * expected[0].size
    frames = open_frames(tmp_path / name)
    np.testing.assert_array_equal(list(frames.frames(range(6))), expected)
    np.testing.assert_array_equal(list(frames.frames([2, 5])), expected[[2, 5]])


@pytest.mark.parametrize("disposal", [1, 2])
def test_patches_are_disposed_of(disposal: int, tmp_path: Path) -> None:
    ground = np.zeros((40, 50, 4), np.uint8)
    ground[...] = (0, 80, 160, 255)
    images = [ground]
    for number in range(1, 4):
        patch = np.zeros_like(ground)
        patch[10 * number : 10 * number + 5, 10:20] = (250, 20, 30, 255)
        images.append(patch)
    first, *rest = map(Image.fromarray, images)
    disposals = [0, *[disposal] * 3]  # 1: to nothing, 2: to what was before
    first.save(tmp_path / "a.png", save_all=True, append_images=rest, disposal=disposals, blend=[0, 1, 1, 1])
    data = (tmp_path / "a.png").read_bytes()
    controls = [struct.unpack_from(">4I", data, place + 8) for place in range(len(data)) if data[place:][:4] == b"fcTL"]
    canvas = ground.copy()
    frames = list(open_frames(tmp_path / "a.png").frames(range(4)))
    np.testing.assert_array_equal(frames[0], ground[..., :3])
    for image, frame, (width, height, x, y) in zip(images[1:], frames[1:], controls[1:], strict=True):
        shown = np.where(image[..., 3:] > 0, image, canvas)
        np.testing.assert_array_equal(frame, shown[..., :3])
        if disposal == 1:
            canvas = shown
            canvas[y : y + height, x : x + width] = 0


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.avif", "gif.jpg"])
def test_frames_without_a_duration_are_said(name: str, tmp_path: Path) -> None:
    durations: int | list[int] = [40, 0, 40, 0] if name != "gif.jpg" else 0
    if name == "a.avif":  # Pillow writes none of no duration
        durations = 40
    frames = open_frames(animated(tmp_path / name, 4, durations))
    if name == "a.avif":
        assert frames.info.end == pytest.approx(0.16)
        return
    untimed = 4 if name == "gif.jpg" else 2
    assert frames.remarks == [f"{untimed} of 4 frames have no duration; each is shown for 0.1 s"]
    assert frames.info.end == pytest.approx(0.04 * (4 - untimed) + 0.1 * untimed)
    assert [number_of(frame) for frame in frames.frames(range(4))] == [0, 1, 2, 3]


def test_a_picture_for_programs_that_know_no_animations_is_no_frame(tmp_path: Path) -> None:
    images = [Image.fromarray(numbered(number)) for number in (200, 0, 1, 2)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], default_image=True, duration=100)
    frames = open_frames(tmp_path / "a.png")
    assert frames.info.end == pytest.approx(0.3)
    assert [number_of(frame) for frame in frames.frames(range(3))] == [0, 1, 2]
    assert [number_of(frame) for frame in frames.frames([0, 2])] == [0, 2]


def test_an_animation_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = open_frames(animated(tmp_path / "a.webp", 3, exif=exif))
    assert (frames.info.width, frames.info.height) == (64, 96)
    np.testing.assert_array_equal(next(frames.frames([2])), np.rot90(numbered(2), -1))


@pytest.mark.parametrize("name", ["a.webp", "a.png"])
@pytest.mark.parametrize("how", ["cut", "garbled"])
def test_damage_is_told_with_its_moment(name: str, how: str, tmp_path: Path) -> None:
    path = animated(tmp_path / name, 12)
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[len(data) * 6 // 10 :]
    else:
        middle = len(data) * 6 // 10
        data[middle : middle + 150] = b"\xff" * 150
    path.write_bytes(data)
    frames = open_frames(path)
    count = len(frames.info)
    assert 3 <= count <= 9
    word = "truncated" if how == "cut" else "damaged"
    assert frames.damage.startswith(f"{word}: {count} ")
    assert f"frames can be read, up to {count / 10:.3f} s" in frames.damage
    assert [number_of(frame) for frame in frames.frames(range(count))] == list(range(count))


def test_a_changed_byte_of_a_png_is_noticed(tmp_path: Path) -> None:
    path = animated(tmp_path / "a.png", 6)
    data = bytearray(path.read_bytes())
    at = [place for place in range(len(data)) if data[place : place + 4] == b"fdAT"][2]
    length = struct.unpack_from(">I", data, at - 4)[0]
    body = data[at : at + 4 + length]
    data[at + 4 + length - 6] ^= 1  # a color, and Pillow would not see it
    path.write_bytes(data)
    assert zlib.crc32(body) == int.from_bytes(data[at + 4 + length :][:4], "big")
    assert open_frames(path).damage == "damaged: 3 of 6 frames can be read, up to 0.300 s"


def test_one_picture_is_no_animation(tmp_path: Path) -> None:
    for name in ("a.webp", "a.png", "a.jpg"):
        Image.fromarray(numbered(1)).save(tmp_path / name)
        assert not is_animated(tmp_path / name)
        assert isinstance(open_frames(tmp_path / name), Still)


def test_what_a_gif_is_tells_its_content(tmp_path: Path) -> None:
    animated(tmp_path / "a.webp", 3).rename(tmp_path / "a.gif")
    Image.fromarray(numbered(1)).save(tmp_path / "b.gif", "PNG")
    animated(tmp_path / "c.gif", 3)
    kinds = [type(open_frames(tmp_path / f"{name}.gif")) for name in "abc"]
    assert kinds == [Animation, Still, Video]


def test_an_animation_is_no_frame_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    Image.fromarray(numbered(0)).save(tmp_path / "f/1.webp", lossless=True)
    animated(tmp_path / "f/2.webp")
    with pytest.raises(ClipError, match=r"2\.webp: an animation of 12 frames"):
        list(FrameFolder(tmp_path / "f", 30).frames([0, 1]))


def test_animations_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in/numbered").mkdir(parents=True)
    animated(tmp_path / "in/moving.webp")
    Image.fromarray(numbered(1)).save(tmp_path / "in/still.webp")
    for number in range(8):
        animated(tmp_path / f"in/numbered/{number}.webp", 2)
    manifest = str(tmp_path / "m.csv")
    said = CliRunner().invoke(root, ["manifest", "folder", str(tmp_path / "in"), "--out", manifest]).stderr
    assert "found 9 videos, 1 image" in said
    assert {clip.fps for clip in read_manifest(tmp_path / "m.csv")} == {None}
    assert CliRunner().invoke(root, ["manifest", "check", manifest]).exit_code == 0
    line = ["extract", "--manifest", manifest, "--out", str(tmp_path / "c"), "--json", "color", "--fps", "2"]
    made = CliRunner().invoke(root, line)
    assert made.exit_code == 0
    assert json.loads(made.stdout)["rows"] == 2 + 1 + 8
    store = open_store(tmp_path / "c/color.lmdb")
    assert store["moving"].times.tolist() == [[0, 0.5], [0.5, 1]]

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from media_files import number_of, numbered
from PIL import Image

from egotools.errors import ClipError
from egotools.media.stills import FrameFolder, Stack, Still, read_image
from egotools.media.video import open_frames


def folder_of(path: Path, names: list[str]) -> Path:
    path.mkdir()
    for number, name in enumerate(names):
        Image.fromarray(numbered(number)).save(path / name)
    return path


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.png", "frame9.jpg", "frame10.png", "frame100.png"]
    folder = folder_of(tmp_path / "clip", names)
    (folder / "notes.txt").write_text("not a frame")
    (folder / ".hidden.png").write_bytes(b"")
    frames = FrameFolder(folder, 4)
    assert [number_of(frame) for frame in frames.frames(range(5))] == [0, 1, 2, 3, 4]
    assert frames.info.times.tolist() == [0, 0.25, 0.5, 0.75, 1.0]
    assert (frames.info.end, frames.info.width, frames.info.height) == (1.25, 96, 64)
    assert [number_of(frame) for frame in frames.frames([1, 3])] == [1, 3]


def test_a_folder_or_a_stack_needs_a_frame_rate(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", numbered(0)[None])
    for path in (folder_of(tmp_path / "clip", ["1.png"]), tmp_path / "a.npy"):
        with pytest.raises(ClipError, match="no frame rate; give it in the column fps"):
            open_frames(path)
        with pytest.raises(ClipError, match="fps 0 is not a frame rate"):
            open_frames(path, fps=0)


def test_a_frame_of_another_size_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", ["1.png", "2.png"])
    Image.fromarray(numbered(2, 80, 96)).save(folder / "3.png")
    with pytest.raises(ClipError, match=r"3\.png: 96x80 pixels, but 1\.png is 96x64"):
        list(FrameFolder(folder, 10).frames([0, 1, 2]))


def test_a_damaged_frame_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clip", ["1.jpg", "2.jpg"])
    (folder / "2.jpg").write_bytes((folder / "1.jpg").read_bytes()[:300])
    with pytest.raises(ClipError, match=r"2\.jpg: not an image that can be read"):
        list(FrameFolder(folder, 10).frames([0, 1]))


def test_a_folder_without_images_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    with pytest.raises(ClipError, match="clip: the folder contains no images"):
        FrameFolder(tmp_path / "clip", 10)


def test_frames_beyond_the_last_or_out_of_order_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 8, 3), np.uint8))
    for frames in (FrameFolder(folder_of(tmp_path / "clip", ["1.png"]), 10), Stack(tmp_path / "a.npy", 10)):
        with pytest.raises(ClipError, match="frame 3 does not exist"):
            list(frames.frames([3]))
        with pytest.raises(ValueError, match="ascend"):
            list(frames.frames([0, 0]))


def test_an_image_is_a_video_of_one_frame(tmp_path: Path) -> None:
    Image.fromarray(numbered(77)).save(tmp_path / "a.png")
    still = Still(tmp_path / "a.png")
    assert still.info.times.tolist() == [0]
    assert still.info.end == 1 / 25
    assert [number_of(frame) for frame in still.frames([0])] == [77]
    assert still.info.at([0, 5]).tolist() == [0, 0]


def test_a_photograph_comes_upright(tmp_path: Path) -> None:
    image = Image.fromarray(numbered(5))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    image.save(tmp_path / "a.png", exif=exif)
    still = Still(tmp_path / "a.png")
    np.testing.assert_array_equal(next(still.frames([0])), np.rot90(numbered(5), -1))
    assert (still.info.width, still.info.height) == (64, 96)


def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, rng: np.random.Generator) -> None:
    rgb = rng.integers(0, 255, (6, 5, 3), dtype=np.uint8)
    grey = rgb[..., 0]
    three = np.repeat(grey[..., None], 3, axis=2)
    alpha = np.dstack([rgb, np.arange(30, dtype=np.uint8).reshape(6, 5)])
    deep = grey.astype(np.uint16) * 257
    palette = Image.fromarray(rgb).quantize(16)
    palette.save(tmp_path / "palette.png", transparency=3)
    cases = {
        "grey.png": (Image.fromarray(grey), three),
        "alpha.png": (Image.fromarray(alpha), rgb),
        "deep.png": (Image.fromarray(deep), three),
        "deep.tif": (Image.fromarray(deep), three),
        "ink.tif": (Image.fromarray(rgb).convert("CMYK"), rgb),
    }
    for name, (image, expected) in cases.items():
        image.save(tmp_path / name)
        frame = read_image(tmp_path / name)
        assert frame.flags.c_contiguous, name
        np.testing.assert_allclose(frame, expected, atol=1 if name == "ink.tif" else 0, err_msg=name)
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("content", [b"", b"not an image at all"])
def test_what_is_no_image_is_said_plainly(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ClipError, match=r"a\.png: not an image that can be read"):
        open_frames(tmp_path / "a.png")
    with pytest.raises(ClipError, match=r"b\.png: no such file"):
        open_frames(tmp_path / "b.png")


@pytest.mark.parametrize("grey", [False, True])
def test_a_stack_gives_copies_of_its_frames(grey: bool, tmp_path: Path) -> None:
    array = np.stack([numbered(number) for number in range(4)])
    np.save(tmp_path / "a.npy", array[..., 0] if grey else array)
    stack = Stack(tmp_path / "a.npy", 8)
    frames = list(stack.frames([0, 2, 3]))
    np.testing.assert_array_equal(frames, array[[0, 2, 3]])
    assert all(
        type(frame) is np.ndarray and not isinstance(frame.base, np.memmap) and frame.flags.c_contiguous
        for frame in frames
    )
    assert stack.info.end == 0.5


def test_stacks_of_another_kind_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "float.npy", np.zeros((2, 4, 4, 3), np.float32))
    np.save(tmp_path / "four.npy", np.zeros((2, 4, 4, 4), np.uint8))
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 4, 3), np.uint8))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    whole = (tmp_path / "float.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[:-8])
    (tmp_path / "text.npy").write_text("hello")
    messages = {"float": "uint8", "four": "uint8", "none": "contains no frames", "objects": "not a", "cut": "truncated"}
    for name, message in {**messages, "text": "not a .npy array", "absent": "no such file"}.items():
        with pytest.raises(ClipError, match=rf"{name}\.npy: .*{message}"):
            Stack(tmp_path / f"{name}.npy", 10)


def test_a_real_frame_folder_is_read(shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "data/images/epic_p01_01_frames.zip") as archive:
        names = [name for name in archive.namelist() if "rgb" in name.lower() and name.endswith(".jpg")]
        archive.extractall(tmp_path, names)
    folder = (tmp_path / names[0]).parent
    frames = open_frames(folder, fps=60)
    assert len(frames.info) == len(names)
    for name, frame in zip(sorted(names), frames.frames(range(len(names))), strict=True):
        np.testing.assert_array_equal(frame, np.asarray(Image.open(tmp_path / name).convert("RGB")))


def test_grey_frames_may_have_an_axis_of_one_channel(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1)
    np.save(tmp_path / "a.npy", array)
    frames = list(Stack(tmp_path / "a.npy", 8).frames([0, 1]))
    np.testing.assert_array_equal(np.stack(frames), np.repeat(array, 3, axis=3))


@pytest.mark.parametrize(
    ("shape", "size", "said"),
    [
        ((2**40, 1, 1, 3), 3 * 2**40 + 128, "1099511627776 frames; at most 10 million"),
        ((2**62, 24, 24, 3), 1000, "not a .npy array, or truncated"),
        ((2**32, 2**32, 2**32, 3), 128, "not a .npy array, or truncated"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_stack_that_declares_countless_frames_is_one_line(
    tmp_path: Path, shape: tuple[int, ...], size: int, said: str
) -> None:
    path = tmp_path / "countless.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(size)
    with pytest.raises(ClipError, match=said):
        Stack(path, 30.0)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (
            (64, 96, 3),
            "may be one picture of 96x64 pixels or 64 gray frames of 3x96; save the picture as [1, 64, 96, 3]",
        ),
        ((64, 96, 1), "save the picture as [1, 64, 96, 1], or the frames as [64, 96, 1, 1]"),
        ((64, 96, 4), "may be one picture of 4 channels"),
        (
            (3, 64, 96),
            "may be one picture of 96x64 pixels or 3 gray frames of 96x64; save the picture as [1, 64, 96, 3]",
        ),
        ((64, 96), "not uint8 [64, 96]; save one picture as [1, 64, 96]"),
        ((4, 3, 64, 96), "not uint8 [4, 3, 64, 96]"),
    ],
)
def test_an_array_that_may_be_one_picture_is_refused(shape: tuple[int, ...], said: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ClipError) as caught:
        Stack(tmp_path / "a.npy", 30)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "shape", [(1, 64, 96, 3), (64, 96, 3, 1), (1, 64, 96), (20, 64, 96), (20, 64, 5), (3, 8, 8, 1)]
)
def test_an_array_that_is_certain_goes_on(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    assert next(Stack(tmp_path / "a.npy", 30).frames([0])).shape == (*shape[1:3], 3)

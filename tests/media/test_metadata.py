"""Pictures with odd metadata: read, upright where it is known how, or the failure of one clip."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from egotools.cli.main import root
from media_files import numbered
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from egotools.errors import ClipError
from egotools.media.stills import FrameFolder, Still
from egotools.media.video import open_frames
from egotools.stores import open_store

TURNED = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
NOT_A_NUMBER = struct.pack(">HHI4s", 0x0101, 11, 1, struct.pack(">f", float("nan")))


def block(*entries: bytes, head: bytes = b"MM\0*") -> bytes:
    """EXIF data of those entries, in the order that the format wants."""
    return b"Exif\0\0" + head + struct.pack(">IH", 8, len(entries)) + b"".join(sorted(entries)) + bytes(4)


def orientation(form: int, value: bytes) -> bytes:
    return struct.pack(">HHI4s", 0x0112, form, 1 if form != 2 else len(value), value)


def with_preview(picture: bytes, preview: bytes) -> bytes:
    """Two JPEGs as a phone puts them into one file (MPO); by hand, as early Pillows wrote broken ones."""
    start, length = 10, 50 + 32  # of the index among the bytes, and its length
    whole = len(picture) + 8 + length
    tags = [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack(">I", 2)), (0xB002, 7, 32, struct.pack(">I", 50))]
    index = b"MM\0*" + struct.pack(">IH", 8, 3) + b"".join(struct.pack(">HHI4s", *tag) for tag in tags) + bytes(4)
    for size, offset in ((whole, 0), (len(preview), whole - start)):
        index += struct.pack(">IIIHH", 0, size, offset, 0, 0)
    return picture[:2] + b"\xff\xe2" + struct.pack(">H", 6 + length) + b"MPF\0" + index + picture[2:] + preview


UPRIGHT = numbered(5)
RIGHT = np.rot90(UPRIGHT, -1)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize(
    ("exif", "turned", "said"),
    [
        pytest.param(block(TURNED, NOT_A_NUMBER), True, "", id="a tag that is not a number"),
        pytest.param(block(TURNED, struct.pack(">HHII", 0x8769, 4, 1, 70_000)), True, "", id="a block beyond the end"),
        pytest.param(block(TURNED, struct.pack(">HHII", 0x010F, 77, 5, 1)), True, "", id="a tag of no type"),
        pytest.param(block(TURNED)[:-4], True, "", id="cut short"),
        pytest.param(block(orientation(3, b"\0\x09\0\0")), False, "orientation is '9'", id="orientation 9"),
        pytest.param(block(orientation(2, b"up\0")), False, "orientation is 'up'", id="orientation as text"),
        pytest.param(block(orientation(2, b"6\0")), True, "", id="orientation as a digit"),
        pytest.param(block(orientation(1, b"\6\0\0\0")), True, "", id="orientation as a byte"),
        pytest.param(block(orientation(3, b"\0\0\0\0")), False, "", id="orientation 0"),
        pytest.param(block(TURNED, head=b"XX\0*"), False, None, id="no EXIF data"),
    ],
)
def test_a_picture_with_odd_exif_is_read(
    exif: bytes, turned: bool, said: str | None, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(UPRIGHT).save(path, exif=exif, lossless=True, quality=95)
    still = Still(path)
    np.testing.assert_allclose(next(still.frames([0])), RIGHT if turned else UPRIGHT, atol=25)
    assert said is None or len(still.remarks) == bool(said)
    assert all((said or "EXIF data cannot be read") in remark for remark in still.remarks)


@pytest.mark.parametrize(
    "raised",
    [ZeroDivisionError("division by zero"), struct.error("odd"), OverflowError("too large"), RecursionError("too deep"),
     SyntaxError("not a TIFF file"), UnicodeDecodeError("utf-8", b"a", 0, 1, "no"), KeyError(3), MemoryError()],
)  # fmt: skip
def test_whatever_pillow_raises_is_said_of_one_file(
    raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png")

    def fail(*_: object) -> None:
        raise raised

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "getexif", fail)
        still = Still(tmp_path / "a.png")
    np.testing.assert_array_equal(next(still.frames([0])), UPRIGHT)
    assert len(still.remarks) == 1
    assert "EXIF data cannot be read" in still.remarks[0]
    for owner, name in ((Image, "open"), (Image.Image, "convert")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(ClipError, match=r"a\.png: not an image that can be read"):
                Still(tmp_path / "a.png")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("kind", [b"iCCP", b"eXIf", b"tEXt"])
def test_metadata_of_a_png_with_a_wrong_check_sum_ends_nothing(kind: bytes, count: int, tmp_path: Path) -> None:
    images = [Image.fromarray(numbered(number + 5)) for number in range(count)]
    text = PngInfo()
    text.add_text("Comment", "fine")
    path = tmp_path / "a.png"
    icc = b"".join(struct.pack(">I", each) for each in range(40))
    more = {"save_all": True, "append_images": images[1:], "duration": 100} if count > 1 else {}
    images[0].save(path, icc_profile=icc, exif=block(NOT_A_NUMBER), pnginfo=text, **more)
    data = bytearray(path.read_bytes())
    data[data.index(kind) + 8] ^= 1
    path.write_bytes(data)
    frames = open_frames(path)
    np.testing.assert_array_equal(next(frames.frames([0])), UPRIGHT)
    assert len(frames.info) == count
    assert frames.remarks == ["its metadata cannot be read; the picture is used as it is stored"]
    assert frames.damage == ""


def test_a_comment_that_is_too_long_for_pillow_ends_nothing(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("Comment", "x" * (2 << 20), zip=True)
    Image.fromarray(UPRIGHT).save(tmp_path / "a.png", pnginfo=text)
    np.testing.assert_array_equal(next(Still(tmp_path / "a.png").frames([0])), UPRIGHT)


def test_frames_that_are_odd_in_one_way_are_named_once(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    for number in range(4):
        exif = block(orientation(3, b"\0\x09\0\0")) if number else b""
        Image.fromarray(numbered(number)).save(tmp_path / f"f/{number}.png", exif=exif)
    frames = FrameFolder(tmp_path / "f", 30)
    assert len(list(frames.frames(range(4)))) == 4
    assert frames.remarks == ["1.png: its EXIF orientation is '9', not 1 to 8; the picture is used as it is stored"]


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_turned_tiff_is_turned_once(compression: str | None, tmp_path: Path) -> None:
    tags = ImageFileDirectory_v2()
    tags[0x0112] = 6
    Image.fromarray(UPRIGHT).save(tmp_path / "a.tif", tiffinfo=tags, compression=compression)
    still = Still(tmp_path / "a.tif")
    np.testing.assert_array_equal(next(still.frames([0])), RIGHT)
    assert still.remarks == []


def test_pages_and_previews(tmp_path: Path) -> None:
    pictures = [Image.fromarray(numbered(number)) for number in range(3)]
    pictures[0].save(tmp_path / "pages.tif", save_all=True, append_images=pictures[1:])
    jpegs = []
    for picture in pictures[:2]:
        picture.save(tmp_path / "one.jpg", quality=95)
        jpegs.append((tmp_path / "one.jpg").read_bytes())
    (tmp_path / "preview.jpg").write_bytes(with_preview(*jpegs))
    with Image.open(tmp_path / "preview.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    pages, preview = Still(tmp_path / "pages.tif"), Still(tmp_path / "preview.jpg")
    assert pages.remarks == ["the first of 3 pictures in the file is used"]
    assert preview.remarks == []
    for still in (pages, preview):
        np.testing.assert_allclose(next(still.frames([0])), numbered(0), atol=25)


def test_a_photo_with_odd_exif_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(UPRIGHT).save(tmp_path / "in/a-nan.jpg", exif=block(TURNED, NOT_A_NUMBER))
    Image.fromarray(numbered(6)).save(tmp_path / "in/good.jpg")
    manifest = str(tmp_path / "m.csv")
    for line in (
        ["manifest", "folder", str(tmp_path / "in"), "--out", manifest],
        ["manifest", "check", manifest],
        ["manifest", "windows", manifest, "--length", "1", "--out", str(tmp_path / "w.csv")],
        ["extract", "--manifest", manifest, "--out", str(tmp_path / "c"), "color", "--fps", "2"],
    ):
        assert CliRunner().invoke(root, line).exit_code == 0, line
    assert set(open_store(tmp_path / "c/color.lmdb")) == {"a-nan", "good"}

"""Files that no decoder was written for: each is the failure of its own clip, in one line, and costs little."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import number_of, write_sound, write_video
from PIL import Image

import egotools.media.stills
import egotools.media.video
from egotools.errors import ClipError
from egotools.media.audio import open_sound, read_sound
from egotools.media.limits import reading
from egotools.media.sound.steady_sound import PIECE
from egotools.media.video import Video, open_frames

DAY = 86400


def wav(path: Path, samples: np.ndarray, rate: int = 8000, *, form: int = 1) -> Path:
    """A WAV of 16-bit samples [N, C], written by hand: any number of channels, any format number."""
    channels, data = samples.shape[1], samples.astype("<i2").tobytes()
    head = struct.pack("<HHIIHH", form, channels, rate, rate * channels * 2, channels * 2, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)
    return path


def npy(path: Path, header: str, data: bytes = b"") -> Path:
    """A `.npy` file with that header, whatever it says."""
    text = header.encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)
    return path


def patched(path: Path, box: bytes, offset: int, value: int) -> None:
    """Sets a 32-bit number of an MP4's box."""
    data = bytearray(path.read_bytes())
    at = data.index(box) - 4 + offset
    data[at : at + 4] = struct.pack(">I", value)
    path.write_bytes(bytes(data))


def lasting(path: Path, seconds: int) -> Path:
    """An MP4 or M4A file whose every picture, or packet of sound, lasts so many seconds."""
    if path.suffix == ".mp4":
        write_video(path, 10, options={"bf": "0"}, container_options={"use_editlist": "0"})
    else:
        write_sound(path, np.ones((1, 16000)) * 0.1, 16000, codec="aac", format="fltp")
    patched(path, b"mdhd", 20, 1)
    patched(path, b"stts", 20, seconds)
    return path


@pytest.mark.parametrize(
    "raised",
    [AttributeError("x"), IndexError(), OverflowError("y"), MemoryError(), RecursionError(), struct.error("z"),
     SyntaxError("two\nlines"), UnicodeDecodeError("utf-8", b"a", 0, 1, "no"), OSError(24, "Too many open files")],
)  # fmt: skip
def test_whatever_a_decoder_raises_is_one_line_about_the_file(raised: Exception) -> None:
    with pytest.raises(ClipError, match=r"^a\.mp4: cannot be read: .+") as caught, reading(Path("a.mp4")):
        raise raised
    assert "\n" not in str(caught.value)


def test_what_interrupts_is_not_the_fault_of_a_file() -> None:
    with pytest.raises(KeyboardInterrupt), reading(Path("a.mp4")):
        raise KeyboardInterrupt


def test_a_decoder_that_fails_in_any_way_fails_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", 5)
    video = Video(path)
    monkeypatch.setattr(egotools.media.video.Pictures, "picture", lambda *_: [][0])
    with pytest.raises(ClipError, match=r"a\.mp4: cannot be read: list index out of range"):
        next(video.frames([0]))
    with pytest.raises(ValueError, match="ascend"):  # a mistake of who asks, not of the file
        next(video.frames([1, 0]))


def test_damaged_headers_of_arrays_are_said_in_one_line(tmp_path: Path) -> None:
    shape = "{'descr': '|u1', 'fortran_order': False, 'shape': %s}"
    headers = {
        "open": "{'descr': '|u1', 'fortran_order': False, 'shape': (4, 8, 8, 3",  # TokenError
        "deep": shape % ("(" * 3000 + ")" * 3000),  # MemoryError or RecursionError
        "negative": shape % "(-4, 8, 8, 3)",  # OverflowError or ValueError
        "absurd": shape % "(4, 99999999999999999999, 8, 3)",
        "more": shape % "(4, 8, 8, 3)",  # than there is
        "text": shape % "('4', 8, 8, 3)",
        "none": shape % "(0, 8, 8, 3)",
    }
    for name, header in headers.items():
        path = npy(tmp_path / f"{name}.npy", header, b"abc")
        with pytest.raises(ClipError, match=rf"{name}\.npy: ") as caught:
            open_frames(path, 10)
        assert "\n" not in str(caught.value)


def test_frames_larger_than_the_limit_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.npy"
    np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(1, 100_000, 100_000, 3)).flush()  # sparse
    with pytest.raises(ClipError, match=r"100000x100000 pixels; at most 179 million"):
        open_frames(path, 10)
    picture = tmp_path / "huge.png"
    Image.new("L", (8, 8)).save(picture)
    data = bytearray(picture.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    picture.write_bytes(bytes(data))
    with pytest.raises(ClipError, match=r"huge\.png: "):
        open_frames(picture)
    gif = tmp_path / "huge.gif"
    Image.new("P", (8, 8)).save(gif, save_all=True, append_images=[Image.new("P", (8, 8), 1)])
    data = bytearray(gif.read_bytes())
    data[6:10] = struct.pack("<HH", 60_000, 60_000)
    gif.write_bytes(bytes(data))
    with pytest.raises(ClipError, match=r"huge\.gif: .*a frame of more than 179 million pixels"):
        open_frames(gif)


def test_an_image_is_made_rgb_band_by_band(
    tmp_path: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = rng.integers(0, 256, (37, 11, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(expected).save(tmp_path / "a.png", exif=exif)
    monkeypatch.setattr(egotools.media.stills, "BAND_PIXELS", 100)
    np.testing.assert_array_equal(next(open_frames(tmp_path / "a.png").frames([0])), np.rot90(expected, -1))


@pytest.mark.parametrize("each", [10**5, 10**7, 2 * 10**9])
@pytest.mark.parametrize("name", ["a.mp4", "a.m4a"])
def test_a_few_pictures_or_packets_do_not_last_for_months(name: str, each: int, tmp_path: Path) -> None:
    path = lasting(tmp_path / name, each)
    there = "10 frames" if name == "a.mp4" else r"\d+ audio packets?"
    with pytest.raises(ClipError, match=rf"{name}: .*claims to last \d{{6,}} s, but it holds {there}"):
        (open_frames if name == "a.mp4" else open_sound)(path)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".gif"])
def test_one_jump_of_the_clock_is_named(suffix: str, tmp_path: Path) -> None:
    if suffix == ".avi":  # which has a rate, and no time stamps
        path = write_video(tmp_path / "a.avi", 10, codec="mpeg4")
        data = bytearray(path.read_bytes())
        at = data.index(b"strh") + 8 + 20
        data[at : at + 8] = struct.pack("<II", 100_000, 1)  # seconds a frame
        path.write_bytes(bytes(data))
    elif suffix == ".gif":
        frames = [Image.new("L", (8, 8), value) for value in range(0, 250, 25)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=655_350)
        assert open_frames(tmp_path / "a.gif").info.end == pytest.approx(6553.5)  # the longest that a GIF can say
        return
    else:
        path = write_video(tmp_path / f"a{suffix}", 10, ticks=[*range(9), 30 * 104_000], options={"bf": "0"})
    with pytest.raises(ClipError, match=r"with a gap of 10\d{4} s"):
        open_frames(path)


@pytest.mark.parametrize(
    "ticks",
    [
        pytest.param([*range(5), *range(20 * 3600, 20 * 3600 + 5)], id="a pause of twenty hours"),
        pytest.param(range(0, 50 * 3600, 3600), id="a picture an hour for two days"),
    ],
)
def test_long_times_that_can_be_are_read(ticks: range, tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "a.mkv", len(ticks), rate=1, ticks=ticks, options={"bf": "0"}))
    np.testing.assert_allclose(video.info.times, list(ticks), atol=1e-3)
    assert number_of(video.at(ticks[-1] - 0.5)) == len(ticks) - 2


def test_a_stack_whose_frames_show_for_days_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(ClipError, match="it claims to last 2000000 s, but it holds 2 frames"):
        open_frames(tmp_path / "a.npy", 1e-6)


def test_silence_for_hours_is_made_piece_by_piece(tmp_path: Path) -> None:
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono", format="s16")
        for first in (0, 8000 * 3600 * 3):
            frame = av.AudioFrame.from_ndarray(np.full((1, 800), 8192, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, first, Fraction(1, 8000)
            container.mux(stream.encode(frame))
    sound = open_sound(path)
    assert sound.info.end == pytest.approx(3 * 3600 + 0.1)
    first, gap = sound.windows(np.array([0.0, 60.0]), 1600, 8000)
    assert (first != 0).sum() == 800
    assert not gap.any()
    sound.close()


@pytest.mark.parametrize("channels", [2, 8, 9, 64, 200])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_any_number_of_channels_is_mixed_to_their_mean(channels: int, rate: int, tmp_path: Path) -> None:
    tones = np.sin(np.arange(4000)[:, None] / 20) * 8000 * np.linspace(0, 1, channels)
    mixed, _ = read_sound(wav(tmp_path / "a.wav", tones), rate=rate)
    moments = np.arange(len(mixed)) * 8000 / rate
    expected = np.sin(moments / 20) * 4000 / 32768
    inner = slice(200, -200)  # the filter's ends
    np.testing.assert_allclose(mixed[inner], expected[inner], atol=2e-4)


def test_more_channels_than_the_resampler_takes_are_refused_unmixed(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.zeros((800, 64)))
    assert read_sound(path, mono=False)[0].shape == (64, 800)
    with pytest.raises(ClipError, match="with 64 channels only their mean can be resampled"):
        read_sound(path, rate=16000, mono=False)


def test_sound_of_an_unknown_kind_is_said_so(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.zeros((800, 1)), form=0x7777)
    with pytest.raises(ClipError, match="its audio codec cannot be decoded"):
        open_sound(path)


def test_a_low_rate_is_resampled_in_small_pieces(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.full((600, 1), 8192), rate=8)
    sound = open_sound(path)
    (window,) = sound.windows(np.array([30.0]), 16000, 16000)
    np.testing.assert_allclose(window, 0.25, atol=1e-3)
    reading = sound._reading or pytest.fail("the reading goes on")
    assert max(piece.shape[1] for piece in reading.held[16000].pieces) <= 2 * PIECE
    sound.close()


def test_a_caption_that_comes_late_changes_no_frame_of_flv(tmp_path: Path) -> None:
    plain = write_video(tmp_path / "plain.flv", 20, codec="flv1", size=(48, 64))
    body = b"\x02\x00\x0aonTextData" + b"\x08\x00\x00\x00\x01\x00\x04text\x02\x00\x05hello\x00\x00\x09"
    tag = bytes([18]) + len(body).to_bytes(3, "big") + (600).to_bytes(3, "big") + bytes(4) + body
    text, more = tmp_path / "text.flv", write_video(tmp_path / "more.flv", 20, codec="flv1", size=(48, 64))
    caption = tag + struct.pack(">I", len(tag))
    text.write_bytes(plain.read_bytes() + caption + more.read_bytes()[13:])  # amid the pictures
    expected = list(Video(plain).frames(range(20)))
    for path in (text, plain):
        found = list(Video(path).frames(range(20)))
        assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
    plain.write_bytes(plain.read_bytes() + caption)
    assert len(Video(plain).info) == 20

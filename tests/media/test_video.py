"""Every frame that comes out says its own number, so that a wrong frame cannot pass for the right one."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from media_files import number_of, numbered, numbers, write_video
from PIL import Image

from egotools.errors import ClipError
from egotools.media.containers import open_container
from egotools.media.stills import FrameFolder, Stack, Still
from egotools.media.video import Video, open_frames

KINDS: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": {"bf": "3", "g": "20"}},
    "h264.mkv": {"options": {"bf": "3", "g": "20"}},
    "open-gop.mp4": {"options": {"x264-params": "open-gop=1:keyint=16:min-keyint=16:scenecut=0:bframes=3"}},
    "intra-refresh.mp4": {"options": {"x264-params": "intra-refresh=1:keyint=16"}},  # key frames that are none
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "open-gop=1:keyint=16:log-level=none"}},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "2"}},
    "h264.avi": {"options": {"bf": "3"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},
    "h264.ts": {"options": {"bf": "3", "g": "16"}},
    "raw.h264": {"options": {"bf": "3"}},
    "fragments.mp4": {"options": {"g": "16"}, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "grey.mkv": {"codec": "ffv1", "pixels": "gray"},
    "grey10.mkv": {"codec": "ffv1", "pixels": "gray10le"},
    "ten-bit.mp4": {"pixels": "yuv420p10le"},
    "prores.mov": {"codec": "prores_ks", "pixels": "yuv422p10le"},
    "odd.mkv": {"pixels": "yuv444p", "size": (65, 97)},
    "odd.webm": {"codec": "libvpx-vp9", "size": (65, 97), "options": {"cpu-used": "8", "deadline": "realtime"}},
    "picture.gif": {"codec": "gif", "pixels": "rgb8", "rate": 25},
    "late.mp4": {"ticks": range(45, 105)},
    "late.mkv": {"ticks": range(45, 105)},
    "uneven.mp4": {"rate": 1000, "ticks": [33 * i + 4 * (i % 7) + 500 * (i > 30) for i in range(60)]},
}


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_of_every_kind_of_file_is_the_one_asked_for(name: str, tmp_path: Path, rng: Any) -> None:
    video = Video(write_video(tmp_path / name, **KINDS[name]))
    height, width = KINDS[name].get("size", (64, 96))
    assert (video.info.height, video.info.width, video.damage) == (height, width, "")
    assert (np.diff(video.info.times) > 0).all()
    assert video.info.end > video.info.times[-1]
    assert numbers(video, range(60)) == list(range(60))
    for index in rng.integers(0, 60, 25).tolist():
        assert numbers(video, [index]) == [index]
    for gap in (2, 7, 19):
        assert numbers(video, range(1, 60, gap)) == list(range(1, 60, gap))
    frame = next(video.frames([3]))
    assert frame.shape == (height, width, 3)
    assert frame.dtype == np.uint8
    assert frame.flags.c_contiguous


def test_a_frame_shows_until_the_next_begins_also_at_an_uneven_rate(tmp_path: Path) -> None:
    ticks = [200, 300, 350, 1000, 1010, 1500]
    video = Video(write_video(tmp_path / "uneven.mp4", 6, rate=1000, ticks=ticks))
    assert video.info.times == pytest.approx(np.array(ticks) / 1000)
    moments = {0.0: 0, 0.2: 0, 0.299: 0, 0.3: 1, 0.34: 1, 0.36: 2, 0.99: 2, 1.0: 3, 1.2: 4, 1.6: 5, 99.0: 5}
    assert {moment: number_of(video.at(moment)) for moment in moments} == moments


def test_frames_are_bit_equal_to_what_pyav_gives(tmp_path: Path, rng: Any) -> None:
    images = [rng.integers(0, 255, (64, 96, 3), dtype=np.uint8) for _ in range(5)]
    for pixels in ("yuv420p", "yuv422p10le", "gray"):
        path = write_video(tmp_path / f"{pixels}.mp4", images, pixels=pixels)
        with av.open(str(path)) as container:
            expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        np.testing.assert_array_equal(list(Video(path).frames(range(5))), expected)


ONE = 1 << 16
# Rows are x' = a x + c y and y' = b x + d y; what NumPy does to get the upright picture from the coded one.
MATRICES = {
    "clockwise": ((0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30), lambda image: np.rot90(image, -1)),
    "half": ((-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), lambda image: np.rot90(image, 2)),
    "counterclockwise": ((0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda image: np.rot90(image, 1)),
    "mirrored": ((-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30), lambda image: image[:, ::-1]),
    "upside down": ((ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30), lambda image: image[::-1]),
    "transposed": ((0, ONE, 0, ONE, 0, 0, 0, 0, 1 << 30), lambda image: image.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_rotated_and_mirrored_videos_come_upright(name: str, suffix: str, tmp_path: Path) -> None:
    matrix, upright = MATRICES[name]
    coded = next(Video(write_video(tmp_path / f"plain{suffix}", 3)).frames([2]))
    path = write_video(tmp_path / f"turned{suffix}", 3, matrix=matrix)
    index = None
    for _ in range(2):  # the second time from what the first has found out
        video = Video(path, index=index)
        index = video.index
        frame = next(video.frames([2]))
        np.testing.assert_array_equal(frame, upright(coded))
        assert (video.info.height, video.info.width) == frame.shape[:2]
        assert frame.flags.c_contiguous


def test_one_frame_calls_in_ascending_order_cost_one_decode(tmp_path: Path, decoded_count: list[int]) -> None:
    video = Video(write_video(tmp_path / "long.mp4", 200, options={"g": "10"}))
    decoded_count[0] = 0
    for index in range(200):
        assert numbers(video, [index]) == [index]
        assert numbers(video, [index]) == [index]  # the frame decoded last is still there
    assert decoded_count[0] <= 200


def test_a_far_frame_is_reached_over_a_key_frame(tmp_path: Path, decoded_count: list[int]) -> None:
    video = Video(write_video(tmp_path / "long.mp4", 200, options={"g": "20"}))
    decoded_count[0] = 0
    assert numbers(video, [5, 150, 190]) == [5, 150, 190]
    assert decoded_count[0] < 60
    decoded_count[0] = 0
    assert numbers(video, [0, 10, 20, 30]) == [0, 10, 20, 30]
    assert decoded_count[0] <= 31


@pytest.mark.parametrize("indices", [[3, 3], [5, 2], [-1, 0]])
def test_indices_that_do_not_ascend_are_refused(indices: list[int], tiny_video: Path) -> None:
    with pytest.raises(ValueError, match="ascend"):
        list(Video(tiny_video).frames(indices))


def test_a_frame_past_the_end_is_named(tiny_video: Path) -> None:
    with pytest.raises(ClipError, match=r"tiny\.mp4: frame 20 does not exist; the last one is 19"):
        list(Video(tiny_video).frames([19, 20]))


def test_a_change_of_size_amid_a_video_is_named(tmp_path: Path) -> None:
    images = [*(numbered(index) for index in range(5)), *(numbered(index, 128, 160) for index in range(5, 8))]
    pictures = []
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{index}.jpg", quality=95)
        pictures.append((tmp_path / f"{index}.jpg").read_bytes())
    path = tmp_path / "both.mjpeg"
    path.write_bytes(b"".join(pictures))
    video = Video(path)
    assert numbers(video, range(5)) == list(range(5))
    assert [frame.shape for frame in video.frames(range(5, 8))] == [(64, 96, 3)] * 3
    (remark,) = [remark for remark in video.remarks if "pixels" in remark]
    assert remark.startswith("the frame at 0.200 s has 160x128 pixels, the first one 96x64")


def test_frames_are_opened_by_what_they_lie_in(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    Image.fromarray(numbered(1)).save(folder / "1.png")
    np.save(tmp_path / "stack.npy", numbered(2)[None])
    write_video(tmp_path / "video.bin", 3, format="matroska")
    kinds = {"frames": FrameFolder, "frames/1.png": Still, "stack.npy": Stack, "video.bin": Video}
    for name, kind in kinds.items():
        frames = open_frames(tmp_path / name, fps=10)
        assert isinstance(frames, kind)
        assert len(frames.info) == (3 if kind is Video else 1)
        frames.close()


@pytest.mark.parametrize(
    "name", ["RATRACE_wave_f_nm_np1_fr_goo_37.avi", "nasa_13013.mp4", "asl/eat.mkv", "v_GGSY1Qvo990.mp4", "bikes.mp4"]
)
def test_frames_of_real_clips_are_those_of_a_plain_decoding_loop(name: str, shared: Path) -> None:
    path = shared / "data/videos" / name
    with open_container(path) as container:
        expected = [frame.to_ndarray(format="rgb24")[::8, ::8] for frame in container.decode(video=0)]
    video = Video(path)
    for index in (0, 40, 41, 12, len(expected) - 1, 30):
        np.testing.assert_array_equal(next(video.frames([index]))[::8, ::8], expected[index])


def test_a_long_stream_is_entered_anywhere(shared: Path) -> None:
    video = Video(shared / "data/streams/rc_track1.mp4")
    assert len(video.info) == 12000
    assert video.info.fps == pytest.approx(20)
    later = next(video.frames([9000]))
    again = list(video.frames(range(8990, 9001)))[-1]
    np.testing.assert_array_equal(later, again)


def test_jumping_at_once_into_a_file_gives_the_pictures_that_decoding_it_gives(shared: Path) -> None:
    path = shared / "data/videos/cockatoo.mp4"  # 4:4:4 by an x264 that decoders must know of, which frame 0 tells
    wanted = list(Video(path).frames(range(141)))[140]
    index = Video(path).index
    assert np.array_equal(next(Video(path, index=index).frames([140])), wanted)  # nothing was decoded before


def test_decoded_frames_are_let_go_at_once(tiny_video: Path) -> None:
    gc.collect()
    gc.disable()  # frames are large, and wait long for it
    try:
        list(Video(tiny_video).frames(range(20)))
        alive = sum(type(each) is av.VideoFrame for each in gc.get_objects())
    finally:
        gc.enable()
    assert alive < 8


def test_a_known_file_whose_headers_do_not_suffice_is_opened_fully(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "long.mp4", 40, options={"g": "10"})
    index = Video(path).index
    quick, whole, opened = Video(path, index=index), Video._whole, []
    assert numbers(quick, [3, 25]) == [3, 25]
    assert quick._is_quick

    def lost(video: Video, *where: Any) -> Any:
        opened.append(video._is_quick)
        return None if video._is_quick else whole(video, *where)

    monkeypatch.setattr(Video, "_whole", lost)
    assert numbers(Video(path, index=index), [3, 25]) == [3, 25]
    assert opened == [True, False, False]

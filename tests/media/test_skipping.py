"""What is passed over changes not one byte of the frames that are asked for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import noisy, number_of, numbers, write_video

from egotools.media.video import Video

FRAMES = 60
X264 = "b-adapt=0:scenecut=0:keyint=20:min-keyint=20"
X265 = "b-adapt=0:scenecut=0:keyint=20:min-keyint=20:bframes=3:log-level=none"
B_FRAMES: dict[str, dict[str, Any]] = {  # files in which something can be passed over
    "pyramid.mp4": {
        "options": {"x264-params": f"{X264}:bframes=5:b-pyramid=normal:weightb=1:weightp=2:direct=temporal"}
    },
    "open-gop.mkv": {"options": {"x264-params": f"{X264}:bframes=3:open-gop=1"}},
    "h264.ts": {"options": {"x264-params": f"{X264}:bframes=2"}},
    "fields.ts": {"options": {"x264-params": f"{X264}:bframes=2:interlaced=1"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": f"{X265}:open-gop=1:b-pyramid=1:weightb=1"}},
    "hevc.ts": {"codec": "libx265", "options": {"x265-params": X265}},
    "mpeg1.mpg": {"codec": "mpeg1video", "rate": 25, "options": {"bf": "2", "g": "15"}},
    "mpeg2.mpg": {"codec": "mpeg2video", "rate": 25, "options": {"bf": "2", "g": "15"}},
    "interlaced.mpg": {"codec": "mpeg2video", "rate": 25, "options": {"bf": "2", "g": "15", "flags": "+ildct+ilme"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "20"}},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"bf": "2", "g": "20", "flags": "+qpel+mv4"}},
    "mjpeg.avi": {"codec": "mjpeg", "pixels": "yuvj420p"},  # whose pictures all stand alone
}
OTHERS: dict[str, dict[str, Any]] = {  # in which nothing can, or not safely
    "no-b.mp4": {"options": {"x264-params": f"{X264}:bframes=0"}},
    "fields.mp4": {"options": {"x264-params": f"{X264}:bframes=2:interlaced=1"}},
    "layers.mp4": {"codec": "libx265", "options": {"x265-params": f"{X265}:temporal-layers=3"}},
    "layers.ts": {"codec": "libx265", "options": {"x265-params": f"{X265}:temporal-layers=3"}},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "good", "auto-alt-ref": "1", "lag-in-frames": "8"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "8"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "av1.ivf": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
}


@pytest.mark.parametrize("name", [*B_FRAMES, *OTHERS])
def test_frames_are_the_same_to_the_bit_whatever_lies_between_them(
    name: str, tmp_path: Path, rng: np.random.Generator, decoded_count: list[int]
) -> None:
    path = write_video(tmp_path / name, noisy(FRAMES), **{**B_FRAMES, **OTHERS}[name])
    every = list(Video(path).frames(range(FRAMES)))
    assert all(not np.array_equal(one, other) for one, other in pairwise(every))
    video = Video(path)
    for count in (1, 2, 5, 12, 30):
        wanted = np.sort(rng.choice(FRAMES, count, replace=False))
        for index, frame in zip(wanted, video.frames(wanted), strict=True):
            np.testing.assert_array_equal(frame, every[index], str(index))
    for start in range(0, FRAMES, 10):  # clips one after another
        assert numbers(video, range(start + 1, start + 10, 4)) == list(range(start + 1, start + 10, 4))
    decoded_count[0] = 0
    np.testing.assert_array_equal(list(Video(path).frames([0, 57])), [every[0], every[57]])
    if name in B_FRAMES and not name.endswith(("mp4", "mkv")):  # those are entered at a key frame
        assert decoded_count[0] < 0.8 * FRAMES
    if name == "layers.ts":
        assert decoded_count[0] >= 58


def test_what_one_call_passed_over_another_may_want(tmp_path: Path) -> None:
    for name in ("pyramid.mp4", "mpeg4.avi"):
        video = Video(write_video(tmp_path / name, FRAMES, **B_FRAMES[name]))
        some = video.frames([2, 9, 50])
        assert number_of(next(some)) == 2
        assert number_of(next(some)) == 9
        for index in (10, 11, 12, 13):  # the decoder may have taken them in when it gave frame 9
            assert numbers(video, [index]) == [index]
        every = video.frames(range(14, 40))
        assert [number_of(next(every)) for _ in range(14, 17)] == [14, 15, 16]
        assert number_of(next(some)) == 50
        assert [number_of(frame) for frame in every] == list(range(17, 40))


def test_a_second_clip_does_not_begin_at_the_key_frame_again(tmp_path: Path, decoded_count: list[int]) -> None:
    options = {"x264-params": "b-adapt=0:scenecut=0:keyint=100:bframes=3"}
    video = Video(write_video(tmp_path / "long.mp4", 100, options=options))
    decoded_count[0] = 0
    for start in range(0, 100, 10):
        assert numbers(video, [start, start + 5]) == [start, start + 5]
    assert decoded_count[0] <= 100

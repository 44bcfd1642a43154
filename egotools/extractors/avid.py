"""The backbones of RepLAI and AVID as extractors: of frames a row a window, of sound a row a window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from egotools.config import option
from egotools.errors import ClipError, WeightsError
from egotools.extractors.backbone import trained_options
from egotools.extractors.sound_networks import SoundNetwork, SoundWindows
from egotools.nn.r2plus1d import Depth, R2Plus1D
from egotools.nn.spec_cnn import AvidSpecCnn9, SpecCnn
from egotools.pixels.preprocessing import Normalize, Preprocessing
from egotools.pixels.resized_squares import middle_square, squares
from egotools.sampling import Times, check_positive, extent, picked_frames, window_frames, window_times
from egotools.training.seeding import seeded
from egotools.types import Clip, Frame, FrameWindows, VideoInfo
from egotools.weights.replai import load_video, read_replai, sound_network, video_network
from egotools.weights.run_files import AUDIO, RUN, run_and_view
from egotools.weights.tensors import random_seed, weights_digest, weights_file

DEPTHS: dict[str, Depth] = {"10": 10, "18": 18, "34": 34}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STATISTICS = {"imagenet": (MEAN, STD), "ego4d": ((0.45,) * 3, (0.225,) * 3)}
RATE = 16.0  # frames per second of a window of pre-training
LONG_FRAMES, LONG_WINDOW = 32, 64 / 30  # of Ego4D's tasks: every second frame at 30 per second
WHERE = "https://github.com/HimangiM/RepLAI and https://github.com/facebookresearch/AVID-CMA"


@dataclass(frozen=True)
class AvidVideo:
    """Features of RepLAI's or AVID's R(2+1)D: a row a window of half a second, 512-d.

    The square in the middle of frames whose shorter side is 128 pixels where that of the square is 112. With --pool
    average frames are shown as in Ego4D's tasks, unless options say otherwise.

    \b
    egotools extract --manifest m.csv --out caches/a avid-video --weights checkpoint_0101.pth --clips 10
    egotools extract --manifest m.csv --out caches/a avid-video --weights run:runs/r \\
        --frames 32 --size 224 --pool average --clips 5
    """

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    weights: str = option("DEFAULT", "File (.pth, .pth.tar, .safetensors, ...), run:<dir>, or random:<seed>.")
    depth: Literal["10", "18", "34"] | None = option(None, "Layers; by default as of the weights, or 18.")
    clips: int = option(10, "Rows per clip, evenly spaced; a single one is in the middle.")
    hop: float | None = option(None, "Instead of --clips: seconds from one row to the next.")
    at: Literal["spread", "steps", "picks"] = option(
        "spread",
        "Where --clips windows lie: spread, from the clip's start to its end; steps, the middle of each where one of"
        " --clips equal steps begins; picks, the middle of each at a frame that Ego4D's state-change baseline picks, by"
        " the manifest's start_frame and end_frame.",
    )
    frames: int | None = option(None, "Frames of a window; by default as of a run that --weights names, or 8.")
    duration: float | None = option(
        None,
        "Seconds of a window; by default 1/16 for each frame, as in pre-training, and 2.133 for 32 frames, as in"
        " Ego4D's tasks.",
    )
    size: int | None = option(
        None, "Side of what the network sees, in pixels; by default as of a run that --weights names, or 112."
    )
    resize: int | None = option(
        None,
        "Shorter side of the frames that the square is cut out of, in pixels; by default as of a run that --weights"
        " names, or 128 for 112.",
    )
    pool: Literal["max", "average"] = option("max", "Over the network's last maps.")
    interpolation: Literal["nearest", "bilinear", "bilinear-aliased"] | None = option(
        None,
        "How frames are resized; by default as of a run, or, as published, nearest, and with --pool average"
        " bilinear-aliased.",
    )
    normalize: Literal["imagenet", "ego4d"] | None = option(
        None, "Statistics of colors; by default, as published, imagenet, and with --pool average ego4d (0.45, 0.225)."
    )

    def __post_init__(self) -> None:
        given = ("clips", "hop", "frames", "duration", "size", "resize")
        check_positive(**{name: getattr(self, name) for name in given})
        if self.hop is not None and self.at != "spread":
            raise ValueError(f"--at {self.at} is of --clips, not of --hop")
        trained = trained_options(self.weights, type(self))
        # Resolved here, so that recipes record what was computed; the class is frozen.
        if self.duration is None and self.frames is None and trained.get("duration") is not None:
            object.__setattr__(self, "duration", trained["duration"])
        if self.size is None and self.resize is None:
            object.__setattr__(self, "resize", trained.get("resize"))
        for name, usual in (("frames", 8), ("size", 112)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, trained.get(name) or usual)
        if self.resize is None:
            object.__setattr__(self, "resize", usual_resize(self.side))
        if self.interpolation is None:
            chosen = "bilinear-aliased" if self.pool == "average" else trained.get("interpolation") or "nearest"
            object.__setattr__(self, "interpolation", chosen)
        if not self.side <= self.shorter:
            raise ValueError(f"--size {self.size} must be at most --resize {self.resize}: it is cut out of that")
        if self.duration is None:
            object.__setattr__(
                self, "duration", LONG_WINDOW if self.frames == LONG_FRAMES else self.window_length / RATE
            )

    @property
    def window_length(self) -> int:
        """Frames per window."""
        assert self.frames is not None
        return self.frames

    @property
    def seconds(self) -> float:
        """Of a window."""
        assert self.duration is not None
        return self.duration

    @property
    def side(self) -> int:
        """Of what the network sees, in pixels."""
        assert self.size is not None
        return self.size

    @property
    def shorter(self) -> int:
        """Side of the frames that the square is cut out of, in pixels."""
        assert self.resize is not None
        return self.resize

    def weights_digest(self) -> str:
        """The digest of the weights' file, or `random:<seed>`."""
        return weights_digest(self.weights, _fetch)

    def windows(self, video: VideoInfo, clip: Clip) -> FrameWindows:
        """Windows of the clip, in time order; one that is longer than the clip begins with it, its frames repeated.

        With --at steps and picks the first and the last may reach beyond the clip, though not beyond the file.

        Raises:
            ClipError: the clip lies outside the video, or has no frame numbers for --at picks.
        """
        start, end = extent(clip, float(video.times[0]), video.end, slack=1 / video.fps)
        if self.at == "spread":
            clips = None if self.hop is not None else self.clips
            times, last = window_times(video, start, end, self.seconds, hop=self.hop, clips=clips), end
        else:
            middles = self._picked(clip, start, end) if self.at == "picks" else self._steps(start, end)
            latest = max(float(video.times[0]), video.end - self.seconds)
            starts = np.clip(middles - self.seconds / 2, video.times[0], latest)
            times, last = np.stack([starts, np.minimum(starts + self.seconds, video.end)], axis=1), video.end
        length = self.window_length
        found = [window_frames(video, s, s + self.seconds, length, last=last) for s in times[:, 0].tolist()]
        return FrameWindows(np.stack(found) if found else np.zeros((0, length), np.int64), times)

    def _steps(self, start: float, end: float) -> Times:
        return np.linspace(start, end, self.clips, endpoint=False)

    def _picked(self, clip: Clip, start: float, end: float) -> Times:
        try:
            first, last = (int(clip.labels[name]) for name in ("start_frame", "end_frame"))
            picks = picked_frames(first, last, self.clips)
        except KeyError as error:
            raise ClipError(f"{clip.path}: --at picks needs the manifest's column {error}") from error
        except ValueError as error:
            raise ClipError(f"{clip.path}: --at picks: start_frame and end_frame: {error}") from error
        return start + (picks - first).astype(np.float64) * ((end - start) / (last - first))

    def prepare(self, frame: Frame) -> Frame:
        """The square in the middle of a frame, uint8 [size, size, 3]."""
        if self.interpolation == "bilinear-aliased":
            return Preprocessing((self.shorter,), (self.side, self.side), antialias=False)(frame)
        square = middle_square(*frame.shape[:2], side=self.side, shorter=self.shorter)
        found: Frame = squares(frame[None], square, self.interpolation or "nearest")[0]
        return found

    def network(self) -> nn.Module:
        """uint8 [B, L, size, size, 3] to float32 [B, 512].

        Raises:
            WeightsError: the weights are not there, or of another depth.
        """
        shown = self.normalize or ("ego4d" if self.pool == "average" else "imagenet")
        return _Clips(Normalize(*STATISTICS[shown]), self._backbone()).eval()

    def _backbone(self) -> R2Plus1D:
        depth = None if self.depth is None else DEPTHS[self.depth]
        seed = random_seed(self.weights)
        if seed is not None:
            with seeded(seed):  # the numbers that a training of that seed begins with
                return R2Plus1D(depth or 18, pool=self.pool)
        found = read_replai(weights_file(self.weights, _fetch))
        if depth is None:
            return video_network(found, pool=self.pool)
        with seeded(0):
            network = R2Plus1D(depth, pool=self.pool)
        load_video(network, found)
        return network


@dataclass(frozen=True)
class AvidAudio(SoundWindows):
    """Features of the sound network of RepLAI or AVID: a row a window of 2 seconds, 512-d.

    The log-mel spectrogram of RepLAI, of sound at the file's own rate, which is resampled as in training; the maximum
    over the network's last maps.

    \b
    egotools extract --manifest m.csv --out caches/a avid-audio --weights checkpoint_0101.pth --clips 10
    """

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    weights: str = option("DEFAULT", "File (.pth, .pth.tar, .safetensors, ...), run:<dir>, or random:<seed>.")

    def weights_digest(self) -> str:
        """The digest of the weights' file, or `random:<seed>`."""
        return weights_digest(_of_sound(self.weights), _fetch)

    def network(self) -> nn.Module:
        """Samples [B, length * any rate] to float32 [B, 512].

        Raises:
            WeightsError: the weights are not there, or have no network for sound.
        """
        return SoundNetwork(_Maxima(self._backbone()), self.length).eval()

    def _backbone(self) -> AvidSpecCnn9 | SpecCnn:
        seed = random_seed(self.weights)
        if seed is not None:
            with seeded(seed):
                return AvidSpecCnn9()
        return sound_network(read_replai(weights_file(_of_sound(self.weights), _fetch)))


class _Clips(nn.Module):
    def __init__(self, normalize: Normalize, features: nn.Module) -> None:
        super().__init__()
        self.normalize, self.features = normalize, features

    def forward(self, windows: Tensor) -> Tensor:
        x: Tensor = self.normalize(windows)  # [B, L, 3, S, S], channels last in memory
        return self.features(x.transpose(1, 2))  # type: ignore[no-any-return]


class _Maxima(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, spectrograms: Tensor) -> Tensor:
        return self.network(spectrograms).amax((2, 3))  # type: ignore[no-any-return]


def usual_resize(side: int) -> int:
    """The shorter side of the frames that a square of so many pixels is cut out of: 128 for 112."""
    return round(128 * side / 112)


def _of_sound(weights: str) -> str:
    """`run:DIR` means the run's network for sound."""
    if not weights.startswith(RUN):
        return weights
    run, view = run_and_view(weights)
    return weights if view else f"{RUN}{run}#{AUDIO}"


def _fetch(weights: str) -> Path:
    raise WeightsError(
        f"there are no weights {weights!r} that could be downloaded, nor such a file; fetch a checkpoint (linked in"
        f" {WHERE}), and give --weights FILE, run:<dir>, or random:<seed>"
    )

"""Encoders of sound of Transformers as extractors: a row a window, prepared by the model's own feature extractor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from egotools.config import digest, option
from egotools.errors import ExtractorError
from egotools.extractors.audio import STREAM
from egotools.extractors.hf.encoder_options import EncoderOptions
from egotools.extractors.hf.families import Config
from egotools.extractors.hf.models import Encoder, Kept, refusing
from egotools.extractors.sound_networks import CLIPS, HOP, check_windows
from egotools.sampling import evenly_begun, extent, near, whole_intervals
from egotools.types import AudioInfo, Clip, SampleWindows

Array = np.ndarray[Any, Any]

SHORTEST = 0.1  # seconds; spectra and convolutions over samples need 0.025
USUAL = 2.0  # seconds a row of models that take sound of any length
FRAME = 0.01  # seconds from one spectrum to the next in an Audio Spectrogram Transformer, as in Kaldi
# Of the feature extractor's values, those that are no part of how sound is prepared.
ABOUT = ("feature_extractor_type", "processor_class")


@dataclass(frozen=True)
class SoundModel(EncoderOptions):
    """Features of an encoder of sound in the format of Transformers: one row per window.

    Windows lie within their clip: a shorter clip is one window, prepared as the model prepares short sounds, and the
    last window of a longer one ends with it.

    \b
    egotools extract --manifest m.csv --out caches/a hf:laion/clap-htsat-unfused --length 5
    """

    length: float | None = option(None, f"Seconds per row; by default the most that the model takes, or {USUAL:g}.")
    hop: float | None = option(None, HOP)
    clips: int | None = option(None, CLIPS)
    stream: int | None = option(None, STREAM)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_windows(self.length, self.hop, self.clips, self.stream)
        most = self.longest
        if self.length is None:
            object.__setattr__(self, "length", most or USUAL)
        if self.seconds < SHORTEST:
            raise ValueError(f"--length must be {SHORTEST:g} or more, not {self.seconds:g}")
        if most is not None and self.seconds > most:
            raise ValueError(f"--length {self.seconds:g}: {self.model} takes {most:g} s at most")

    @property
    def seconds(self) -> float:
        """Of a window."""
        assert self.length is not None, "resolved by the constructor"
        return self.length

    @cached_property
    def rate(self) -> int:
        """Samples per second that the model hears."""
        return int(self._value("sampling_rate"))

    @cached_property
    def longest(self) -> float | None:
        """Seconds of sound that the model takes at most; None: any."""
        for name in ("nb_max_samples", "n_samples"):
            if hasattr(self._processor, name):
                return self._value(name) / self.rate
        return self._value("max_length") * FRAME if getattr(self._processor, "max_length", None) is not None else None

    def _value(self, name: str) -> float:
        value = getattr(self._processor, name, None)
        if not isinstance(value, (int, float)) or not value > 0:
            raise ExtractorError(
                f"{self.checkpoint.folder}: preprocessor_config.json is damaged ({name} is {str(value)[:40]!r})"
            )
        return value

    @cached_property
    def _processor(self) -> Any:  # Any: the library's own class
        return self.read_processor()

    def __getstate__(self) -> dict[str, object]:
        """With the sampling rate and without the processor, so that reading workers need not import the library."""
        _ = self.rate
        return {name: value for name, value in self.__dict__.items() if name != "_processor"}

    def facts(self) -> dict[str, object]:
        """What else belongs to the identity of a recipe: the config, and how sound is prepared."""
        written, _ = self._processor.get_feature_extractor_dict(self.checkpoint.folder, local_files_only=True)
        prepared = {name: value for name, value in written.items() if name not in ABOUT}
        return {"config": self.checkpoint.config_digest(), "preprocessing": digest(prepared)}

    def sound_windows(self, sound: AudioInfo, clip: Clip) -> SampleWindows:
        """Windows within the clip: of a shorter clip one as long as itself, but of 0.1 s at least.

        Raises:
            ClipError: the clip lies outside the sound.
        """
        start, end = extent(clip, sound.start, sound.end, slack=0.1)
        length = min(self.seconds, end - start)
        if self.clips is None:
            times = whole_intervals(start, end, length, self.hop or length)
        else:
            starts = start + evenly_begun(end - start - length, self.clips)
            times = np.stack([starts, starts + length], axis=1)
        times = times[near(times, np.array(sound.gaps).reshape(-1, 2))]
        return SampleWindows(times[:, 0].copy(), round(max(length, SHORTEST) * self.rate), self.rate, times)

    def row_times(self, times: Array, each: int) -> Array:
        """Times [n * each, 2] of the rows of windows [n, 2] with `--pool none`: equal parts of the window."""
        moments = max(each // self.bands, 1)
        edges = times[:, :1] + np.linspace(0, 1, moments + 1) * np.diff(times, axis=1)  # [n, moments + 1]
        parts = np.stack([edges[:, :-1], edges[:, 1:]], axis=2).reshape(-1, 2)
        return np.repeat(parts, each // moments, axis=0)

    @cached_property
    def bands(self) -> int:
        """Rows of the same moment with `--pool none`, from low frequencies to high ones."""
        find = BANDS.get(self.checkpoint.config["model_type"])
        return find(self.checkpoint.settings, self.layer) if find else 1

    def network(self) -> nn.Module:
        """float32 [B, L] to float [B, D], or [B, N, D] with `--pool none`.

        Raises:
            WeightsError: the weights are missing or damaged.
            ExtractorError: the model does not accept such sound, or has no such layer.
        """
        network = _Network(self, self.encoder()).eval()
        instead = "its preprocessor_config.json is of another model, or choose another --length"
        with refusing(self.model, self.layer, f"{self.seconds:g} s", instead), torch.inference_mode():
            network(torch.zeros(1, round(self.seconds * self.rate)))
        return network


class _Network(nn.Module):
    """The feature extractor, on the CPU in float32, and the model."""

    def __init__(self, extractor: SoundModel, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self.rate, self.prepare = encoder, extractor.rate, extractor._processor
        found = extractor.checkpoint
        order, self.longest = ORDERS.get(found.config["model_type"]), extractor.longest
        self.order = partial(order, found.settings) if order else None

    def traced_apart(self) -> list[nn.Module]:
        """None: these models cannot be traced."""
        return []

    def forward(self, samples: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            # One window at a time, as by hand: of several, CLAP's with fusion marks a random one as longer than 10 s.
            prepared = [self._prepared(window) for window in samples.float().cpu().numpy()]
        inputs = {name: torch.cat([each[name] for each in prepared]).to(samples.device) for name in prepared[0]}
        x = inputs.pop(self.encoder.family.takes)
        return self.encoder(x, kept=self._kept(samples.shape[1]), **inputs)  # type: ignore[no-any-return]

    def _kept(self, samples: int) -> Kept | None:
        if self.order is None:
            return None
        return partial(self.order, samples / self.rate / self.longest if self.longest else 1.0)

    def _prepared(self, window: Array) -> dict[str, Tensor]:
        """What the model takes of a window [L]; without a mask, since nothing is padded beside it."""
        found = self.prepare([window], sampling_rate=self.rate, return_tensors="pt")
        inputs = {self.encoder.family.takes: found[self.encoder.family.takes].float()}
        return {**inputs, "is_longer": found["is_longer"]} if "is_longer" in found else inputs


def _whisper_order(_settings: Config, covered: float, sizes: Sequence[int]) -> Tensor:
    """The first tokens: the rest is of silence, up to 30 s."""
    return torch.arange(_up(covered * sizes[0]))


def _spectrogram_order(settings: Config, covered: float, sizes: Sequence[int]) -> Tensor:
    """The first patches by time, and then by frequency; the model's own order is the other one."""
    bands = _spectrogram_bands(settings, None)
    image = torch.arange(sizes[0]).reshape(bands, -1)  # band, time
    return image[:, : _up(covered * image.shape[1])].T.flatten()


def _clap_order(settings: Config, covered: float, sizes: Sequence[int]) -> Tensor:
    """The first tokens by time, and then by frequency: the rest is of the same sound again.

    States of layers are a square image: stretches of time, one below the other. Those of the output are one stretch.
    """
    rows, columns = sizes
    stretches = _clap_stretches(settings) if rows == columns else 1
    image = torch.arange(rows * columns).reshape(stretches, rows // stretches, columns)  # stretch, band, time
    moments = image.permute(0, 2, 1).flatten(0, 1)  # time, band
    return moments[: _up(covered * len(moments))].flatten()


def _clap_bands(settings: Config, layer: int | None) -> int:
    halved = len(settings["depths"]) - 1
    stride = settings["patch_stride"]
    rows = settings["spec_size"] // int(stride[0] if isinstance(stride, (list, tuple)) else stride)
    return int(rows // 2 ** min(halved if layer is None else layer, halved) // _clap_stretches(settings))


def _clap_stretches(settings: Config) -> int:
    return int(settings["spec_size"] // settings["num_mel_bins"])


def _spectrogram_bands(settings: Config, _layer: int | None) -> int:
    return int((settings["num_mel_bins"] - settings["patch_size"]) // settings["frequency_stride"] + 1)


def _up(value: float) -> int:
    return max(1, int(np.ceil(value - 1e-6)))


# By the model_type of a config, which tokens the sound covers, by time, where that is a part of what the model takes;
# of other models every token is a moment.
ORDERS: Mapping[str, Callable[..., Tensor]] = {
    "whisper": _whisper_order, "audio-spectrogram-transformer": _spectrogram_order, "clap": _clap_order,
}  # fmt: skip
BANDS: Mapping[str, Callable[[Config, int | None], int]] = {
    "audio-spectrogram-transformer": _spectrogram_bands, "clap": _clap_bands,
}  # fmt: skip

"""PANNs, networks for sound, as extractors: a row a window."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from torch import nn

from egotools.config import option
from egotools.errors import ExtractorError, WeightsError
from egotools.extractors.sound_networks import SoundNetwork, SoundWindows
from egotools.nn.panns import ARCHITECTURES, Architecture
from egotools.training.seeding import seeded
from egotools.types import AudioInfo, Clip, SampleWindows
from egotools.weights.panns import load_panns, read_panns
from egotools.weights.tensors import random_seed, weights_digest, weights_file

PAGE = "https://zenodo.org/records/3987831"
SHORTEST = 1.0  # seconds; the networks halve time five times and more


@dataclass(frozen=True)
class PannsModel(SoundWindows):
    """Features of a network of PANNs, before its classifier: a row a window of 2 seconds, 512-d to 2048-d.

    The networks over spectrograms see RepLAI's log-mel spectrogram of 80 bands at 16 kHz, not the one that the
    published weights were trained on; those over samples hear sound at --rate.

    \b
    egotools extract --manifest m.csv --out caches/a panns:cnn14 --weights Cnn14_mAP=0.431.pth
    """

    place: ClassVar[Literal["device", "worker"]] = "device"
    version: ClassVar[int] = 1

    model: str = "panns:cnn14"
    weights: str = option("DEFAULT", "File (.pth, .safetensors, ...) or random:<seed>.")
    rate: int = option(32000, "Samples per second that networks over samples hear; the published weights' is 32000.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < SHORTEST:
            raise ValueError(f"--length must be {SHORTEST:g} or more for PANNs, not {self.length:g}")
        if self.rate < 8000:
            raise ValueError(f"--rate must be 8000 or above, not {self.rate}")

    @property
    def architecture(self) -> Architecture:
        """The network of this name."""
        return architecture_of(self.model)

    def weights_digest(self) -> str:
        """The digest of the weights' file, or `random:<seed>`."""
        return weights_digest(self.weights, self._fetch)

    def sound_windows(self, sound: AudioInfo, clip: Clip) -> SampleWindows:
        """At the file's own rate for spectrograms, at --rate for networks over samples."""
        rate = sound.rate if self.architecture.seen == "log-mel" else self.rate
        return self.windows_at(rate, sound, clip)

    def network(self) -> nn.Module:
        """Samples [B, length * rate] to float32 [B, D].

        Raises:
            WeightsError: the weights are not there, or of another network.
        """
        seed = random_seed(self.weights)
        with seeded(seed or 0):
            network = self.architecture.build()
        if seed is None:
            load_panns(network, read_panns(weights_file(self.weights, self._fetch)), self.architecture)
        network = network.eval()
        return SoundNetwork(network, self.length).eval() if self.architecture.seen == "log-mel" else network

    def _fetch(self, weights: str) -> Path:
        raise WeightsError(
            f"{self.model} has no weights {weights!r} that could be downloaded; fetch a checkpoint of"
            f" {self.architecture.name} from {PAGE}, and give --weights FILE, or random:<seed>"
        )


def architecture_of(name: str) -> Architecture:
    """The network `panns:NAME`, in any case.

    Raises:
        ExtractorError: there is none; names all.
    """
    found = ARCHITECTURES.get(name.removeprefix("panns:").lower())
    if found is None:
        raise ExtractorError(f"PANNs have no network {name.removeprefix('panns:')!r}; choose from {', '.join(names())}")
    return found


def names() -> list[str]:
    """The names of the networks."""
    return [f"panns:{name}" for name in ARCHITECTURES]

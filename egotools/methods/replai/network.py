"""The module that RepLAI's training minimizes: two networks, five heads, two objectives.

Axes: B moments, D numbers each.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from egotools.losses.audio_visual import FLOOR, TEMPERATURE, correspondence_loss, state_change_loss
from egotools.losses.matching import of_all_processes
from egotools.nn.mixed_precision import at_least_float32
from egotools.nn.r2plus1d import Depth, R2Plus1D
from egotools.nn.spec_cnn import AvidSpecCnn9, SpecCnn

AudioNet = Literal["avid", "speccnn"]
HIDDEN = 512  # units of each head


class Moments(Protocol):
    """A batch of moments, normalized."""

    @property
    def before(self) -> Tensor:
        """Frames, [B, 3, L, S, S]."""

    @property
    def after(self) -> Tensor:
        """Frames, [B, 3, L, S, S]."""

    @property
    def sound(self) -> Tensor:
        """Spectrogram, [B, 1, time, mel]."""


class Features(NamedTuple):
    """What the two networks say, before any head: [B, 512] each."""

    before: Tensor
    after: Tensor
    sound: Tensor


class Matched(NamedTuple):
    """What correspondence compares: [B, D] each, of norm 1."""

    before: Tensor
    after: Tensor
    sound: Tensor


class Changes(NamedTuple):
    """What the state change compares: [B, D] each, of any norm."""

    forward: Tensor  # the change from before to after
    backward: Tensor
    sound: Tensor


class Pretraining(nn.Module):
    """Moments to `loss`, and the objectives' own losses, scalars by name; names of parameters are the published ones.

    The frames before and after go through the network as one batch, which has the batch norms mix both. Heads and
    losses run in float32 in any precision.

    Args:
        depth: of the network of frames.
        audio: the network of sound.
        width: D.
        temperature: of correspondence.
        weights: of correspondence and of the state change. An objective of weight 0 is not computed, and its heads do
            not learn.
        gathers_gradients: gradients of correspondence flow into its targets, too.
        is_together: the sounds and frames of all processes are told apart, not only this one's; all must have as many.

    Source:
        RepLAI, arXiv 2209.13583 (`criterions/ssrl_audiopeak_aotv2.py`).
    """

    def __init__(
        self,
        depth: Depth = 18,
        audio: AudioNet = "avid",
        *,
        width: int = 128,
        temperature: float = TEMPERATURE,
        weights: tuple[float, float] = (0.5, 0.5),
        gathers_gradients: bool = False,
        is_together: bool = False,
    ) -> None:
        super().__init__()
        video, sound = R2Plus1D(depth), AvidSpecCnn9() if audio == "avid" else SpecCnn()
        self.backbone = nn.ModuleDict({"video": video, "audio": sound})
        self.mlp = nn.ModuleDict(
            {
                "video_clr": head(video.width, width),
                "audio_clr": head(sound.width, width),
                "video_aot": head(video.width, width),
                "audio_aot": head(sound.width, width),
                "aot_diff": head(width, width),
            }
        )
        self.temperature, self.weights = temperature, weights
        self.gathers_gradients, self.is_together = gathers_gradients, is_together
        for weight, names in zip(
            weights, (("video_clr", "audio_clr"), ("video_aot", "audio_aot", "aot_diff")), strict=True
        ):
            for name in names:
                self.mlp[name].requires_grad_(weight > 0)

    @property
    def video(self) -> R2Plus1D:
        """The network of frames."""
        return self.backbone["video"]  # type: ignore[return-value]

    @property
    def audio(self) -> AvidSpecCnn9 | SpecCnn:
        """The network of sound."""
        return self.backbone["audio"]  # type: ignore[return-value]

    def forward(self, moments: Moments) -> dict[str, Tensor]:
        features = self.features(moments)
        correspondence, state_change = self.weights
        found: dict[str, Tensor] = {}
        if correspondence:
            found["clr_loss"] = self.correspondence(self.matched(features))
        if state_change:
            found["aot_loss"] = state_change_loss(*self.changes(features))[0]
        weighted = {"clr_loss": correspondence, "aot_loss": state_change}
        loss = torch.stack([weighted[name] * value for name, value in found.items()]).sum()
        return {"loss": loss, **{name: value.detach() for name, value in found.items()}}

    def features(self, moments: Moments) -> Features:
        """What the two networks say."""
        before, after = self.backbone["video"](torch.cat([moments.before, moments.after])).flatten(1).chunk(2)
        heard = self.backbone["audio"](moments.sound)
        return Features(before, after, heard.amax(dim=tuple(range(2, heard.dim()))) if heard.dim() > 2 else heard)

    def matched(self, features: Features) -> Matched:
        """What correspondence compares."""
        found = (
            self._head(name, each) for name, each in zip(("video_clr", "video_clr", "audio_clr"), features, strict=True)
        )
        return Matched(*(F.normalize(each, dim=1, eps=FLOOR) for each in found))

    def changes(self, features: Features) -> Changes:
        """What the state change compares."""
        before, after, sound = (
            self._head(name, each) for name, each in zip(("video_aot", "video_aot", "audio_aot"), features, strict=True)
        )
        return Changes(self._head("aot_diff", after - before), self._head("aot_diff", before - after), sound)

    def correspondence(self, own: Matched) -> Tensor:
        """The loss of telling whose sound it is, among all processes' if they are together; scalar."""
        targets = own if self.gathers_gradients else Matched(*(each.detach() for each in own))
        first = 0
        if self.is_together:
            joined, first = of_all_processes(torch.cat(targets, dim=1))
            targets = Matched(*joined.chunk(3, dim=1))
        return correspondence_loss(*own, *targets, first, temperature=self.temperature)

    def _head(self, name: str, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            found: Tensor = self.mlp[name](at_least_float32(x))
        return found


def head(before: int, after: int) -> nn.Sequential:
    """Two linear layers with a ReLU between: weights by Xavier's uniform distribution, biases as torch has them."""
    first, last = nn.Linear(before, HIDDEN), nn.Linear(HIDDEN, after)
    for layer in (first, last):
        nn.init.xavier_uniform_(layer.weight)
    return nn.Sequential(first, nn.ReLU(), last)

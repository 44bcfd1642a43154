"""Transformers with attention divided into time and space: the video networks of Frozen in Time, EgoVLP and LaViLa.

Axes: B clips, F frames of a clip, P patches of a frame, N = 1 + F P tokens (the class token first), D width, h heads,
d = D / h, E width of the joint space of videos and texts.

Source:
    Is Space-Time Attention All You Need for Video Understanding?, arXiv 2102.05095 (divided attention); Frozen in Time,
    arXiv 2104.00650 (this block, and learned positions in time); LaViLa, arXiv 2212.04501 (begins as CLIP's image
    network). The parameters have the names of `model/video_transformer.py` of `m-bain/frozen-in-time`.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

HEAD = 64  # d: channels of a head, in networks of every size
RATIO = 4  # channels inside of an MLP, by those outside


@dataclass(frozen=True)
class Shape:
    """The sizes of a network."""

    width: int = 768
    depth: int = 12
    patch: int = 16  # pixels a side
    grid: int = 14  # patches a side of a frame
    frames: int = 4  # positions in time that were learned
    joint: int | None = 256  # E; None: without the projection into the joint space
    has_bias: bool = True  # of the projection
    is_clip: bool = False  # CLIP's image network in time: a norm before the blocks, quick GELU, patches without bias
    is_gated: bool = False  # whether what the attention in time gives is scaled by a learned number

    @property
    def heads(self) -> int:
        """h."""
        return max(1, self.width // HEAD)

    @property
    def side(self) -> int:
        """Height and width of a frame, pixels."""
        return self.patch * self.grid


class SpaceTimeTransformer(nn.Module):
    """Normalized clips [B, 3, F, H, W] to the class token [B, D], or its projection into the joint space [B, E].

    H and W are those of `shape`; F is any number, see `in_time`.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, shape.width, shape.patch, stride=shape.patch, bias=not shape.is_clip)}
        )
        self.cls_token = _drawn(1, 1, shape.width)
        self.pos_embed = _drawn(1, 1 + shape.grid**2, shape.width)
        self.temporal_embed = _drawn(1, shape.frames, shape.width)
        self.ln_pre = nn.LayerNorm(shape.width) if shape.is_clip else nn.Identity()
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, eps=1e-6)
        self.projection = nn.Identity() if shape.joint is None else nn.Linear(shape.width, shape.joint, shape.has_bias)

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.shape[2]
        patches = self.patch_embed["proj"](clips.transpose(1, 2).flatten(0, 1)).flatten(2).transpose(1, 2)
        if patches.shape[1] != self.shape.grid**2:
            raise ValueError(f"frames of {patches.shape[1]} patches, not {self.shape.grid**2}")
        patches = patches.unflatten(0, (-1, frames))  # [B, F, P, D]
        times = in_time(self.temporal_embed, frames, linear=self.shape.is_clip)
        patches = patches + self.pos_embed[:, None, 1:] + times[:, :, None]
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(patches), -1, -1)
        x = self.ln_pre(torch.cat([first, patches.flatten(1, 2)], dim=1))  # [B, N, D]
        for block in self.blocks:
            x = block(x, frames)
        return self.projection(self.norm(x[:, 0]))  # type: ignore[no-any-return]


def in_time(learned: Tensor, frames: int, *, linear: bool) -> Tensor:
    """The positions in time of a clip's frames, [1, F, D], from those that were learned, [1, T, D].

    Of fewer frames they are the first F. Of more, LaViLa (`linear`) interpolates all, and Frozen in Time and EgoVLP
    have zeros after the first T.
    """
    known = learned.shape[1]
    if frames <= known:
        return learned[:, :frames]
    if linear:
        return F.interpolate(learned.transpose(1, 2), size=frames, mode="linear").transpose(1, 2)
    return F.pad(learned, (0, 0, 0, frames - known))


class Block(nn.Module):
    """Attention in time, then in space, then an MLP: [B, N, D] to the same shape."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(shape.width, eps=1e-6) for _ in range(3))
        self.attn, self.timeattn = (DividedAttention(shape.width, shape.heads) for _ in range(2))
        inner = RATIO * shape.width
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(shape.width, inner), "fc2": nn.Linear(inner, shape.width)})
        self.gelu = QuickGELU() if shape.is_clip else nn.GELU()
        self.alpha_timeattn = nn.Parameter(torch.zeros([])) if shape.is_gated else None

    def forward(self, x: Tensor, frames: int) -> Tensor:
        timed = self.timeattn(self.norm3(x), frames, "time")
        if self.alpha_timeattn is not None:
            timed = torch.tanh(self.alpha_timeattn) * timed
        # Frozen in Time adds the attention in space to what came in: the attention in time counts through it alone.
        x = x + self.attn(self.norm1(x + timed), frames, "space")
        return x + self.mlp["fc2"](self.gelu(self.mlp["fc1"](self.norm2(x))))  # type: ignore[no-any-return]


class DividedAttention(nn.Module):
    """Each patch attends to the class token and to patches at its place (time) or of its frame (space).

    The class token attends to all tokens in both.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, frames: int, along: Literal["time", "space"]) -> Tensor:
        """[B, N, D] to the same shape."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, h, N, d] each
        first = F.scaled_dot_product_attention(query[:, :, :1], key, value)
        others = F.scaled_dot_product_attention(
            _grouped(query, frames, along), _with_first(key, frames, along), _with_first(value, frames, along)
        )
        others = others.reshape(len(x), self.heads, *others.shape[1:])
        others = others.transpose(2, 3) if along == "time" else others  # [B, h, F, P, d]
        together = torch.cat([first, others.flatten(2, 3)], dim=2)
        return self.proj(together.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _grouped(tokens: Tensor, frames: int, along: str) -> Tensor:
    """The patches of [B, h, N, d] that attend to each other: [B h, P, F, d] in time, [B h, F, P, d] in space."""
    patches = tokens[:, :, 1:]
    patches = patches.reshape(-1, frames, patches.shape[2] // frames, patches.shape[3])
    return patches.transpose(1, 2) if along == "time" else patches


def _with_first(tokens: Tensor, frames: int, along: str) -> Tensor:
    """As `_grouped`, each group with the class token first."""
    groups = _grouped(tokens, frames, along)
    first = tokens[:, :, :1].flatten(0, 1)[:, None].expand(-1, groups.shape[1], -1, -1)
    return torch.cat([first, groups], dim=2)


class QuickGELU(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def _drawn(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))

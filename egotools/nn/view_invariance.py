"""Networks of view-invariance pre-training: a refiner of features, and a stream that sees two views at once.

Axes: B items, T slots of time, D features of a view.

Source:
    Two-stream View-Invariance SSL on Assembly101, `src/ssl_pretraining.py`; the parameters have its names.
"""

import copy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

Axis = Literal["batch", "none", "time"]
Kind = Literal["view-invariance", "simple-3d"]


@dataclass(frozen=True)
class Stack:
    """How many encoder layers follow each other, and the attention heads of each."""

    layers: int
    heads: int


@dataclass(frozen=True)
class Sizes:
    """What refiner and pseudo-3D stream are built from, whatever the number D of features is."""

    refiner: Stack  # width D
    gate: Stack  # width 2D, of the kind "view-invariance"
    simple_gate: Stack  # width 2D, of the kind "simple-3d", which has no other stack
    volume: Stack  # width expansion * D
    out: Stack  # width D
    expansion: int
    feedforward: int


PAPER = Sizes(Stack(6, 32), Stack(3, 8), Stack(10, 32), Stack(6, 16), Stack(1, 32), expansion=3, feedforward=2048)
SMALL = Sizes(Stack(1, 8), Stack(1, 8), Stack(1, 8), Stack(1, 8), Stack(1, 8), expansion=1, feedforward=512)
SIZES = {"paper": PAPER, "small": SMALL}


class Layer(nn.TransformerEncoderLayer):
    """A transformer encoder layer with the norms behind the sums, sequence first: [length, N, D] to the same shape."""

    def alone(self, x: Tensor) -> Tensor:
        """Of vectors [..., D] that each attend to nothing but themselves, where attention is its value path."""
        values = self.self_attn.in_proj_weight[-x.shape[-1] :], self.self_attn.in_proj_bias[-x.shape[-1] :]
        heads = F.linear(x, *values).reshape(*x.shape[:-1], self.self_attn.num_heads, -1)
        if self.training:  # the one weight of each head is 1 before dropout
            weights = torch.ones(heads.shape[:-1], dtype=heads.dtype, device=heads.device)
            heads = heads * F.dropout(weights, self.self_attn.dropout)[..., None]
        x = self.norm1(x + self.dropout1(self.self_attn.out_proj(heads.flatten(-2))))
        given = self.linear2(self.dropout(F.relu(self.linear1(x))))
        return self.norm2(x + self.dropout2(given))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Encoder layers one after the other, [B, T, D] to the same shape; no positions and no norm at the end.

    All layers start with the same parameters, as copies of one.
    """

    def __init__(self, width: int, stack: Stack, *, feedforward: int, dropout: float) -> None:
        super().__init__()
        if width % stack.heads:
            raise ValueError(f"{width} features cannot be shared among {stack.heads} attention heads")
        layer = Layer(width, stack.heads, feedforward, dropout)
        self.layers = nn.ModuleList([layer, *(copy.deepcopy(layer) for _ in range(stack.layers - 1))])

    def forward(self, x: Tensor, axis: Axis, mask: Tensor | None = None) -> Tensor:
        """See `Refiner.forward`, which adds what goes in."""
        _check(x, axis, mask)
        if axis == "time":
            padded = None if mask is None else ~mask
            y = x.transpose(0, 1)
            for layer in self.layers:
                y = layer(y, src_key_padding_mask=padded)
            return y.transpose(0, 1)
        for layer in self.layers:
            # The published code gives [B, T, D] to layers that expect the sequence first: items attend to each other.
            x = layer(x) if axis == "batch" else layer.alone(x)  # type: ignore[operator]
        return x


class Refiner(Encoder):
    """The view-invariant stream R: features of a slot become features that tell less of the camera."""

    def __init__(
        self, width: int = 2048, layers: int = 6, heads: int = 32, feedforward: int = 2048, dropout: float = 0.1
    ) -> None:
        super().__init__(width, Stack(layers, heads), feedforward=feedforward, dropout=dropout)

    @classmethod
    def of(cls, sizes: Sizes, width: int, *, dropout: float = 0.1) -> "Refiner":
        """With the stack that the sizes name, for that many features."""
        return cls(width, sizes.refiner.layers, sizes.refiner.heads, sizes.feedforward, dropout)

    def forward(self, x: Tensor, axis: Axis, mask: Tensor | None = None, *, adds_input: bool = True) -> Tensor:
        """R(x) + x.

        Args:
            x: [B, T, D] float.
            axis: what a slot attends to. "batch": the same slot of all items, as published, so that the result depends
                on which items share a batch; "none": itself only; "time": the slots of its item.
            mask: [B, T] bool, False where an item is padded; "time" does not attend to such slots, and the other two
                do not look at it. Each item has a slot that is not padded.
            adds_input: whether x is added; without it this is R(x).

        Returns:
            [B, T, D] float, with values at padded slots, too.
        """
        refined = super().forward(x, axis, mask)
        return refined + x if adds_input else refined


class PseudoStream(nn.Module):
    """The pseudo-3D stream S: from both views' features at once to what either view's refined features should be.

    "view-invariance" goes through three stacks of 2D, `expansion` * D and D features, "simple-3d" through one of 2D.
    """

    def __init__(self, kind: Kind, width: int = 2048, sizes: Sizes = PAPER, *, dropout: float = 0.1) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise ValueError(f"the pseudo-3D stream is {' or '.join(get_args(Kind))}, not {kind!r}")

        def encoder(features: int, stack: Stack) -> Encoder:
            return Encoder(features, stack, feedforward=sizes.feedforward, dropout=dropout)

        self.kind: Kind = kind
        if kind == "simple-3d":
            self.transformerEncode_gate = encoder(2 * width, sizes.simple_gate)
            self.input_proj_down = nn.Linear(2 * width, width)
            return
        volume = sizes.expansion * width
        self.transformerEncode_gate = encoder(2 * width, sizes.gate)
        self.input_proj_up = nn.Linear(2 * width, volume)
        self.transformerEncode_3d = encoder(volume, sizes.volume)
        self.input_proj_down = nn.Linear(volume, width)
        self.transformerEncode_out = encoder(width, sizes.out)

    def forward(self, x: Tensor, axis: Axis, mask: Tensor | None = None) -> Tensor:
        """Views side by side [B, T, 2D] to [B, T, D]; `axis` and `mask` as in `Refiner.forward`."""
        x = self.transformerEncode_gate(x, axis, mask)
        if self.kind == "simple-3d":
            return self.input_proj_down(x)  # type: ignore[no-any-return]
        x = self.transformerEncode_3d(self.input_proj_up(x), axis, mask)
        x = self.transformerEncode_out(self.input_proj_down(x), axis, mask)
        return x


def _check(x: Tensor, axis: str, mask: Tensor | None) -> None:
    if axis not in get_args(Axis):
        raise ValueError(f"attention goes over {', '.join(get_args(Axis))}, not {axis!r}")
    if mask is not None and mask.shape != x.shape[:2]:
        raise ValueError(f"a mask of shape {tuple(mask.shape)} does not belong to features {tuple(x.shape)}")

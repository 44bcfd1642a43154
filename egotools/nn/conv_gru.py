"""A recurrent network of maps: a GRU whose products are convolutions. Axes: B batch, T steps, C channels, H x W pixels.

Source:
    Memory-augmented Dense Predictive Coding, arXiv 2008.01065 (`backbone/convrnn.py`), whose names the parameters
    have. Unlike there, states live on the device of the input, and the states of all layers are kept.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it


class Products(NamedTuple):
    """The weights of a cell, by what they multiply: one convolution for all that can be computed together."""

    of_input: Tensor  # [3 H, inputs, k, k]: reset, update, out
    biases: Tensor  # [3 H]
    of_state: Tensor  # [2 H, H, k, k]: reset, update
    of_reset: Tensor  # [H, H, k, k]: out


class ConvGRUCell(nn.Module):
    """One step of one layer; each gate is a convolution of the input and the state, side by side."""

    def __init__(self, inputs: int, hidden: int, *, kernel: int = 1) -> None:
        super().__init__()
        self.inputs, self.hidden = inputs, hidden
        self.reset_gate, self.update_gate, self.out_gate = (
            nn.Conv2d(inputs + hidden, hidden, kernel, padding=kernel // 2) for _ in range(3)
        )

    def products(self) -> Products:
        """The weights, as `begun` and `step` take them."""
        gates = (self.reset_gate, self.update_gate, self.out_gate)
        of_input = [gate.weight[:, : self.inputs] for gate in gates]
        of_state = [gate.weight[:, self.inputs :] for gate in gates]
        biases = torch.cat([gate.bias for gate in gates if gate.bias is not None])
        return Products(torch.cat(of_input), biases, torch.cat(of_state[:2]), of_state[2])

    def gates(self, x: Tensor, products: Products) -> Tensor:
        """The inputs' part of the gates, [B, inputs, H, W] to [B, 3 hidden, H, W], for as many steps as fit in B."""
        return F.conv2d(x, products.of_input, products.biases, padding=self.out_gate.padding)

    def step(self, gates: Tensor, state: Tensor | None, products: Products) -> Tensor:
        """The next state [B, hidden, H, W]; without one before, it was zero."""
        reset, update, out = gates.chunk(3, dim=1)
        if state is None:
            return torch.sigmoid(update) * torch.tanh(out)
        padding: tuple[int, int] = self.out_gate.padding  # type: ignore[assignment]
        both = torch.sigmoid(gates[:, : 2 * self.hidden] + F.conv2d(state, products.of_state, padding=padding))
        reset, update = both.chunk(2, dim=1)
        out = torch.tanh(out + F.conv2d(reset * state, products.of_reset, padding=padding))
        return torch.lerp(state, out, update)


class ConvGRU(nn.Module):
    """A sequence of maps [B, T, inputs, H, W] to the last layer's states [B, T, hidden, H, W] and all final ones.

    Dropout follows each step: what it leaves is both the step's output and the state that the next one sees.
    """

    def __init__(self, inputs: int, hidden: int, *, kernel: int = 1, layers: int = 1, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = dropout
        self.cell_list = nn.ModuleList(
            ConvGRUCell(inputs if layer == 0 else hidden, hidden, kernel=kernel) for layer in range(layers)
        )
        orthogonal(self)

    def products(self) -> list[Products]:
        """What `forward` takes to go on from a state without preparing the weights again."""
        return [cell.products() for cell in self.cells()]

    def cells(self) -> list[ConvGRUCell]:
        """The layers."""
        return [cell for cell in self.cell_list if isinstance(cell, ConvGRUCell)]

    def forward(
        self, x: Tensor, state: Tensor | None = None, products: list[Products] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Runs all steps.

        Args:
            x: [B, T, inputs, H, W].
            state: of each layer before the first step, [layers, B, hidden, H, W]; zero if None.
            products: of `self.products()`.

        Returns:
            The last layer's states [B, T, hidden, H, W], and the final states [B, layers, hidden, H, W].
        """
        batch, steps = x.shape[:2]
        finals = []
        for layer, (cell, product) in enumerate(zip(self.cells(), products or self.products(), strict=True)):
            gates = cell.gates(x.flatten(0, 1), product)
            gates = gates.reshape(batch, steps, *gates.shape[1:])
            current, states = None if state is None else state[layer], []
            for step in range(steps):
                current = F.dropout(cell.step(gates[:, step], current, product), self.dropout, self.training)
                states.append(current)
            x = torch.stack(states, dim=1)
            finals.append(states[-1])
        return x, torch.stack(finals, dim=1)


def orthogonal(network: nn.Module, gain: float = 1.0) -> None:
    """Makes the weights of all layers of `network` orthogonal, as matrices of their first axis, and biases zero."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.orthogonal_(module.weight, gain)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

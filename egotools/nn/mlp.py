"""The network of the memorability system M3-S: a score from concatenated features. Axes: B batch, D features."""

import itertools
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from egotools.errors import WeightsError

FIRST = "mlp.linear_0.0.weight"  # [H, D]
KEY = re.compile(r"mlp\.linear_(\d+)\.0\.(weight|bias)")


class ScoreMLP(nn.Module):
    """Linear layers with Mish between them and a sigmoid at the end; keys are those of the published checkpoints.

    Source:
        Modular Memorability, `model/m3s.py`. Dropout is ours: it has no parameters, and is off by default.
    """

    def __init__(self, width: int, hidden: Sequence[int] = (512, 64), *, dropout: float = 0.0) -> None:
        super().__init__()
        self.widths = (width, *hidden, 1)
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (before, after) in enumerate(itertools.pairwise(self.widths)):
            is_last = number == len(hidden)
            follows = [nn.Sigmoid()] if is_last else [nn.Mish(), *([nn.Dropout(dropout)] if dropout else [])]
            layers[f"linear_{number}"] = nn.Sequential(nn.Linear(before, after), *follows)
        self.mlp = nn.Sequential(layers)

    def forward(self, features: Tensor) -> Tensor:
        """[B, D] to scores [B, 1] between 0 and 1."""
        scores: Tensor = self.mlp(features)
        return scores


def score_mlp_of(tensors: Mapping[str, Tensor], *, source: str) -> ScoreMLP:
    """The network that a published checkpoint is of, with its weights; its widths follow from their shapes.

    Args:
        tensors: by the names that they have in the file.
        source: what an error calls the file.

    Raises:
        WeightsError: these are weights of something else.
    """
    unknown = [name for name in tensors if not KEY.fullmatch(name)]
    if unknown or not tensors:
        raise WeightsError(f"{source}: no weights of M3-S: it holds {unknown[0] if unknown else 'nothing'!r}")
    count = 1 + max(int(name.split(".")[1].removeprefix("linear_")) for name in tensors)
    widths = []
    for number in range(count):
        weight = tensors.get(f"mlp.linear_{number}.0.weight")
        if weight is None or weight.ndim != 2:
            raise WeightsError(f"{source}: no weights of M3-S: mlp.linear_{number}.0.weight is missing or no matrix")
        widths.append(weight.shape[1])
    network = ScoreMLP(widths[0], widths[1:])
    own = network.state_dict()
    for name, value in own.items():
        if name not in tensors or tensors[name].shape != value.shape:
            there = tuple(tensors[name].shape) if name in tensors else "missing"
            raise WeightsError(f"{source}: no weights of M3-S: {name} is {there}, not {tuple(value.shape)}")
    network.load_state_dict(dict(tensors))
    return network

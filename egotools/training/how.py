"""How a training is run, whatever it trains: the flags of every `train` command that uses `fit`."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from egotools.config import check_positive, option
from egotools.errors import TrainingError
from egotools.machine import has_fast_bf16

if TYPE_CHECKING:  # `--help` needs no torch
    import torch

LINE = 50  # steps that one line of the metrics sums up, where a method has no epochs


@dataclass(frozen=True)
class How:
    """Precision, gradients, and how often to log and save."""

    precision: Literal["float32", "bf16", "fp16"] = option(
        "float32",
        "Precision of the forward pass; fp16 needs a GPU, and bf16 is float32 on hardware without it. Weights and"
        " optimizer stay in float32.",
    )
    max_norm: float | None = option(None, "Clip the gradients' norm over all parameters to this; by default not.")
    accumulate: int = option(1, "Batches whose gradients are averaged for one step.")
    log_every: int | None = option(None, "Steps between two lines of metrics; by default an epoch, or 50.")
    save_every: float = option(30.0, "Seconds between two checkpoints; longer if saving would take over 5 %.")

    def __post_init__(self) -> None:
        check_positive(self, "max_norm", "accumulate", "log_every")
        if not self.save_every >= 0:
            raise ValueError(f"--save-every must be 0 or above, not {self.save_every}")

    @property
    def identity(self) -> dict[str, Any]:
        """What changes the weights that come out, but for defaults: for the identity of a run. Any: JSON values.

        Defaults are left out so that runs of versions without these options can be resumed.
        """
        chosen = [field for field in fields(self) if field.name in ("precision", "max_norm", "accumulate")]
        values = {field.name: (getattr(self, field.name), field.default) for field in chosen}
        return {name: value for name, (value, default) in values.items() if value != default}


def how_for(how: How, device: torch.device) -> tuple[How, list[str]]:
    """How a training is run on a device: as asked for, but in float32 where bf16 would only be emulated.

    Returns:
        How it is run: its `precision` is a report's `precision_used`. And a remark if that is not what was asked for.

    Raises:
        TrainingError: the device does not have fp16.
    """
    check_fp16(how, device)
    if how.precision != "bf16" or has_fast_bf16(device):
        return how, []
    remark = f"--precision bf16: trained in float32, since this {device.type} does not compute bf16 in hardware"
    return replace(how, precision="float32"), [remark]


def check_fp16(how: How, device: torch.device) -> None:
    """Refuses fp16 without a GPU.

    Raises:
        TrainingError: says so.
    """
    if how.precision == "fp16" and device.type != "cuda":
        raise TrainingError(f"--precision fp16 needs a GPU (CUDA), not {device.type}; choose bf16 or float32")

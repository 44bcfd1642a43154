"""How a training is run, whatever it trains: the flags of every `train` command that uses `fit`."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from egotools.config import check_positive, option

LINE = 50  # steps that one line of the metrics sums up, where a method has no epochs


@dataclass(frozen=True)
class How:
    """Precision, gradients, and how often to log and save."""

    precision: Literal["float32", "bf16", "fp16"] = option(
        "float32", "Precision of the forward pass; fp16 needs a GPU. Weights and optimizer stay in float32."
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

"""torch's chance by a seed, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """torch draws by a seed; afterwards its random states are as they were before.

    Args:
        seed: of the CPU's draws, and of the device's.
        device: where else is drawn, if it is a GPU; None: only on the CPU, and GPUs' states are left alone.
    """
    gpus = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=gpus):
        (torch.manual_seed if gpus else torch.default_generator.manual_seed)(seed)
        yield

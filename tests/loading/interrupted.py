"""A training that waits for ever, to be interrupted by `test_loader.py`."""

from __future__ import annotations

import signal
import sys

import torch
from readable import Numbers, tensors

from egotools.loading.loader import loader
from egotools.loading.order import Order

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    batches = loader(Numbers(100), Order(100, 2, seed=0), seed=0, workers=2, device=torch.device("cpu"), finish=tensors)
    for number, _ in enumerate(batches(0)):
        if number == 3:
            sys.stdout.write("reading\n")
            sys.stdout.flush()

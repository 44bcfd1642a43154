"""A network compiled by PyTorch for the machine that runs it: `--runtime compile`."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from egotools.errors import EgotoolsError, first_line

if TYPE_CHECKING:
    from egotools.extraction.forward import Network

MOST_SHAPES = 8  # of batches; torch refuses to compile one network for more
INSTEAD = "use --runtime torch, which computes the same rows"


class Compiled:
    """Computes a network with kernels that `torch.compile` makes when the first batch of a shape comes.

    A batch with fewer windows than `size` gives for its kind is filled up with copies of its last window, whose rows
    are dropped, so that each kind of window is compiled once. Weights are laid out once, as constants: the network
    must be frozen, and must not change afterwards. Compiled kernels are kept on disk by torch, by default in the folder
    `torchinductor_<user>` of the temporary files (`TORCHINDUCTOR_CACHE_DIR`), so that a second process starts faster.
    """

    def __init__(self, name: str, network: Network, size: Callable[[Tensor], int]) -> None:
        """`name` is the extractor's, for messages; `size` the windows of a full batch of windows such as these.

        Raises:
            EgotoolsError: this machine has no C++ compiler.
        """
        check_compiler(name)
        self.name = name
        self._size = size
        self._call = torch.compile(network, fullgraph=True, dynamic=False)
        self._shapes: set[tuple[torch.Size, torch.dtype]] = set()

    def __call__(self, batch: Tensor) -> Tensor:
        """The rows [B, D] or [B, N, D] of windows [B, ...]. Gradients must be off.

        Raises:
            EgotoolsError: the network cannot be compiled, or would be for too many shapes.
        """
        count = len(batch)
        if (lacking := self._size(batch) - count) > 0:
            with torch.inference_mode(False):  # tensors of inference mode are another kind, compiled anew
                batch = torch.cat([batch, batch[-1:].expand(lacking, *batch.shape[1:])])
        shape = (batch.shape, batch.dtype)
        with _frozen():
            if shape in self._shapes:
                return self._call(batch)[:count]
            if len(self._shapes) == MOST_SHAPES:
                raise EgotoolsError(
                    f"{self.name}: its windows have more than {MOST_SHAPES} lengths, and --runtime compile compiles "
                    f"each; {INSTEAD}"
                )
            with _quiet():
                rows = self._first(batch)
        self._shapes.add(shape)
        return rows[:count]

    def _first(self, batch: Tensor) -> Tensor:
        from torch._dynamo.exc import FailOnRecompileLimitHit  # torch loads it to compile

        try:
            return self._call(batch)
        except (RuntimeError, FailOnRecompileLimitHit) as error:
            raise EgotoolsError(f"{self.name}: cannot be compiled here ({first_line(error)}); {INSTEAD}") from error


def check_compiler(name: str) -> None:
    """Checks that there is a C++ compiler, which torch calls.

    Raises:
        EgotoolsError: there is none.
    """
    from torch._inductor import config

    wanted = [each for each in config.cpp.cxx if each]
    if not any(shutil.which(each) for each in wanted):
        raise EgotoolsError(
            f"{name}: --runtime compile needs a C++ compiler, and there is no {' or '.join(wanted)} (CXX names "
            f"another); install one, as with 'apt install g++', or {INSTEAD}"
        )


def forget_compiled() -> None:
    """Frees all that `torch.compile` has made in this process; what is used again compiles again, or comes from disk.

    Otherwise torch keeps the weights of networks that are no longer there, and refuses the ninth of one kind.
    """
    torch.compiler.reset()


@contextmanager
def _frozen() -> Iterator[None]:
    """Makes torch take weights as constants.

    `torch.compile(options={"freezing": True})` would not: dynamo looks at this setting before options hold.
    """
    from torch._inductor import config

    with config.patch(freezing=True):
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warning that a machine with CUDA's tools has no GPU."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)

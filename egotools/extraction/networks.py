"""The network of a request, ready to run, by its runtime."""

from collections.abc import Callable

import torch
from torch import Tensor

from egotools.errors import EgotoolsError
from egotools.extraction.forward import Network, runnable
from egotools.extraction.request import CacheRequest
from egotools.types import ClipExtractor


def network_of(request: CacheRequest, device: torch.device, full: Callable[[Tensor], int] = len) -> Network:
    """The network of a request's extractor, as it runs: in its precision, on `device` or with OpenVINO on the CPU.

    A compiled network is compiled for batches of `full` windows, given some of them.

    Raises:
        EgotoolsError: bf16 on hardware that would only emulate it; networks are to be compiled, and there is no
            compiler, or the device is not the CPU.
        MissingExtra: OpenVINO is not installed.
        StoreError: the file of an int8 network is damaged.
    """
    assert not isinstance(request.extractor, ClipExtractor), "it has no network"
    if request.runtime == "torch":
        return runnable(request.extractor.network(), device, request.precision)
    if request.runtime == "compile":
        return _compiled(request, device, full)
    if request.precision == "int8":
        from egotools.extraction.int8 import int8_network

        return int8_network(request)
    from egotools.extraction.openvino_runtime import openvino_network

    return openvino_network(request.extractor.network(), request.found.name, request.precision)


def _compiled(request: CacheRequest, device: torch.device, full: Callable[[Tensor], int]) -> Network:
    from egotools.extraction.compiled import Compiled

    assert not isinstance(request.extractor, ClipExtractor), "it has no network"
    name = request.found.name
    if device.type != "cpu":
        raise EgotoolsError(f"{name}: --runtime compile is for the CPU; give --device cpu, or --runtime torch")
    return runnable(
        request.extractor.network(), device, request.precision, call=lambda network: Compiled(name, network, full)
    )

"""The network of a request, ready to run, by its runtime."""

import torch

from egotools.extraction.forward import Network, runnable
from egotools.extraction.request import CacheRequest
from egotools.types import ClipExtractor


def network_of(request: CacheRequest, device: torch.device) -> Network:
    """The network of a request's extractor, as it runs: in its precision, on `device` or with OpenVINO on the CPU.

    Raises:
        EgotoolsError: bf16 on hardware that would only emulate it.
        MissingExtra: OpenVINO is not installed.
        StoreError: the file of an int8 network is damaged.
    """
    assert not isinstance(request.extractor, ClipExtractor), "it has no network"
    if request.runtime == "torch":
        return runnable(request.extractor.network(), device, request.precision)
    if request.precision == "int8":
        from egotools.extraction.int8 import int8_network

        return int8_network(request)
    from egotools.extraction.openvino_runtime import openvino_network

    return openvino_network(request.extractor.network(), request.found.name, request.precision)

"""Runs a network with OpenVINO on the CPU: converted from torch once for each shape of windows."""

import gc
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from egotools.errors import EgotoolsError, ExtractorError, MissingExtra, first_line
from egotools.extraction.forward import UNTRACEABLE, Network
from egotools.extraction.request import Precision
from egotools.machine import has_fast_bf16
from egotools.pixels.preprocessing import Normalize

EXTRA = "openvino"
TELEMETRY = "openvino_telemetry"
ATTENTION = "ScaledDotProductAttention"
SIZES = 4  # of batches for which an int8 model is kept compiled: full ones, one window, and the rest of a run

Array = np.ndarray[Any, Any]
Model = Any  # an openvino.Model: the library is imported only where it is used


def load() -> Any:  # Any: the module
    """The library `openvino`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        with _without_telemetry():
            import openvino
    except ImportError as error:
        raise MissingExtra("openvino", EXTRA) from error
    return openvino


@cache
def core() -> Any:  # Any: an openvino.Core
    """OpenVINO's devices: one object, kept until the process ends.

    On processors with AMX the CPU's plugin gives the thread that loads it a stack for signals, and frees it with the
    `Core`. It may still be in use then, if there are several or another thread frees it, and the next signal that
    Python handles kills the process.
    """
    found = load().Core()
    found.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin, before any other `Core` does
    return found


def _load_nncf() -> Any:  # Any: the module
    load()
    try:
        with _without_telemetry():
            import nncf
    except ImportError as error:
        raise MissingExtra("nncf", EXTRA) from error
    nncf.set_log_level(logging.ERROR)
    return nncf


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what the libraries log and warn of each other, and their progress bars on stdout; errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Hides the package that both libraries would report to their makers with, and write to the home folder with.

    They do without it where it is not installed. Nothing changes for a program that has imported it already.
    """
    if TELEMETRY in sys.modules:
        yield
        return
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Python's own mark of what must not be imported
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]


def openvino_network(network: Network, name: str, precision: Precision) -> Network:
    """A callable that computes `network` in float32 or bf16, from a batch of prepared windows to float32 [B, D].

    The network is converted when the first windows of a shape come.

    Raises:
        EgotoolsError: bf16 on a processor that would only emulate it, or a plain function; by the callable, if the
            network cannot be converted.
        MissingExtra: OpenVINO is not installed.
    """
    load()
    if precision == "bf16" and not has_fast_bf16(torch.device("cpu")):
        raise EgotoolsError("--precision bf16: this cpu does not compute bf16 in hardware; use float32")
    if not isinstance(network, nn.Module):
        raise _refusal(name, "it is a function, not a torch module")
    runs: dict[tuple[int, ...], Network] = {}

    def run(batch: Tensor) -> Tensor:
        shape = tuple(batch.shape[1:])
        if shape not in runs:
            runs[shape] = compiled(converted(network, batch[0], name), precision, name)
        return runs[shape](batch)

    return run


def converted(network: Network, window: Tensor, name: str) -> Model:
    """The OpenVINO model of a torch module, for any number of windows like `window` [L, ...].

    The module is exported whole: control flow that depends on values is an error, not a guess. It is taken as it is
    built, as OpenVINO itself folds batch norms and lays out weights; convolutions over frames would halve its speed.

    Raises:
        EgotoolsError: it cannot be converted; the message says why.
    """
    library = load()
    if not isinstance(network, nn.Module):
        raise _refusal(name, "it is a function, not a torch module")
    kinds = ("GeneralFailure", "NotImplementedFailure", "OpConversionFailure", "OpValidationFailure")
    failures = (*UNTRACEABLE, *(getattr(library.frontend, kind) for kind in kinds))
    network.eval().requires_grad_(False)
    for parent in list(network.modules()):
        for part, child in parent.named_children():
            if isinstance(child, Normalize):
                setattr(parent, part, _Normalize(child))
    any_number = {0: torch.export.Dim("windows", min=1)}
    try:
        with torch.no_grad(), _quietly():
            with redirect_stderr(io.StringIO()):  # where torch prints what it has of a network that cannot be exported
                program = torch.export.export(
                    network, (torch.stack([window, window]),), dynamic_shapes=(any_number,), strict=False
                )
            model = library.convert_model(program)
            model.reshape([-1, *window.shape])
    except failures as error:
        raise _refusal(name, _reason(error)) from error
    if len(model.outputs) != 1:
        raise _refusal(name, f"it gives {len(model.outputs)} tensors, not one")
    return model


class _Normalize(nn.Module):
    """`Normalize` in two operations: OpenVINO computes them in float32, and rounds to bf16 after, as PyTorch."""

    scale: Tensor
    shift: Tensor

    def __init__(self, normalize: Normalize) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor([1 / (255 * std) for std in normalize.std]))
        shift = [-mean / std for mean, std in zip(normalize.mean, normalize.std, strict=True)]
        self.register_buffer("shift", torch.tensor(shift))

    def forward(self, pixels: Tensor) -> Tensor:
        normalized: Tensor = pixels.to(torch.float32) * self.scale + self.shift
        return normalized.movedim(-1, -3)


def _reason(error: Exception) -> str:
    """What an exporter says, in one line: OpenVINO begins with the place in its own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "onversion is failed for" in line or "No conversion rule" in line]
    if "Constraints violated (windows)" in str(error):
        return "it takes only batches of one size"
    return (told[-1].lstrip("- ") if told else first_line(error))[:200]


def _refusal(name: str, reason: str) -> EgotoolsError:
    return EgotoolsError(f"{name}: cannot be converted to OpenVINO ({reason.rstrip('.')}); use --runtime torch")


def compiled(model: Model, precision: Precision, name: str) -> Network:
    """A callable that runs a model on the CPU, with as many threads as torch has, one batch at a time.

    Raises:
        ExtractorError: by the callable, for windows of another shape than the model's.
    """
    # Said for float32, too: on processors with AMX the default is bf16. What an int8 model has not quantized is as fast
    # as it can be. Reading processes share the cores, so that no thread is bound to one.
    quick = precision == "bf16" or (precision == "int8" and has_fast_bf16(torch.device("cpu")))
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if quick else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
    }
    expected = [each.get_length() for each in list(model.inputs[0].get_partial_shape())[1:]]

    @lru_cache(SIZES)
    def request(size: int | None) -> Any:  # Any: an openvino.InferRequest
        fixed = model
        if size is not None:
            fixed = model.clone()
            fixed.reshape([size, *expected])
        return core().compile_model(fixed, "CPU", settings).create_infer_request()

    def run(batch: Tensor) -> Tensor:
        if list(batch.shape[1:]) != expected:
            raise ExtractorError(f"{name}: was quantized for windows {expected}, not {list(batch.shape[1:])}")
        # Some processors with AMX crash on int8 models for any number of windows: openvino issue 37577.
        chosen = request(len(batch) if precision == "int8" else None)
        chosen.infer([np.ascontiguousarray(batch.numpy())], share_inputs=True)
        return torch.from_numpy(np.array(chosen.get_output_tensor(0).data, np.float32))

    return run


def quantized(model: Model, windows: Array) -> Model:
    """A model in int8: its weights, and its activations by their ranges on `windows` [N, L, ...]."""
    with _quietly():
        nncf = _load_nncf()
    core()
    is_transformer = any(each.get_type_name() == ATTENTION for each in model.get_ops())
    with _quietly():
        found = nncf.quantize(
            model,
            nncf.Dataset([windows[at : at + 1] for at in range(len(windows))]),
            subset_size=len(windows),
            model_type=nncf.ModelType.TRANSFORMER if is_transformer else None,
        )
    gc.collect()  # nncf's own `Core`, here and not in another thread: see `core`
    return found

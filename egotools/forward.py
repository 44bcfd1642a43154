"""From a network to the callable that runs it: device, precision, memory format, folded batch-norm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized

from egotools.errors import EgotoolsError
from egotools.pixels import Normalize
from egotools.processes import compute_alone_if_forked

Precision = Literal["float32", "bf16"]
Run = Callable[[Tensor], Tensor]

ENOUGH = 0.98  # centred cosine between precisions; trained networks have 0.993 to 0.998
GATE_ROWS = 8
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# What foreign code says to a stand-in for a tensor.
UNTRACEABLE = (
    torch.fx.proxy.TraceError, ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
KNOWN_FORWARDS = {kind.forward for kind in (*CONVOLUTIONS, _BatchNorm, nn.SyncBatchNorm)}
KNOWN_KINDS = {"timm.layers.conv2d_same.Conv2dSame", "timm.layers.norm_act.BatchNormAct2d"}


def choose_device(name: str) -> torch.device:
    """`"auto"` is the first CUDA device where there is one, else the CPU.

    Raises:
        EgotoolsError: a device that this machine does not have.
    """
    compute_alone_if_forked()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EgotoolsError(f"--device {name}: not to be had here ({str(error).splitlines()[0]})") from error
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed by the hardware: AVX512-BF16 or AMX on CPUs, compute capability 8 on GPUs."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if capabilities:
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # torch 2.6, which has no public question


def runnable(network: Run, device: torch.device, precision: Precision) -> Run:
    """The fastest callable that computes `network`, from a batch as prepared to float32 [B, D] on `device`.

    Changes a torch module: frozen, batch-norm folded into convolutions, channels last, in the wanted precision. A plain
    function is called as it is.

    Raises:
        EgotoolsError: bf16 on a device that would only emulate it.
    """
    compute_alone_if_forked()
    if precision == "bf16" and not has_fast_bf16(device):
        raise EgotoolsError(f"--precision bf16: the {device.type} here computes no bf16; leave it at float32")
    takes_bf16 = isinstance(network, nn.Module) and any(isinstance(part, Normalize) for part in network.modules())
    if isinstance(network, nn.Module):
        _adapt(network, device, precision if takes_bf16 else "float32")
    # A network that makes its own floats of what is prepared cannot be converted as a whole.
    casts_itself = precision == "bf16" and not takes_bf16

    def run(batch: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=casts_itself):
            return network(batch.to(device, non_blocking=True)).float()

    return run


def _adapt(network: nn.Module, device: torch.device, precision: Precision) -> None:
    network.eval().requires_grad_(False)
    fold_batch_norms(network)
    if device.type == "cpu" and precision == "float32":
        run_framewise(network)
    network.to(device)
    if precision == "bf16":
        network.to(torch.bfloat16)
        for module in network.modules():
            if isinstance(module, Normalize):
                module.dtype = torch.bfloat16
    is_3d = any(isinstance(module, nn.Conv3d) for module in network.modules())
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            last = torch.channels_last_3d if isinstance(module, nn.Conv3d) else torch.channels_last
            module.to(memory_format=last)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = not is_3d  # one shape a run; trying out 3D kernels takes longer than it saves


def fold_batch_norms(network: nn.Module) -> int:
    """Folds each batch-norm into the convolution before it, in place; returns how many.

    The pairs are found by tracing; a network that cannot be traced stays as it is, and is only slower.
    """
    try:
        graph = _Tracer().trace(network)
    except UNTRACEABLE:
        return 0
    modules = dict(network.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    targets = [node.target for node in calls]
    read_directly = {node.target.rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    folded = 0
    for node in calls:
        norm, before = modules[node.target], node.args[0] if node.args else None
        if not isinstance(norm, _BatchNorm) or not isinstance(before, torch.fx.Node):
            continue
        convolution = modules.get(before.target) if before.op == "call_module" else None
        if not isinstance(convolution, CONVOLUTIONS) or len(before.users) > 1:
            continue
        if targets.count(node.target) > 1 or targets.count(before.target) > 1 or norm.running_mean is None:
            continue
        if not (_is_plain(convolution) and _is_plain(norm)) or {node.target, before.target} & read_directly:
            continue
        _fold(convolution, norm)
        parent, _, name = node.target.rpartition(".")
        setattr(modules[parent], name, _after(norm))
        folded += 1
    return folded


class _Tracer(torch.fx.Tracer):
    """Follows the forward pass without looking into convolutions and batch-norms, timm's own kinds among them."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, (*CONVOLUTIONS, _BatchNorm, Normalize)) or super().is_leaf_module(module, name)


def _is_plain(module: nn.Module) -> bool:
    """Whether a module computes what its kind does: no forward of its own, no hooks, no derived weights."""
    kind = type(module)
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    known = kind.forward in KNOWN_FORWARDS and not is_parametrized(module)
    return known or f"{kind.__module__}.{kind.__qualname__}" in KNOWN_KINDS


def _fold(convolution: nn.Module, norm: _BatchNorm) -> None:
    convolution.weight, convolution.bias = fuse_conv_bn_weights(
        convolution.weight,  # type: ignore[arg-type]
        convolution.bias,  # type: ignore[arg-type]
        norm.running_mean,  # type: ignore[arg-type]
        norm.running_var,  # type: ignore[arg-type]
        norm.eps,
        norm.weight,
        norm.bias,
    )
    for parameter in (convolution.weight, convolution.bias):
        parameter.requires_grad_(False)


def _after(norm: nn.Module) -> nn.Module:
    """What is left of a folded batch-norm: nothing, or the activation that timm keeps inside."""
    activation = getattr(norm, "act", None)
    return activation if isinstance(activation, nn.Module) else nn.Identity()


class FramewiseConv(nn.Module):
    """A 1 x k x k convolution of [B, C, T, H, W], run as a 2D one over B * T frames: faster in float32.

    R(2+1)D-18 is 1.4 times as fast, ip-CSN-152, whose convolutions of this kind are 1 x 1 x 1, 1.2 times.
    """

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.flat = nn.Conv2d(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size[1:],  # type: ignore[arg-type]
            stride=convolution.stride[1:],  # type: ignore[arg-type]
            padding=convolution.padding[1:],  # type: ignore[arg-type]
            dilation=convolution.dilation[1:],  # type: ignore[arg-type]
            groups=convolution.groups,
            bias=convolution.bias is not None,
        )
        self.flat.weight = nn.Parameter(convolution.weight.squeeze(2), requires_grad=False)
        if convolution.bias is not None:
            self.flat.bias = nn.Parameter(convolution.bias, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        frames = self.flat(x.transpose(1, 2).flatten(0, 1))
        return frames.unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)  # type: ignore[no-any-return]


def run_framewise(network: nn.Module) -> None:
    """Replaces every 1 x k x k convolution of `network` by one over frames."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if (
                isinstance(child, nn.Conv3d)
                and child.kernel_size[0] == child.stride[0] == 1
                and child.padding_mode == "zeros"
                and not isinstance(child.padding, str)
                and child.padding[0] == 0
                and _is_plain(child)
            ):
                setattr(parent, name, FramewiseConv(child))


@dataclass(frozen=True)
class Agreement:
    """How alike the rows of two precisions are, mean over rows: plain cosine, and with the mean row removed."""

    plain: float
    centred: float
    rows: int

    @classmethod
    def between(cls, exact: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> Agreement:
        """Of two arrays [N, D] of the same windows."""

        def cosine(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            return float(np.mean(np.sum(a * b, axis=1) / np.maximum(norms, 1e-30)))

        exact, other = exact.astype(np.float64), other.astype(np.float64)
        return cls(cosine(exact, other), cosine(exact - exact.mean(0), other - other.mean(0)), len(exact))


def without_bf16(name: str, error: RuntimeError) -> EgotoolsError:
    """What to say of a network that float32 runs and bf16 does not: an operation of it has no such kernel."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return EgotoolsError(f"{name}: cannot be computed in bf16 here ({reason}); use --precision float32")


def judge_precision(exact: Run, fast: Run, batches: Sequence[Tensor], name: str) -> Agreement:
    """Compares a lower precision with float32 on real windows before a cache is filled with it.

    Raises:
        EgotoolsError: the centred cosine is below 0.98, rows are not finite, or an operation has no such precision.
    """
    expected = np.concatenate([exact(batch).cpu().numpy() for batch in batches])
    try:
        rows = np.concatenate([fast(batch).cpu().numpy() for batch in batches])
    except RuntimeError as error:
        raise without_bf16(name, error) from error
    found = Agreement.between(expected, rows)
    if not found.centred >= ENOUGH:  # a NaN is no agreement either
        raise EgotoolsError(
            f"{name}: bf16 rows differ from float32 ones (cosine {found.plain:.5f}, centred {found.centred:.4f} "
            f"below {ENOUGH} on {found.rows} windows); use --precision float32"
        )
    return found

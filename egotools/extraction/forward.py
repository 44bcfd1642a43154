"""Prepares a network to run fast: device, precision, memory format, folded batch-norm."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized

from egotools.errors import EgotoolsError, ExtractorError
from egotools.extraction.request import Precision
from egotools.machine import has_fast_bf16
from egotools.pixels.preprocessing import Normalize
from egotools.processes import compute_alone_if_forked

Network = Callable[[Tensor], Tensor]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# What other people's code raises when given a stand-in for a tensor.
UNTRACEABLE = (
    torch.fx.proxy.TraceError, ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
KNOWN_FORWARDS = {kind.forward for kind in (*CONVOLUTIONS, _BatchNorm, nn.SyncBatchNorm)}
KNOWN_KINDS = {"timm.layers.conv2d_same.Conv2dSame", "timm.layers.norm_act.BatchNormAct2d"}


def runnable(
    network: Network,
    device: torch.device,
    precision: Precision,
    *,
    call: Callable[[Network], Network] = lambda network: network,
) -> Network:
    """The fastest callable that computes `network`, from a batch of prepared frames to float32 [B, D] on `device`.

    Changes a torch module: frozen, batch-norm folded into convolutions, channels last, in the given precision. A plain
    function is called unchanged. `call` makes what is called of the network, when it is ready.

    Raises:
        EgotoolsError: bf16 on a device that would only emulate it.
        ExtractorError: by the callable, if the network does not give a tensor.
    """
    compute_alone_if_forked()
    if precision == "bf16" and not has_fast_bf16(device):
        raise EgotoolsError(f"--precision bf16: this {device.type} does not compute bf16 in hardware; use float32")
    takes_bf16 = isinstance(network, nn.Module) and any(isinstance(part, Normalize) for part in network.modules())
    if isinstance(network, nn.Module):
        _adapt(network, device, precision if takes_bf16 else "float32")
    # A network that converts its prepared input to float itself cannot be cast as a whole.
    casts_itself = precision == "bf16" and not takes_bf16

    called = call(network)

    def run(batch: Tensor) -> Tensor:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=casts_itself):
            rows: object = called(batch.to(device, non_blocking=True))
        if not isinstance(rows, Tensor):
            kind = getattr(network, "__name__", type(network).__name__)
            raise ExtractorError(f"the network {kind} gives a {type(rows).__name__}, not a tensor [B, D] or [B, N, D]")
        return rows.float()

    return run


def _adapt(network: nn.Module, device: torch.device, precision: Precision) -> None:
    network.eval().requires_grad_(False)
    apart = getattr(network, "traced_apart", None)  # says which parts can be traced, where the whole cannot
    for part in [network] if apart is None else apart():
        fold_batch_norms(part)
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
        torch.backends.cudnn.benchmark = not is_3d  # one shape per run; a search of 3D kernels costs more than it saves


def fold_batch_norms(network: nn.Module) -> int:
    """Folds each batch-norm into the convolution before it, in place; returns how many.

    The pairs are found by tracing; a network that cannot be traced is unchanged, only slower.
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
    """Traces the forward pass without entering convolutions and batch-norms, including timm's own kinds."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, (*CONVOLUTIONS, _BatchNorm, Normalize)) or super().is_leaf_module(module, name)


def _is_plain(module: nn.Module) -> bool:
    """Whether a module computes exactly what its class does: no own forward, no hooks, no derived weights."""
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
    """What remains of a folded batch-norm: nothing, or the activation that timm keeps inside."""
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

"""What stays in float32 in a lower precision, and whether convolutions get their gradients right where it is to run."""

import copy
import functools
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Parameters = ParamSpec("Parameters")
Found = TypeVar("Found")
LIMIT = 0.02  # of an error relative to the largest entry of a gradient; rounding to bf16 alone is below 0.005


def at_least_float32(x: Tensor) -> Tensor:
    """The same numbers, in float32 if they were less precise; integers are left alone."""
    return x if x.dtype.itemsize >= 4 or not x.is_floating_point() else x.float()


def in_float32(function: Callable[Parameters, Found]) -> Callable[Parameters, Found]:
    """The same function of tensors, computed in float32 even under autocast; float64 stays."""

    @functools.wraps(function)
    def computed(*args: Parameters.args, **options: Parameters.kwargs) -> Found:
        tensors = [each for each in (*args, *options.values()) if isinstance(each, Tensor)]
        positional: Any = [_wide(each) for each in args]
        named: Any = {name: _wide(each) for name, each in options.items()}
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(*positional, **named)

    return computed


def _wide(value: Any) -> Any:
    return at_least_float32(value) if isinstance(value, Tensor) else value


def weight_gradient_errors(
    model: nn.Module, batch: Any, dtype: torch.dtype = torch.bfloat16, *, loss: Callable[[Any], Tensor] | None = None
) -> dict[str, float]:
    """How far each convolution's weight gradient is from float32's of the same inputs and output gradients.

    One step under autocast, forward and backward, of a copy of `model`, which stays as it is, as do torch's random
    states. Convolutions that do not run under autocast are left out. Some kernels give garbage for some shapes, so the
    batch must have the shapes of the training.

    Args:
        model: on its device, in train mode.
        batch: what `model` takes. Any: as in `fit`.
        dtype: of autocast.
        loss: what to minimize of the model's output; by default its `loss`.

    Returns:
        By name: the largest absolute difference by the largest absolute entry; infinite if any is not finite.
    """
    device = next(model.parameters()).device
    copied = copy.deepcopy(model)
    calls: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, module in copied.named_modules():
        if isinstance(module, CONVOLUTIONS) and module.weight.requires_grad:
            module.register_forward_hook(_recording(calls.setdefault(name, []), device.type))
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.enable_grad():
        with torch.autocast(device.type, dtype):
            found = copied(batch)
        (found["loss"] if loss is None else loss(found)).backward()
    modules = dict(copied.named_modules())
    return {name: _error(modules[name], each, dtype) for name, each in calls.items() if each}


def _recording(calls: list[tuple[Tensor, Tensor]], device_type: str) -> Callable[..., None]:
    """A hook that keeps the input and the gradient of the output of each call under autocast."""

    def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if torch.is_autocast_enabled(device_type) and output.requires_grad:
            x = inputs[0].detach()
            output.register_hook(lambda gradient: calls.append((x, gradient.detach())))  # type: ignore[no-untyped-call]

    return record


def _error(module: nn.Module, calls: list[tuple[Tensor, Tensor]], dtype: torch.dtype) -> float:
    assert isinstance(module, CONVOLUTIONS)
    assert module.weight.grad is not None
    weight = module.weight.detach().to(dtype).float().requires_grad_()
    wanted = torch.zeros_like(weight)
    for x, gradient in calls:  # in float32, of the numbers as they were rounded
        with torch.enable_grad():
            output = module._conv_forward(x.to(dtype).float(), weight, None)
        wanted += torch.autograd.grad(output, weight, gradient.float())[0]
    worst = (module.weight.grad.float() - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo().tiny)
    return worst.item() if math.isfinite(worst.item()) else math.inf

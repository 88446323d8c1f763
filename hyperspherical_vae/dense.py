"""Dense layers with ReLU between them, with the faster of two libraries for their products on a CPU.

PyTorch's products of float32 matrices on a CPU are those of MKL, which on processors of AMD takes vectors of 256 bits.
oneDNN, which PyTorch uses for convolutions, takes 512 bits where there are such. It has no public way in for matrices:
`torch.ops.mkldnn._linear_pointwise` is what `torch.compile` calls.
"""

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Multiplications from which on oneDNN makes up for its longer way in, about 12 microseconds.
_WORTH = 2**20


def _has_wide_units(cpuinfo: str) -> bool:
    """Whether /proc/cpuinfo tells of a processor of AMD that works on 512 bits at once."""
    lines = (line.partition(":") for line in cpuinfo.partition("\n\n")[0].splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    zen5_or_later = facts.get("vendor_id") == "AuthenticAMD" and int(facts["cpu family"]) >= 26
    return zen5_or_later and "avx512f" in facts["flags"].split()


@functools.cache
def product_library() -> str:
    """The library of large products of float32 matrices on the CPU: `onednn`, or `torch` for the one PyTorch takes.

    oneDNN is taken on processors of AMD with units of 512 bits, which are those of family 26 (Zen 5) and later: it
    reaches 204 to 248 GFLOP/s there where MKL reaches 103 to 111. On Zen 4, which works on 512 bits in two turns, and
    on 256 bits in one, both reach 100 to 109. Results differ in rounding. The choice depends on the processor and on
    PyTorch alone, and on no measured time, so that a run can be repeated to the bit.
    """
    usable = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    with contextlib.suppress(OSError):
        if usable and _has_wide_units(Path("/proc/cpuinfo").read_text()):
            return "onednn"
    return "torch"


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a b' + bias for matrices a (n, k), b (m, k), of any strides."""
    if a.shape[0] * b.numel() >= _WORTH:
        # It has a ReLU too, which makes 0 of NaN: a network that has diverged would go on unnoticed.
        return torch.ops.mkldnn._linear_pointwise.default(a, b, bias, "none", [], "")
    return torch.mm(a, b.t()) if bias is None else torch.addmm(bias, a, b.t())


class _Dense(torch.autograd.Function):
    """Layers on a matrix x; parameters are the weights, then as many biases or None."""

    @staticmethod
    def forward(ctx: Any, relu_last: bool, x: Tensor, *parameters: Any) -> Tensor:
        count = len(parameters) // 2
        rectified, y = [], x
        for number, (weight, bias) in enumerate(zip(parameters[:count], parameters[count:], strict=True)):
            y = _product(y, weight, bias)
            if number < count - 1 or relu_last:
                rectified.append(y.relu_())
        ctx.relu_last = relu_last
        ctx.save_for_backward(x, *parameters, *rectified)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        saved, count = ctx.saved_tensors, (len(ctx.needs_input_grad) - 2) // 2
        x, weights, biases = saved[0], saved[1 : 1 + count], saved[1 + count : 1 + 2 * count]
        if torch.is_grad_enabled():  # the derivatives are to be differentiated in turn
            needed = ctx.needs_input_grad[1:]
            wanted = [tensor for tensor, need in zip(saved[: len(needed)], needed, strict=True) if need]
            y = _plain(x, weights, biases, ctx.relu_last)
            gradients = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
            return None, *(next(gradients) if need else None for need in needed)
        values = [x, *saved[1 + 2 * count :]]
        found: list[Tensor | None] = [None] * (1 + 2 * count)
        for number in reversed(range(count)):
            if number < count - 1 or ctx.relu_last:
                grad = torch.ops.aten.threshold_backward(grad, values[number + 1], 0)
            if ctx.needs_input_grad[2 + number]:
                found[1 + number] = _product(grad.t(), values[number].t())
            if ctx.needs_input_grad[2 + count + number]:
                found[1 + count + number] = grad.sum(0)
            if number or ctx.needs_input_grad[1]:
                grad = _product(grad, weights[number].t())
        found[0] = grad if ctx.needs_input_grad[1] else None
        return None, *found


def _plain(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], relu_last: bool) -> Tensor:
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = F.linear(x, weight, bias)
        x = x.relu_() if number < len(weights) - 1 or relu_last else x
    return x


def _suits(*tensors: Tensor | None) -> bool:
    """Whether these are float32 on a CPU where oneDNN is faster, and nothing wants PyTorch's own functions."""
    return (
        not torch.compiler.is_compiling()  # first, for the compiler cannot follow the next
        and product_library() == "onednn"
        and not torch._C._are_functorch_transforms_active()
        and not torch.is_autocast_enabled("cpu")
        and all(x is None or (x.dtype == torch.float32 and x.device.type == "cpu") for x in tensors)
    )


def dense(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], relu_last: bool = False) -> Tensor:
    """Dense layers one after the other, with ReLU after each but the last.

    On a CPU in float32, where `product_library` is oneDNN, they are one node of autograd. Elsewhere, and under
    `torch.compile`, `torch.func` and autocast, they are `torch.nn.functional.linear`. Derivatives exist to any order.

    Args:
        x: inputs (..., n_0).
        weights: (n_1, n_0), (n_2, n_1), ...
        biases: (n_1,), (n_2,), ... or None where a layer has none.
        relu_last: whether ReLU comes after the last layer too.

    Returns:
        outputs (..., n_last).

    Example:
        >>> first, second = torch.nn.Linear(5, 4), torch.nn.Linear(4, 3)
        >>> y = dense(torch.randn(2, 5), [first.weight, second.weight], [first.bias, second.bias])
        >>> y.shape
        torch.Size([2, 3])
    """
    if not _suits(x, *weights, *biases):
        return _plain(x, weights, biases, relu_last)
    y: Tensor = _Dense.apply(relu_last, x.reshape(-1, x.shape[-1]), *weights, *biases)
    return y.unflatten(0, x.shape[:-1]) if x.dim() != 2 else y

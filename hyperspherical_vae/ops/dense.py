"""Dense layers with ReLU between them: one node of autograd on a CPU, with the faster of two libraries for the products.

PyTorch's products of float32 matrices on a CPU are those of MKL, which on processors of AMD takes vectors of 256 bits.
oneDNN, which PyTorch uses for convolutions, takes 512 bits where there are such. It has no public way in for matrices:
`torch.ops.mkldnn._linear_pointwise` is what `torch.compile` calls.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["dense", "product_library"]

# Multiplications from which on oneDNN makes up for its longer way in, about 12 microseconds.
_WORTH = 2**20


@functools.cache
def product_library() -> str:
    """The library that multiplies large float32 matrices on the CPU in `dense`: `onednn`, or `torch` for PyTorch's own.

    oneDNN is taken on processors of AMD whose units work on 512 bits at once, family 26 (Zen 5) and later: products of
    100 images take half of MKL's time there. On Zen 4, which works on 512 bits in two turns, both do the same number of
    operations in a second. Results differ in rounding. The choice depends on the processor and PyTorch alone, and on no
    measured time, so that a run can be repeated to the bit.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "torch"
    first = text.partition("\n\n")[0]
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    wide = (
        facts.get("vendor_id") == "AuthenticAMD"
        and int(facts.get("cpu family", 0)) >= 26
        and "avx512f" in facts.get("flags", "").split()
    )
    there = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return "onednn" if wide and there else "torch"


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a b' + bias for matrices a (n, k), b (m, k), of any strides."""
    if product_library() == "onednn" and a.shape[0] * b.numel() >= _WORTH:
        # It has a ReLU too, which makes 0 of NaN: a network that has diverged would go on unnoticed.
        product: Tensor = torch.ops.mkldnn._linear_pointwise.default(a, b, bias, "none", [], "")
        return product
    return torch.mm(a, b.t()) if bias is None else torch.addmm(bias, a, b.t())


class _Dense(torch.autograd.Function):
    """Layers on a matrix x; parameters are the weights, then as many biases or None."""

    @staticmethod
    def forward(ctx: Any, relu_last: bool, x: Tensor, *parameters: Tensor | None) -> Tensor:
        count = len(parameters) // 2
        rectified, y = [], x
        for number, (weight, bias) in enumerate(zip(parameters[:count], parameters[count:], strict=True)):
            assert weight is not None
            y = _product(y, weight, bias)
            if number < count - 1 or relu_last:
                rectified.append(y.relu_())
        ctx.relu_last = relu_last
        ctx.save_for_backward(x, *parameters, *rectified)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        saved, count = ctx.saved_tensors, (len(ctx.needs_input_grad) - 2) // 2
        x, weights, biases = saved[0], saved[1 : 1 + count], saved[1 + count : 1 + 2 * count]
        if torch.is_grad_enabled():  # the derivatives are to be differentiated in turn
            return None, *_gradients(x, weights, biases, ctx.relu_last, grads[0], ctx.needs_input_grad[1:])
        values = [x, *saved[1 + 2 * count :]]
        found: list[Tensor | None] = [None] * (1 + 2 * count)
        grad = grads[0]
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


def _gradients(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    relu_last: bool,
    grad: Tensor,
    needed: Sequence[bool],
) -> list[Tensor | None]:
    """Gradients of the layers in x, weights and biases where they are needed, as functions of all of these and grad."""
    wanted = [tensor for tensor, need in zip((x, *weights, *biases), needed, strict=True) if need and tensor is not None]
    gradients = iter(torch.autograd.grad(_plain(x, weights, biases, relu_last), wanted, grad, create_graph=True))
    return [next(gradients) if need else None for need in needed]


def _plain(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], relu_last: bool) -> Tensor:
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = F.linear(x, weight, bias)
        x = torch.relu(x) if number < len(weights) - 1 or relu_last else x
    return x


def _suits(*tensors: Tensor | None) -> bool:
    """Whether these are float32 on a CPU, and nothing looks on that wants PyTorch's own functions."""
    return (
        not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not torch.is_autocast_enabled("cpu")
        and all(x is None or (x.dtype == torch.float32 and x.device.type == "cpu") for x in tensors)
    )


def dense(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None], relu_last: bool = False) -> Tensor:
    """Dense layers one after the other, with ReLU after each but the last.

    On a CPU in float32 they are one node of autograd, with the products of `product_library`. Elsewhere, under
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

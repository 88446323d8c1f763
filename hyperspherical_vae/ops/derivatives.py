"""Functions whose derivatives are known in closed form, to autograd, to forward mode and to `torch.func`."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import forward_ad


class Rule(NamedTuple):
    """How to compute a function of tensors of one shape, elementwise, and its derivatives.

    Attributes:
        evaluate: takes a number (the dimension, an order) and the tensors; returns the value and, for each tensor, the
            derivative in it. It is called outside autograd, so that it may work in place.
        slopes: takes the same; returns the derivatives again, as functions that can be differentiated themselves.
    """

    evaluate: Callable[..., tuple[Tensor, ...]]
    slopes: Callable[..., tuple[Tensor, ...]]


# By name, since a name is what the compiler takes as an argument of a function.
RULES: dict[str, Rule] = {}


class _Known(torch.autograd.Function):
    """A rule under plain autograd and the compiler: the derivatives come with the value."""

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Tensor:  # of any number, from which the compiler tells that there is a ctx
        name, number, *inputs = args
        value, *slopes = RULES[name].evaluate(number, *inputs)
        ctx.name, ctx.number = name, number
        ctx.save_for_backward(*inputs, *slopes)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        inputs, slopes = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        # The compiler has no second derivatives, and would compute the first ones twice.
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            slopes = RULES[ctx.name].slopes(ctx.number, *inputs)
        return None, None, *(grad * slope for slope in slopes)


class _Transformed(torch.autograd.Function):
    """The same under transforms: slower, and refused by the compiler for its `jvp`."""

    @staticmethod
    def forward(name: str, number: float, *inputs: Tensor) -> Tensor:
        return RULES[name].evaluate(number, *inputs)[0].clone()  # forward mode does not take a view

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.name, ctx.number, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(grad * slope for slope in RULES[ctx.name].slopes(ctx.number, *ctx.saved_tensors))

    @staticmethod
    def jvp(ctx: Any, _name: None, _number: None, *tangents: Tensor | None) -> Tensor:
        slopes = RULES[ctx.name].slopes(ctx.number, *ctx.saved_tensors)
        parts = [slope * x for slope, x in zip(slopes, tangents, strict=True) if x is not None]
        return functools.reduce(torch.add, parts)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], name: str, number: float, *inputs: Tensor) -> Any:
        return _Transformed.apply(name, number, *batch_first(info, in_dims[2:], inputs)), 0


def batch_first(info: Any, in_dims: tuple[int | None, ...], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The inputs of a rule for `torch.func.vmap`, with the batch that it makes as their first dimension."""
    return [
        x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)
        for x, dim in zip(inputs, in_dims, strict=True)
    ]


def apply_rule(name: str, number: float, *inputs: Tensor) -> Tensor:
    """The function `RULES[name]` of tensors of one shape, with all derivatives that its slopes have."""
    # Of transforms of `torch.func` and forward mode that are at work PyTorch has no public question.
    transformed = torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    function = _Transformed if transformed else _Known
    return function.apply(name, number, *inputs)


class _Refused(torch.autograd.Function):
    """Passes a derivative on, and refuses to be differentiated."""

    generate_vmap_rule = True

    @staticmethod
    def forward(message: str, derivative: Tensor, *sources: Tensor) -> Tensor:
        return derivative.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.message = inputs[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> None:
        raise NotImplementedError(ctx.message)


def refusing(message: str, derivative: Tensor, *sources: Tensor) -> Tensor:
    """The derivative, which depends on the sources, with an error in place of derivatives of its own."""
    return _Refused.apply(message, derivative, *sources)


def differentiable_once(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Let the `backward` of a sample compute outside autograd, and have its result refuse a second differentiation.

    `torch.autograd.function.once_differentiable` refuses it only where the incoming gradient is differentiated, and
    takes what depends on the saved tensors for constant.
    """

    @functools.wraps(backward)
    def wrapper(ctx: Any, *grads: Tensor) -> Any:
        with torch.no_grad():
            derivatives = backward(ctx, *grads)
        if not torch.is_grad_enabled() or torch.compiler.is_compiling():
            return derivatives
        sources = [x for x in (*ctx.saved_tensors, *grads) if x is not None and x.requires_grad]
        message = "samples on a sphere can be differentiated once, not twice"
        return tuple(None if x is None else refusing(message, x, *sources) for x in derivatives)

    return wrapper

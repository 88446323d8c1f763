"""Tables of constants, made once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import TypeVar

import torch

T = TypeVar("T")


def constant_when_traced(make: Callable[..., T]) -> Callable[..., T]:
    """Let programs that `torch.compile` traces hold what a function returns as a constant.

    This is `torch.compiler.assume_constant_result`, which imports the compiler to set the mark: a second and a half at
    every start, for programs that compile nothing.
    """
    make._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return make


def kept(make: Callable[..., T]) -> Callable[..., T]:
    """Keep what a function of hashable arguments returns; programs traced by `torch.compile` hold it as a constant.

    Args:
        make: returns a number or a tensor of at least one dimension (what `torch.compile` takes as constants).

    Example:
        >>> squares = kept(lambda n: torch.arange(n) ** 2)
        >>> squares(3) is squares(3)
        True
    """
    # A tensor made in inference mode could not take part in a gradient later.
    made = torch.inference_mode(False)(make)
    cached = functools.cache(made)
    constant = constant_when_traced(made)

    def table(*args: Hashable) -> T:
        return constant(*args) if torch.compiler.is_compiling() else cached(*args)

    return table

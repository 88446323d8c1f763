"""Constants made once, and long vectors computed in parts."""

import functools
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor


def in_chunks(function: Callable[..., Tensor], size: int, *vectors: Tensor) -> Tensor:
    """An elementwise function of vectors (n,), on a CPU of `size` elements at a time, so that they stay in its cache.

    Its result may have more dimensions to the left.
    """
    first = vectors[0]
    if first.device.type != "cpu" or torch.compiler.is_compiling() or len(first) <= size:
        return function(*vectors)
    parts = zip(*(vector.split(size) for vector in vectors), strict=True)
    return torch.cat([function(*part) for part in parts], -1)


def table(make: Callable[..., Sequence[object]]) -> Callable[..., Tensor]:
    """Keep the numbers that a function of hashable arguments returns, and a tensor of them for each dtype and device.

    A program that `torch.compile` traces holds the numbers. The mark for that is the one of
    `torch.compiler.assume_constant_result`, which imports the compiler to set it: a second and a half at every start,
    for programs that compile nothing. Of tensors PyTorch 2.14 takes only one into a graph this way; tuples of numbers
    have no such limit.

    Args:
        make: returns nested tuples of numbers.

    Returns:
        a function of the dtype, the device and the arguments of `make`.

    Example:
        >>> squares = table(lambda n: tuple(i * i for i in range(n)))
        >>> squares(torch.float64, torch.device("cpu"), 3)
        tensor([0., 1., 4.], dtype=torch.float64)
    """
    cached = functools.cache(make)

    def numbers(*args: Hashable) -> Sequence[object]:
        return cached(*args)

    numbers._dynamo_marked_constant = True  # type: ignore[attr-defined]

    @functools.lru_cache(maxsize=1024)
    def kept(dtype: torch.dtype, device: torch.device, *args: Hashable) -> Tensor:
        # A tensor made in inference mode could not take part in a gradient later.
        with torch.inference_mode(False):
            return torch.tensor(numbers(*args), dtype=dtype, device=device)

    def tensor(dtype: torch.dtype, device: torch.device, *args: Hashable) -> Tensor:
        if torch.compiler.is_compiling():  # such a program must not hold a tensor that others may hold
            return torch.tensor(numbers(*args), dtype=dtype, device=device)
        return kept(dtype, device, *args)

    return tensor

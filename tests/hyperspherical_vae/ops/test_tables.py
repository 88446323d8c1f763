"""Constants that are made once."""

from __future__ import annotations

import torch
from torch import Tensor

from hyperspherical_vae.ops.tables import kept


def test_made_once_for_each_argument_and_fit_for_gradients() -> None:
    made = []

    @kept
    def powers(n: int, dtype: torch.dtype) -> Tensor:
        made.append(n)
        return torch.arange(n, dtype=dtype)

    with torch.inference_mode():
        first = powers(3, torch.float64)
    assert powers(3, torch.float64) is first
    assert powers(4, torch.float64).shape == (4,)
    assert made == [3, 4]
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad((x * first).sum(), x)[0].tolist() == [0, 1, 2]

"""Constants that are made once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hyperspherical_vae.ops.tables import table


@table
def counting(n: int) -> tuple[float, ...]:
    return tuple(float(i) for i in range(n))


def test_made_once_for_each_argument_and_fit_for_gradients() -> None:
    made: list[int] = []

    @table
    def powers(n: int) -> tuple[float, ...]:
        made.append(n)
        return tuple(float(i) for i in range(n))

    cpu = torch.device("cpu")
    with torch.inference_mode():
        first = powers(torch.float64, cpu, 3)
    assert powers(torch.float64, cpu, 3) is first
    assert powers(torch.float32, cpu, 3).dtype == torch.float32
    assert powers(torch.float64, cpu, 4).shape == (4,)
    assert made == [3, 4]
    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad((x * first).sum(), x)[0].tolist() == [0, 1, 2]


@pytest.mark.slow
def test_a_graph_may_hold_many() -> None:
    def several(x: Tensor) -> Tensor:
        return x * torch.stack([counting(x.dtype, x.device, n).sum() for n in (3, 4, 3)]).sum()

    x = torch.ones(2)
    assert torch.equal(torch.compile(several, backend="aot_eager", fullgraph=True)(x), several(x))

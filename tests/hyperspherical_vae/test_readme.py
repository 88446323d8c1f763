"""The examples of the library's README run as they stand, and learn."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

README = Path(__file__).parents[2] / "hyperspherical_vae" / "README.md"


def test_the_examples_train_and_fit():
    example, *others = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    torch.manual_seed(0)
    patterns = (torch.rand(2, 784) < 0.3).float()
    losses: list[float] = []
    scope: dict[str, Any] = {}

    def batches() -> Iterator[Tensor]:
        for _ in range(60):
            yield patterns[torch.randint(2, (50,))]
            losses.append(scope["loss"].item())

    scope["batches"] = batches()
    exec(example, scope)
    assert len(losses) == 60
    assert losses[-1] < 0.8 * losses[0]
    for other in others:
        exec(other, scope)
    truth = scope["mixture"].log_prob(scope["points"]).mean()
    assert -scope["loss"] > truth - 0.02

"""Where to compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from utils.config.flags import UsageError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """The device that `--device` names: `auto` takes CUDA if there is a card.

    Raises:
        UsageError: it is not there.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this machine has no CUDA device that torch can use; allowed here: auto, cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")

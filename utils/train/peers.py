"""The processes that share a run: what training and evaluation ask of them. Alone, a process asks itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from utils.config.config import Config
    from utils.run.folder import RunDir

Part = TypeVar("Part")


class Alone:
    """A process that has a run to itself.

    Attributes:
        rank: number of this process among those of the run, from 0.
        size: how many there are.
        weight: this process's share of the images of the current batch.
    """

    rank, size, weight = 0, 1, 1.0

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *raised: Any) -> None:
        pass

    def device(self, chosen: torch.device) -> torch.device:
        """The device of this process, where `chosen` is the kind."""
        return chosen

    def check(self, config: Config, images: int) -> None:
        """Refuse a run of which the processes cannot each do a share.

        Args:
            config: the run.
            images: how many there are to train on.

        Raises:
            UsageError: why, and what to do.
        """

    def wait(self) -> None:
        """Return once every process has come here."""

    def share(self, indices: Tensor) -> Tensor:
        """This process's part of the indices of a batch, (B,) to (b,)."""
        return indices

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        return values

    def gather(self, part: Part | None) -> list[Part]:
        """What every process has, in the order of their numbers; None is left out."""
        return [] if part is None else [part]

    def in_turn(self, compute: Callable[[int], Part], count: int, start: int = 0) -> Iterator[Part]:
        """compute(start), ..., compute(count - 1) in order; each is computed by one of the processes."""
        for first in range(start, count, self.size):
            number = first + self.rank
            yield from self.gather(compute(number) if number < count else None)

    def replica(self, model: nn.Module) -> nn.Module:
        """The model as training calls it; its gradient is that of the mean over the whole batch."""
        return model

    def store(self, run: RunDir) -> Any:
        """Where this process writes the state of training."""
        return run

    def holding(self, run: RunDir) -> AbstractContextManager[Any]:
        """Hold the run's folder for this process and the others."""
        return run


ALONE = Alone()

"""One run on several devices: `torchrun --nproc_per_node=2 run_models.py ...`.

Every process computes its share of each batch and of each evaluation; the first one alone writes. What a process asks
of the others is one small interface, which a process that runs alone offers too.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any

from utils.config.flags import UsageError
from utils.run.processes import ProcessLost, processes
from utils.train.peers import ALONE, Alone, Part

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from utils.config.config import Config
    from utils.run.folder import RunDir


def join() -> Alone:
    """The processes of this command, of which this is one."""
    return Group() if processes() else ALONE


class Group(Alone):
    """The processes that torchrun started for a run. Use it as a context manager."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), processes()
        self.weight = 1.0 / self.size

    def __enter__(self) -> Group:
        import torch
        from torch import distributed

        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from torch import distributed

        if error is None:
            distributed.destroy_process_group()
        elif isinstance(error, RuntimeError) and _is_of_the_connection(error):
            raise ProcessLost(
                f"process {self.rank} of {self.size}: another process of this run is gone (its message is above, if it "
                "left one); repeating the command goes on from the last whole epoch"
            ) from error

    def device(self, chosen: torch.device) -> torch.device:
        import torch

        if chosen.type != "cuda":
            return chosen
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"torchrun: {os.environ['LOCAL_WORLD_SIZE']} processes are more than the "
                f"{torch.cuda.device_count()} cards of this machine; start fewer, or give --device cpu"
            )
        torch.cuda.set_device(local)
        return torch.device("cuda", local)

    def check(self, config: Config, images: int) -> None:
        for flag, told, is_given in (
            ("-n vq", "its codebook follows the codes of whole batches", config.name == "vq"),
            ("-klt", "it compares the mean KL of whole batches", config.kl_target > 0),
            ("--labels", "the cross-entropy is a mean over the labels of whole batches", config.labels is not None),
            ("--compile", "gradients that are averaged while they come are not compiled", config.compile),
        ):
            if is_given:
                raise UsageError(f"{flag}: {told}; start it without torchrun")
        smallest = images % config.batch_size or config.batch_size
        if smallest < self.size:
            told = f"leaves a batch of {smallest} images for {self.size} processes; choose another"
            raise UsageError(f"-bs {config.batch_size}: {told}")

    def wait(self) -> None:
        self.gather(0)

    def share(self, indices: Tensor) -> Tensor:
        mine = indices[self.rank :: self.size]
        self.weight = len(mine) / len(indices)
        return mine

    def total(self, values: Tensor) -> Tensor:
        from torch import distributed

        values = values.clone()
        distributed.all_reduce(values)
        return values

    def gather(self, part: Part | None) -> list[Part]:
        from torch import distributed

        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, part)
        return [part for part in found if part is not None]

    def replica(self, model: Any) -> Any:
        from utils.train.replica import Replica

        return Replica(model, self)

    def store(self, run: RunDir) -> Any:
        return FirstWrites(run, self)

    def holding(self, run: RunDir) -> AbstractContextManager[Any]:
        return run if self.rank == 0 else nullcontext()


class FirstWrites:
    """Keeps the state of training after whole epochs, written by the first process and read by all.

    Within an epoch each process has random numbers of its own, so that a state of the first one would not do.
    """

    def __init__(self, run: RunDir, group: Group) -> None:
        self._run, self._group = run, group

    def save_last(self, state: dict[str, Any]) -> None:
        if self._group.rank == 0:
            self._run.save_last(state)

    def save_stopped(self, state: dict[str, Any]) -> None:
        pass

    def save_best(self, state: dict[str, Any]) -> None:
        if self._group.rank == 0:
            self._run.save_best(state)

    def load_last(self) -> dict[str, Any]:
        self._group.wait()
        state = self._run.load_last()
        self._group.wait()
        return state

    def save_diverged(self, evidence: dict[str, Any]) -> None:
        if self._group.rank == 0:
            self._run.save_diverged(evidence)

    def log(self, line: dict[str, Any]) -> None:
        if self._group.rank == 0:
            self._run.log(line)

    def rewind(self, epoch: int) -> None:
        if self._group.rank == 0:
            self._run.rewind(epoch)


def _is_of_the_connection(error: RuntimeError) -> bool:
    """Whether an error comes from the connection to other processes, of which torch only tells in its text."""
    text = f"{type(error).__name__} {error}"
    return any(
        word in text for word in ("DistBackendError", "DistNetworkError", "Connection", "gloo", "NCCL", "Socket")
    )

"""One run on several devices: `torchrun --nproc_per_node=2 run_models.py ...`.

Every process computes its share of each batch and of each evaluation; only the first one writes.
Annotations are not postponed here: torch looks at those of the function that combines gradients.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from hyperspherical_vae.kinds import KINDS
from utils.config.config import Config
from utils.config.flags import UsageError
from utils.run.folder import RunDir
from utils.run.processes import ProcessLost, processes
from utils.train.peers import Alone, Part


class Group(Alone):
    """The processes that torchrun started for a run. Use it as a context manager."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ["RANK"]), processes()
        self.weight = 1.0 / self.size

    def __enter__(self) -> "Group":
        distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None:
            distributed.destroy_process_group()
        elif isinstance(error, RuntimeError) and _is_of_the_connection(error):
            raise ProcessLost(
                f"process {self.rank} of {self.size}: another process of this run is gone (its message is above, if it "
                "left one); repeating the command resumes from the last whole epoch"
            ) from error

    def device(self, chosen: torch.device) -> torch.device:
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
        for flag, reason in (
            *((f"-n {kind}", KINDS[kind].needs_whole_batches) for kind, _ in config.factors),
            ("-klt", config.kl_target and "it compares the mean KL of whole batches"),
            ("--labels", config.labels and "the cross-entropy is a mean over the labels of whole batches"),
            ("--compile", config.compile and "gradients that are averaged while they are computed are not compiled"),
        ):
            if reason:
                raise UsageError(f"{flag}: {reason}; start it without torchrun")
        smallest = images % config.batch_size or config.batch_size
        if smallest < self.size:
            raise UsageError(
                f"-bs {config.batch_size}: leaves a batch of {smallest} images for {self.size} processes; give another"
            )

    def wait(self) -> None:
        self.gather(0)

    def share(self, indices: Tensor) -> Tensor:
        mine = indices[self.rank :: self.size]
        self.weight = len(mine) / len(indices)
        return mine

    def total(self, values: Tensor) -> Tensor:
        values = values.clone()
        distributed.all_reduce(values)
        return values

    def gather(self, part: Part | None) -> list[Part]:
        found: list[Any] = [None] * self.size
        distributed.all_gather_object(found, part)
        return [part for part in found if part is not None]

    def replica(self, model: nn.Module) -> nn.Module:
        parallel = DistributedDataParallel(model)
        parallel.register_comm_hook(self, _weighted_sum)
        return parallel

    def store(self, run: RunDir) -> Any:
        return FirstWrites(run, self)

    def holding(self, run: RunDir) -> AbstractContextManager[Any]:
        return run if self.rank == 0 else nullcontext()


class FirstWrites:
    """The state of training after whole epochs, written by the first process and read by all; see `RunDir`.

    Within an epoch each process has random numbers of its own, so that a state of the first one would not do.
    """

    def __init__(self, run: RunDir, group: Group) -> None:
        self._run, self._group = run, group

    def __getattr__(self, name: str) -> Any:
        reads = name == "checkpoint"
        return getattr(self._run, name) if reads or self._group.rank == 0 else lambda *_: None

    def save(self, name: str, state: dict[str, Any]) -> None:
        if self._group.rank == 0 and name != "stopped":
            self._run.save(name, state)

    def load(self, name: str) -> dict[str, Any]:
        self._group.wait()
        state = self._run.load(name)
        self._group.wait()
        return state


def _weighted_sum(group: Group, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
    # The loss of each process is a mean over its share of the batch, which counts by its size.
    work = distributed.all_reduce(bucket.buffer().mul_(group.weight), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])


def _is_of_the_connection(error: RuntimeError) -> bool:
    """Whether an error comes from the connection to other processes, which only its text says."""
    text = f"{type(error).__name__} {error}"
    return any(
        word in text for word in ("DistBackendError", "DistNetworkError", "Connection", "gloo", "NCCL", "Socket")
    )

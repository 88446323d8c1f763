"""A model of which every process of a run has a copy, kept alike by averaging gradients.

Annotations are not postponed here: torch looks at those of the function that combines gradients.
"""

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from utils.train.distributed import Group


class Replica:
    """The model as training sees it: the terms of the ELBO are those of this process's share of the batch.

    The gradient is that of the mean over the whole batch, also where the shares differ in size. Everything else is the
    model's own.

    Args:
        model: offers `elbo_terms(x)`; the same in every process.
        group: the processes.
    """

    def __init__(self, model: nn.Module, group: Group) -> None:
        self._model = model
        self._parallel = DistributedDataParallel(_Terms(model))
        self._parallel.register_comm_hook(group, _weighted_sum)

    def elbo_terms(self, *batch: Tensor) -> Any:
        return self._parallel(*batch)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class _Terms(nn.Module):
    """The one function of the model that training calls, as the module that torch asks for."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, *batch: Tensor) -> Any:
        return self.model.elbo_terms(*batch)


def _weighted_sum(group: Group, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
    # The loss of each process is a mean over its share, which counts by its size.
    work = distributed.all_reduce(bucket.buffer().mul_(group.weight), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])

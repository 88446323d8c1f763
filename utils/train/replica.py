"""A model of which every process of a run has a copy; the copies stay equal because their gradients are averaged.

Annotations are not postponed here: torch looks at those of the function that combines gradients.
"""

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from utils.train.peers import Alone


def replicate(model: nn.Module, peers: Alone) -> DistributedDataParallel:
    """The model as training calls it: on this process's share of each batch.

    The gradient is that of the mean over the whole batch, also where the shares differ in size.

    Args:
        model: the same in every process.
        peers: the processes.
    """
    parallel = DistributedDataParallel(model)
    parallel.register_comm_hook(peers, _weighted_sum)
    return parallel


def _weighted_sum(peers: Alone, bucket: distributed.GradBucket) -> torch.futures.Future[Tensor]:
    # The loss of each process is a mean over its share, which counts by its size.
    work = distributed.all_reduce(bucket.buffer().mul_(peers.weight), async_op=True)
    return work.get_future().then(lambda future: future.value()[0])

"""What a training step is made of: batches, Adam, several processes, compiling."""

from utils.run.processes import processes
from utils.train.peers import ALONE, Alone


def join() -> Alone:
    """The processes of this command, of which this is one."""
    if not processes():
        return ALONE
    from utils.train.distributed import Group  # imports torch

    return Group()

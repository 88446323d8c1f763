"""How the objective changes from epoch to epoch."""

from __future__ import annotations

from utils.config.config import Config


def warm_up(config: Config, epoch: int) -> float:
    """The fraction of its full weight that the KL has in epoch 1, 2, ...

    It is 0 for the first `kl_freeze` epochs, rises linearly over the next `kl_warmup`, of which the last has weight 1,
    and is 1 from there on.
    """
    if epoch <= config.kl_freeze:
        return 0.0
    return 1.0 if config.kl_warmup == 0 else min((epoch - config.kl_freeze) / config.kl_warmup, 1.0)



def kl_weight(config: Config, epoch: int) -> float:
    """Weight of the KL in epoch 1, 2, ...: beta times the warm-up fraction."""
    return config.beta * warm_up(config, epoch)

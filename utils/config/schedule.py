"""How the objective changes from epoch to epoch, and from which epoch on models are compared by it."""

from utils.config.config import Config
from utils.config.formats import RULES


def whole_from(config: Config) -> int:
    """The first epoch in which the KL has its full weight: from there on the objective does not change.

    That is epoch 1 where the weight makes no difference: the KL is constant, or `beta` is 0. The temperature of a
    Gumbel-softmax latent does not count: models are compared by the discrete codes, which have none.
    """
    if config.kl_is_constant or not config.beta:
        return 1
    return config.kl_freeze + max(config.kl_warmup, 1)


def warm_up(config: Config, epoch: int) -> float:
    """The fraction of its full weight that the KL has in epoch 1, 2, ...

    It is 0 for the first `kl_freeze` epochs, rises linearly over the next `kl_warmup`, and is 1 from `whole_from` on.
    """
    if epoch >= whole_from(config):
        return 1.0
    return max(epoch - config.kl_freeze, 0) / max(config.kl_warmup, 1)


def kl_weight(config: Config, epoch: int) -> float:
    """Weight of the KL in epoch 1, 2, ...: beta times the warm-up fraction."""
    return config.beta * warm_up(config, epoch)


def compared_after(config: Config) -> int:
    """The epoch after which models are compared and patience is counted; until then the newest model is the best."""
    if config.burn_in is not None:
        return config.burn_in
    return whole_from(config) - 1 if RULES[config.format].whole_selection else 0


def lr_falls(config: Config, epoch: int, since: int) -> bool:
    """Whether the learning rate is halved after an epoch.

    Args:
        config: the run.
        epoch: that has ended.
        since: the epoch of the best model or of the last halving, whichever came later.
    """
    since = max(since, whole_from(config) - 1, compared_after(config))
    return bool(config.lr_plateau) and epoch - since >= config.lr_plateau


def last_validation(config: Config) -> int:
    """The last epoch that can have a validation, 0 where none can."""
    return config.epochs // config.val_f * config.val_f


def note_on_selection(config: Config) -> str | None:
    """What to tell a user whose best model may be one of an unfinished objective, or None."""
    whole, after, last = whole_from(config), compared_after(config), last_validation(config)
    freeze = f"-klf {config.kl_freeze} " if config.kl_freeze else ""
    cause = f"{freeze}-klw {config.kl_warmup}: the KL has its full weight from epoch {whole} on"
    if last < whole:
        end = f"-e {config.epochs} and -vf {config.val_f} end with the validation of epoch {last}"
        chosen = "models are compared before that (-bi)" if after < last else "the newest model is taken for the best"
        return f"{cause}, but {end}; {chosen}"
    if after < whole - 1:
        return f"{cause}, but -bi {after} lets models be compared, and training stop early, from epoch {after + 1} on"
    return None

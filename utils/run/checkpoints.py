"""How far a run has come."""

import math
from dataclasses import dataclass

from utils.config.flags import shown


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs completed.
        step: batches of the next epoch that are done already (after an interruption).
        restarts: reloads after a non-finite loss or gradient.
        best_elbo, best_epoch: best unweighted validation ELBO and when; epoch 0 where there is none yet, and -inf while
            the best model is the newest, because none was compared.
        seconds: time spent training and validating.
        halvings, halved: how often the learning rate was halved, and after which epoch it was last.
    """

    epoch: int = 0
    step: int = 0
    restarts: int = 0
    best_elbo: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    halvings: int = 0
    halved: int = 0

    def __post_init__(self) -> None:
        """Refuse what a damaged file may say."""
        counts = (self.epoch, self.step, self.restarts, self.best_epoch, self.halvings, self.halved)
        measured = (self.best_elbo, self.seconds)
        if not all(type(count) is int and 0 <= count < 2**31 for count in counts) or not all(
            type(value) in (int, float) and value == value for value in measured
        ):
            raise ValueError(f"{shown(vars(self))} is no progress of a run")

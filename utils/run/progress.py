"""How far a run has come, as its checkpoints keep it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: epochs completed.
        step: batches of the next epoch that are done already (after an interruption).
        restarts: reloads after a non-finite loss or gradient.
        best_elbo, best_epoch: best unweighted validation ELBO and when; epoch 0 where there is none yet.
        seconds: time spent training and validating.
    """

    epoch: int = 0
    step: int = 0
    restarts: int = 0
    best_elbo: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0

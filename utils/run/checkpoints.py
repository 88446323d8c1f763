"""How far a run has come, and how far a long computation of it has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utils.run.stamped import Damaged

if TYPE_CHECKING:
    from utils.run.folder import RunDir


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


class PartialResult:
    """A small file with what a long computation has so far, for the process that continues it.

    Args:
        run: the run.
        key: what the result depends on; a file with another key is of no use and is ignored.
    """

    def __init__(self, run: RunDir, key: dict[str, Any]) -> None:
        self.run = run
        self.key = key

    def load(self) -> dict[str, Any] | None:
        """What was saved last, or None where there is nothing, nothing sound or nothing for this key.

        Raises:
            Foreign: the file is of another run.
        """
        try:
            found = self.run.load("log_px")
        except Damaged:
            return None
        return found["part"] if found.get("key") == self.key else None

    def save(self, part: dict[str, Any]) -> None:
        """Keep the part that is done.

        Raises:
            OSError: it could not be written; what was saved before is untouched.
        """
        self.run.save("log_px", {"key": self.key, "part": part})

    def remove(self) -> None:
        """The computation is done and its result stored elsewhere."""
        self.run.checkpoint("log_px").unlink(missing_ok=True)

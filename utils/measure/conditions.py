"""What all evaluations of a run have in common."""

from collections.abc import Callable
from dataclasses import dataclass

from utils.train.peers import ALONE, Alone


@dataclass(frozen=True)
class Conditions:
    """How a model is evaluated.

    Attributes:
        seed: fixes the samples, so that epochs and models are compared on the same noise.
        check_stop: called now and then; may raise.
        peers: the processes among which the images are shared; the result is the same.
    """

    seed: int
    check_stop: Callable[[], None] = lambda: None
    peers: Alone = ALONE

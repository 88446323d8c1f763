"""The formats of runs: the rules by which a run was made, and by which it is read ever after.

A format is part of what a run is. A later version that changes how a run is made adds a format and its rules.
"""

from dataclasses import dataclass

FIRST = 1  # of version 1.0, whose runs do not state it
FORMAT = 2  # of new runs


@dataclass(frozen=True)
class Rules:
    """How runs of a format are made.

    Attributes:
        noise_of_data: whether the noise that binarizes validation and test images comes from the data set, so that all
            seeds are tested on the same images; else it comes from the seed.
        mean_elbo: whether the ELBO of the test images is a mean over the importance samples of log p(x); else it is of
            one sample per image.
        whole_selection: whether models are compared from the first epoch on whose KL has full weight; else from epoch 1
            on.
    """

    noise_of_data: bool
    mean_elbo: bool
    whole_selection: bool


RULES = {
    FIRST: Rules(noise_of_data=False, mean_elbo=False, whole_selection=False),
    FORMAT: Rules(noise_of_data=True, mean_elbo=True, whole_selection=True),
}

"""The spelling that a message suggests: what a slip of the fingers may have been, and nothing else."""

import pytest

from utils.config.config import Config
from utils.config.flags import flags_of, nearest

FLAGS = [name for flag in flags_of(Config).values() for name in flag.names]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("MNIST", ["digits", "mnist", "f_mnist"], "mnist"),
        ("vfm", ["vmf", "normal"], "vmf"),
        ("power", ["vmf", "powerspherical"], "powerspherical"),
        ("logpx", ["elbo", "log_px", "log_px_z"], "log_px"),
        ("cifar-10", ["cifar10", "caltech"], "cifar10"),
        ("--eopchs", FLAGS, "--epochs"),
        ("--batch", FLAGS, "--batch_size"),
        ("--zdims", FLAGS, "--z_dims"),
        ("-zd5", FLAGS, "-zd"),
    ],
)
def test_slip_is_answered_with_what_was_meant(word, known, meant):
    assert nearest(word, known) == f" (did you mean {meant}?)"


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("gpu", ["auto", "cpu", "cuda"]),
        ("12", [str(digit) for digit in range(10)]),
        ("--latent", FLAGS),
        ("--wings", FLAGS),
        ("", FLAGS),
        ("vmf", []),
    ],
)
def test_what_is_no_slip_gets_no_suggestion(word, known):
    assert nearest(word, known) == ""

"""Digits, and a judge of them that takes a second to train."""

import functools

import pytest
import torch

from tests.utils.small_data import load
from utils.measure import judge


@functools.cache
def digits():
    return load("digits", ".")


@functools.cache
def digits_judge():
    """The judge after a tenth of its steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "STEPS", 200)
        return judge.train(digits(), torch.device("cpu"))

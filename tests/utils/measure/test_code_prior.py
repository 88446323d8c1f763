"""Fitting a prior over codes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hyperspherical_vae.latents.code_priors import AutoregressiveCodePrior, CodePrior, IndependentCodePrior
from utils.measure.code_prior import CodesOfImages, fit_by_gradient


class _Prior(CodePrior):
    """Training raises its weight, with which validation codes become less probable and, given the class, more so."""

    def __init__(self) -> None:
        super().__init__(codes=3, positions=2, classes=2)
        self.weight = nn.Parameter(torch.zeros(()))

    def log_prob(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        weight = -self.weight / 2 if labels is None else self.weight
        return weight.expand(len(codes))


@pytest.mark.parametrize("labelled", [True, False])
def test_the_epoch_is_chosen_by_what_is_trained(labelled: bool) -> None:
    data = CodesOfImages(torch.zeros(5, 2, dtype=torch.int64), torch.ones(5, dtype=torch.int64) if labelled else None)
    prior = _Prior()
    weights = [prior.weight.item() for _ in fit_by_gradient(prior, data, data, epochs=4, seed=1)]
    assert weights == sorted(weights)
    assert prior.weight.item() == (weights[-1] if labelled else 0)


def test_the_autoregressive_prior_starts_from_counting() -> None:
    torch.manual_seed(0)
    labels = torch.arange(40) % 2
    codes = (labels[:, None] + torch.arange(2)) % 3
    counted, prior = IndependentCodePrior(3, 2, 2), AutoregressiveCodePrior(3, 2, 2)
    counted.count(codes, labels)
    prior.count(codes, labels)
    for shown in (None, labels):
        torch.testing.assert_close(prior.log_prob(codes, shown), counted.log_prob(codes, shown))
    assert (prior.sample(50, 1) == codes[1]).float().mean() > 0.9

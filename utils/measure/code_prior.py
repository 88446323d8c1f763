"""Fitting a prior over the codes of a trained vector-quantized model, and what it says of images.

Shapes: N images, P positions.
"""

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from hyperspherical_vae.latents.code_priors import CodePrior
from utils.config.seeds import derive_seed
from utils.measure.elbo import standard_error

BATCH = 250


class CodesOfImages(NamedTuple):
    """Codes of images, (N, P), and their classes, (N,), on the same device, or None."""

    codes: Tensor
    labels: Tensor | None


def fit_by_gradient(
    prior: CodePrior, train: CodesOfImages, val: CodesOfImages, epochs: int, seed: int
) -> Iterator[int]:
    """Fit a counted `AutoregressiveCodePrior` by maximum likelihood (Adam, 1e-3, batches of 250).

    Half of the images of a batch are shown without their class, so that one network learns p(c) and p(c | y). The
    weights are those of the epoch that gives the validation codes the highest probability, with and without the class
    alike: p(c) alone would choose an epoch before the classes are learned. If none is better than counting, that stays.

    Args:
        prior: is fitted in place.
        train: to learn from.
        val: to choose the epoch by.
        epochs: passes over the codes.
        seed: fixes order and hidden classes.

    Yields:
        The number of epochs done, after each; the prior is fitted after the last.
    """
    torch.manual_seed(derive_seed(seed, "fit code prior"))
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-3, fused=True)
    best, best_state = _objective(prior, val), copy.deepcopy(prior.state_dict())
    for epoch in range(epochs):
        prior.train()
        for chosen in torch.randperm(len(train.codes), device=train.codes.device).split(BATCH):
            shown = torch.full_like(chosen, prior.classes)
            if train.labels is not None:
                shown = torch.where(torch.rand_like(chosen, dtype=torch.float) < 0.5, train.labels[chosen], shown)
            loss = -prior.log_prob(train.codes[chosen], shown).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        prior.eval()
        reached = _objective(prior, val)
        if reached > best:
            best, best_state = reached, copy.deepcopy(prior.state_dict())
        yield epoch + 1
    prior.load_state_dict(best_state)
    prior.eval()


def _objective(prior: CodePrior, images: CodesOfImages) -> float:
    """The mean of log p(c), plus that of log p(c | y) with labels."""
    reached = _log_prob(prior, images.codes).mean().item()
    return reached if images.labels is None else reached + _log_prob(prior, *images).mean().item()


@torch.no_grad()
def _log_prob(prior: CodePrior, codes: Tensor, labels: Tensor | None = None) -> Tensor:
    """log p(c), or log p(c | y), of many codes: (N,), float64."""
    parts = [slice(start, start + BATCH) for start in range(0, len(codes), BATCH)]
    return torch.cat([prior.log_prob(codes[part], None if labels is None else labels[part]) for part in parts]).double()


def code_prior_metrics(
    prior: CodePrior, codes: Tensor, labels: Tensor | None, log_px_z: Tensor
) -> dict[str, float | None]:
    """A lower bound of log p(x) from the fitted prior, and the bits that it takes to write the codes down.

    log p(x) = log sum_c p(x | c) p(c) >= log p(x | c(x)) + log p(c(x)) for the encoder's choice c(x) of codes: the sum
    has no negative term and c(x) is one of them.

    Args:
        prior: fitted.
        codes: of images, (N, P).
        labels: their classes, (N,), or None.
        log_px_z: log p(x | c(x)) of the images, (N,).

    Returns:
        `log_joint` and `log_joint_se`, the mean of log p(x, c(x)) in nats and its standard error; `bits`, the mean of
        -log2 p(c(x)); `bits_given_class`, that of -log2 p(c(x) | y), None without labels.
    """
    log_prob = _log_prob(prior, codes)
    given_class = None if labels is None else _log_prob(prior, codes, labels.to(codes.device)).mean().item()
    joint = log_px_z.double() + log_prob
    return {
        "log_joint": joint.mean().item(),
        "log_joint_se": standard_error(joint),
        "bits": -log_prob.mean().item() / math.log(2),
        "bits_given_class": None if given_class is None else -given_class / math.log(2),
    }

"""Fitting a prior over the codes of a trained vector-quantized model, and what it says of images.

Shapes: N images, P positions.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hyperspherical_vae.latents import CodebookLatent
from utils.model_utils import evaluating
from utils.seeds import derive_seed

if TYPE_CHECKING:
    from hyperspherical_vae.latents.code_priors import CodePrior
    from models import VAE

BATCH = 250


@torch.no_grad()
def codes_of(model: VAE, images: Tensor, batch_size: int = 1000) -> Tensor:
    """The codes of images (N, C, H, W): (N, P)."""
    with evaluating(model):
        return torch.cat([model.latent.codes(model.posterior(x)) for x in images.split(batch_size)])


def fit_by_gradient(
    prior: CodePrior,
    codes: Tensor,
    labels: Tensor | None,
    val_codes: Tensor,
    epochs: int,
    seed: int,
    on_epoch: Callable[[int, int], None],
) -> None:
    """Fit an `AutoregressiveCodePrior` by maximum likelihood (Adam, 1e-3, batches of 250).

    Half of the images of a batch are shown without their class, so that one network learns p(c) and p(c | y). What is
    kept is the epoch that gives the validation codes the highest probability.

    Args:
        prior: is fitted in place.
        codes: to learn from, (N, P).
        labels: their classes, (N,), or None.
        val_codes: to choose the epoch by, (M, P).
        epochs: passes over the codes.
        seed: fixes order and hidden classes.
        on_epoch: told (epochs done, epochs in all).
    """
    torch.manual_seed(derive_seed(seed, "fit code prior"))
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-3, fused=True)
    best, best_state = -math.inf, copy.deepcopy(prior.state_dict())
    for epoch in range(epochs):
        prior.train()
        for chosen in torch.randperm(len(codes), device=codes.device).split(BATCH):
            shown = torch.full_like(chosen, prior.classes)
            if labels is not None:
                shown = torch.where(torch.rand_like(chosen, dtype=torch.float) < 0.5, labels[chosen], shown)
            loss = -prior.log_prob(codes[chosen], shown).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        prior.eval()
        reached = _mean_log_prob(prior, val_codes)
        if reached > best:
            best, best_state = reached, copy.deepcopy(prior.state_dict())
        on_epoch(epoch + 1, epochs)
    prior.load_state_dict(best_state)
    prior.eval()


@torch.no_grad()
def _mean_log_prob(prior: CodePrior, codes: Tensor) -> float:
    return torch.cat([prior.log_prob(part) for part in codes.split(BATCH)]).double().mean().item()


@torch.no_grad()
def code_prior_metrics(
    model: VAE, images: Tensor, labels: Tensor | None, kind: str, batch_size: int = BATCH
) -> dict[str, Any]:
    """A lower bound of log p(x) from the fitted prior, and the bits that it takes to write the codes down.

    log p(x) = log sum_c p(x | c) p(c) >= log p(x | c(x)) + log p(c(x)) for the encoder's choice c(x) of codes: the sum
    has no negative term and c(x) is one of them.

    Args:
        model: vector-quantized, with a fitted `latent.code_prior`.
        images: (N, C, H, W), floats on the model's device.
        labels: their classes, (N,), or None.
        kind: name of the prior.
        batch_size: images at a time.

    Returns:
        `kind`; `log_joint` and `log_joint_se`, the mean of log p(x, c(x)) in nats and its standard error;
        `bits`, the mean of -log2 p(c(x)); `bits_given_class`, that of -log2 p(c(x) | y), None without labels.
    """
    assert isinstance(model.latent, CodebookLatent)
    prior = model.latent.code_prior
    assert prior is not None
    joint, bits, bits_given_class = [], [], []
    with evaluating(model):
        for start in range(0, len(images), batch_size):
            x = images[start : start + batch_size]
            q = model.posterior(x)
            codes = model.latent.codes(q)
            log_prob = prior.log_prob(codes).double()
            joint.append(model.elbo_terms_of(q, x).log_px_z.double() + log_prob)
            bits.append(-log_prob / math.log(2))
            if labels is not None:
                y = labels[start : start + batch_size].to(codes.device)
                bits_given_class.append(-prior.log_prob(codes, y).double() / math.log(2))
    values = torch.cat(joint)
    return {
        "kind": kind,
        "log_joint": values.mean().item(),
        "log_joint_se": values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan,
        "bits": torch.cat(bits).mean().item(),
        "bits_given_class": torch.cat(bits_given_class).mean().item() if bits_given_class else None,
    }

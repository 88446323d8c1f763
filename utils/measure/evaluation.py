"""The metrics of the validation and of the test images, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from utils.classifying_utils import classifier_metrics
from utils.measure.elbo import SplitTerms, active_units, evaluate_elbo
from utils.measure.log_px import LogPx, estimate_log_px

if TYPE_CHECKING:
    from hyperspherical_vae.latents import Latent
    from models import VAE
    from utils.measure.conditions import Conditions


def validation_metrics(
    model: VAE, images: Tensor, labels: Tensor | None, conditions: Conditions, k: int = 0
) -> dict[str, Any]:
    """The ELBO and its terms, log p(x) with K samples if K is not 0, and how well the model's classifier does.

    Args:
        model: the model.
        images: (N, C, H, W), floats on the model's device.
        labels: their classes, (N,), or None.
        conditions: seed of the samples, and processes that share the images.
        k: importance samples K per image.
    """
    found = evaluate_elbo(model, images, conditions).summary()
    if k:
        found |= estimate_log_px(model, images, k, conditions).summary()
    if model.classifier is not None and labels is not None:
        found |= classifier_metrics(model, images, labels, conditions.seed)
    return found


def metrics_of_test(latent: Latent, terms: SplitTerms, log_px: LogPx | None, k: int) -> dict[str, Any]:
    """ELBO, KL per factor, statistics of the latent, active units and log p(x) of the test images.

    Args:
        latent: of the model.
        terms: what `evaluate_elbo` found.
        log_px: what `estimate_log_px` found; None for a latent without a density.
        k: importance samples that were asked for.
    """
    variance = latent.prior().variance
    return {
        "n": len(terms.log_px_z),
        **terms.summary(),
        **(log_px.summary() if log_px else {"log_px": None, "log_px_se": None, "k": k, "ess": None}),
        "kl_is_constant": latent.kl_is_constant,
        "active_units": active_units(terms.means, variance),
        "units": len(variance),
    }

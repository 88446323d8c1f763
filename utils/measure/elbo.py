"""The ELBO over a split, and where its images lie in the latent space.

Shapes: N images of the split, n factors of the latent space, D latent width, P positions of a discrete latent.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models import VAE, point_of, sample_of
from utils.config.seeds import derive_seed
from utils.measure.conditions import Conditions
from utils.model_utils import evaluating

# Images whose posterior is computed at once. It fixes the random numbers, so it must not depend on the machine.
BATCH = 1000


@dataclass
class SplitTerms:
    """The ELBO over a split, with one sample of z per image, and what the posteriors are.

    Attributes:
        log_px_z: log p(x | z), (N,).
        kl_factors: KL per factor, (N, n).
        samples: z, (N, D).
        means: posterior means, (N, D).
        modes: posterior modes, (N, D): on a sphere the mean direction times the radius.
        statistics: what the latent reports of its posteriors, such as kappa, each (N, n).
        codes: of a discrete latent, (N, P); None for a continuous one.
        code_summary: what the latent reports of its codes, such as their perplexity; empty for a continuous one.
    """

    log_px_z: Tensor
    kl_factors: Tensor
    samples: Tensor
    means: Tensor
    modes: Tensor
    statistics: dict[str, Tensor]
    codes: Tensor | None
    code_summary: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """Means over the images, in nats; spread of the statistics per factor."""
        found = elbo_metrics(self.log_px_z, self.kl_factors)
        places = {percent: round(percent / 100 * (len(self.log_px_z) - 1)) + 1 for percent in (5, 50, 95)}
        for name, values in self.statistics.items():
            values = values.double()
            found[name] = {
                "mean": values.mean(0).tolist(),
                "std": values.std(0, correction=0).tolist(),
                # Elements of each column: `torch.quantile` has a limit on size.
                **{f"q{percent:02}": values.kthvalue(place, 0).values.tolist() for percent, place in places.items()},
            }
        if self.code_summary:
            found["codes"] = self.code_summary
        return found


def elbo_metrics(log_px_z: Tensor, kl_factors: Tensor) -> dict[str, Any]:
    """Means over the images, in nats, of the ELBO and its terms; of the ELBO also the standard error.

    Args:
        log_px_z: log p(x | z) of each image, (N,).
        kl_factors: KL per factor, (N, n).
    """
    log_px_z, kl_factors = log_px_z.double(), kl_factors.double()
    kl = kl_factors.sum(-1)
    found: dict[str, Any] = {
        "elbo": (log_px_z - kl).mean().item(),
        "elbo_se": standard_error(log_px_z - kl),
        "log_px_z": log_px_z.mean().item(),
        "kl": kl.mean().item(),
    }
    if kl_factors.shape[-1] > 1:
        found["kl_factors"] = kl_factors.mean(0).tolist()
    return found


def standard_error(values: Tensor) -> float:
    """The standard error of the mean of values (N,); not a number where there is only one."""
    return values.double().std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan


@torch.no_grad()
def evaluate_elbo(model: VAE, images: Tensor, conditions: Conditions) -> SplitTerms:
    """The ELBO of every image of a split, with one sample of z per image.

    Args:
        model: the model.
        images: (N, C, H, W), floats on the model's device.
        conditions: seed of the samples, and processes that share the images.
    """
    batches, latent = images.split(BATCH), model.latent

    def evaluate(number: int) -> dict[str, Tensor]:
        conditions.check_stop()
        torch.manual_seed(derive_seed(conditions.seed, "evaluate elbo", number))
        q = model.posterior(batches[number])
        z = sample_of(q)
        terms = model.elbo_terms(q, z, batches[number])
        found = {f"statistic {name}": values for name, values in latent.statistics(q).items()}
        if latent.code_count:
            found["codes"] = latent.codes(q)
        return {
            **found,
            "log_px_z": terms.log_px_z,
            "kl_factors": terms.kl_factors,
            "samples": z,
            "means": point_of(q, "mean", "mode"),
            "modes": point_of(q),
        }

    with evaluating(model):
        parts = list(conditions.peers.in_turn(evaluate, len(batches)))
    whole = {name: torch.cat([part[name].to(images.device) for part in parts]) for name in parts[0]}
    statistics = {name.partition(" ")[2]: whole.pop(name) for name in list(whole) if name.startswith("statistic ")}
    codes = whole.pop("codes", None)
    return SplitTerms(
        **whole, statistics=statistics, codes=codes, code_summary={} if codes is None else latent.code_summary(codes)
    )


def active_units(means: Tensor, prior_variance: Tensor) -> int:
    """Coordinates of z that depend on x: the variance over x of E[z_d | x] exceeds 1 % of the prior's variance.

    For a standard normal prior this is the criterion of Burda et al. 2016.

    Args:
        means: posterior means, (N, D).
        prior_variance: variance of each coordinate under the prior, (D,).
    """
    return int((means.var(0, correction=0) > 0.01 * prior_variance).sum())

"""How good a model is on a split: ELBO, marginal log-likelihood, active units.

Shapes: N images of the split, B of a block, K importance samples, n factors of the latent space, D latent width.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution

from utils.model_utils import evaluating
from utils.seeds import derive_seed
from utils.train.peers import ALONE, Alone, Part

# Images whose posterior is computed at once, and latents that are drawn at once. Both fix the random numbers, so they
# must not depend on the machine. The second bounds memory whatever K is; how many of them are decoded at once, which
# bounds it whatever the images are, is for the model to say.
BLOCK = 100
ROWS = 4096

# Seconds of an estimate of log p(x) that a killed run may lose.
KEEP_EVERY = 20.0


class Latent(Protocol):
    """What is asked of a latent space; see `hyperspherical_vae.latents.Latent`."""

    has_density: bool
    kl_is_constant: bool
    code_count: int

    def codes(self, q: Any) -> Tensor: ...

    def code_summary(self, codes: Tensor) -> dict[str, float]: ...

    def prior(self) -> Distribution: ...

    def statistics(self, q: Any) -> dict[str, Tensor]: ...


class Terms(Protocol):
    """What is asked of the terms of an ELBO; see `models.ELBOTerms`."""

    @property
    def log_px_z(self) -> Tensor: ...

    @property
    def kl_factors(self) -> Tensor: ...


class Model(Protocol):
    """What is asked of a model; see `models.VAE`."""

    @property
    def latent(self) -> Latent: ...

    training: bool

    def train(self, mode: bool) -> Any: ...

    def posterior(self, x: Tensor) -> Distribution: ...

    def elbo_terms_of(self, q: Any, x: Tensor) -> Terms: ...

    def log_weights(self, x: Tensor, q: Any, k: int) -> Tensor: ...


@dataclass
class SplitTerms:
    """The ELBO over a split.

    Attributes:
        log_px_z: log p(x | z), (N,).
        kl_factors: KL per factor, (N, n).
        statistics: what the latent reports of its posteriors, such as kappa, each (N, n).
        means: posterior means, (N, D).
        codes: what the latent says of its codes, such as their perplexity; empty for a continuous one.
    """

    log_px_z: Tensor
    kl_factors: Tensor
    statistics: dict[str, Tensor]
    means: Tensor
    codes: dict[str, float]

    def summary(self) -> dict[str, Any]:
        """Means over the images, in nats; spread of the statistics per factor."""
        kl_factors = self.kl_factors.double()
        log_px_z = self.log_px_z.double().mean().item()
        kl = kl_factors.sum(-1).mean().item()
        found: dict[str, Any] = {"elbo": log_px_z - kl, "log_px_z": log_px_z, "kl": kl}
        if kl_factors.shape[-1] > 1:
            found["kl_factors"] = kl_factors.mean(0).tolist()
        for name, values in self.statistics.items():
            values = values.double()
            found[name] = {
                "mean": values.mean(0).tolist(),
                "std": values.std(0, correction=0).tolist(),
                **{f"q{100 * q:02.0f}": quantile(values, q).tolist() for q in (0.05, 0.5, 0.95)},
            }
        if self.codes:
            found["codes"] = self.codes
        return found


def quantile(values: Tensor, q: float) -> Tensor:
    """The q-quantile along the first dimension, without `torch.quantile`'s limit on size: (N, n) to (n,)."""
    ordered = values.sort(0).values
    return ordered[min(round(q * (len(ordered) - 1)), len(ordered) - 1)]


def _in_turn(compute: Callable[[int], Part], count: int, peers: Alone, start: int = 0) -> Iterator[Part]:
    """compute(start), ..., compute(count - 1) in order; each is computed by one of the processes."""
    for first in range(start, count, peers.size):
        number = first + peers.rank
        yield from peers.gather(compute(number) if number < count else None)


@torch.no_grad()
def evaluate_elbo(
    model: Model,
    images: Tensor,
    seed: int,
    batch_size: int = 1000,
    check_stop: Callable[[], None] = lambda: None,
    peers: Alone = ALONE,
) -> SplitTerms:
    """The ELBO of every image of a split, with one sample of z per image.

    Args:
        model: the model.
        images: (N, C, H, W), floats on the model's device.
        seed: fixes the samples, so that epochs and models are compared on the same noise.
        batch_size: images at a time.
        check_stop: called before each batch; may raise.
        peers: the processes among which the batches are shared; the result is the same.
    """
    batches = images.split(batch_size)

    def evaluate(number: int) -> dict[str, Tensor]:
        check_stop()
        torch.manual_seed(derive_seed(seed, "evaluate elbo", number))
        q = model.posterior(batches[number])
        terms = model.elbo_terms_of(q, batches[number])
        found = {"log_px_z": terms.log_px_z, "kl_factors": terms.kl_factors, "means": q.mean}
        if model.latent.code_count:
            found["codes"] = model.latent.codes(q)
        return found | {f"statistic {name}": values for name, values in model.latent.statistics(q).items()}

    with evaluating(model):
        parts = list(_in_turn(evaluate, len(batches), peers))
    whole = {name: torch.cat([part[name].to(images.device) for part in parts]) for name in parts[0]}
    return SplitTerms(
        whole["log_px_z"],
        whole["kl_factors"],
        {name.removeprefix("statistic "): values for name, values in whole.items() if name.startswith("statistic ")},
        whole["means"],
        model.latent.code_summary(whole["codes"]) if "codes" in whole else {},
    )


def active_units(means: Tensor, prior_variance: Tensor) -> int:
    """Coordinates of z that depend on x: the variance over x of E[z_d | x] exceeds 1 % of the prior's variance.

    For a standard normal prior this is the criterion of Burda et al. 2016.

    Args:
        means: posterior means, (N, D).
        prior_variance: variance of each coordinate under the prior, (D,).
    """
    return int((means.var(0, correction=0) > 0.01 * prior_variance).sum())


@dataclass
class LogPx:
    """Importance-sampled log p(x) of each image.

    Attributes:
        k: importance samples per image.
        values: (N,), in nats.
        ess: effective sample size of the weights of each image, (N,), between 1 and K.
    """

    k: int
    values: Tensor
    ess: Tensor

    def summary(self) -> dict[str, Any]:
        """Mean over images, its standard error, K and mean effective sample size.

        A value that is not finite is counted, and makes the mean not finite too: dropping it would flatter the model.
        """
        values = self.values.double()
        return {
            "log_px": values.mean().item(),
            "log_px_se": values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan,
            "k": self.k,
            "ess": self.ess.double().mean().item(),
            "log_px_nonfinite": int((~values.isfinite()).sum()),
        }


@torch.no_grad()
def log_px_blocks(
    model: Model, images: Tensor, k: int, seed: int, start: int = 0, peers: Alone = ALONE
) -> Iterator[tuple[Tensor, Tensor]]:
    """log p(x) block by block: log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q (Burda et al. 2016).

    Every block seeds its own samples, so that an interrupted estimate continues, and shares of it can be computed
    apart, with the same result.

    Args:
        model: the model.
        images: (N, C, H, W), floats on the model's device.
        k: importance samples K per image.
        seed: fixes the samples.
        start: number of the first block to compute.
        peers: the processes among which the blocks are shared.

    Yields:
        log p(x) in nats and effective sample size of the next block of images, each (B,).
    """
    blocks = images.split(BLOCK)

    def estimate(number: int) -> tuple[Tensor, Tensor]:
        x = blocks[number]
        torch.manual_seed(derive_seed(seed, "log p(x)", number))
        with evaluating(model):
            q = model.posterior(x)
            # Running logsumexp of the weights and of their squares: memory does not grow with K.
            total = squares = x.new_full((len(x),), -math.inf, dtype=torch.float64)
            done = 0
            while done < k:
                step = min(max(ROWS // BLOCK, 1), k - done)
                log_weights = model.log_weights(x, q, step).double()
                total = torch.logaddexp(total, log_weights.logsumexp(0))
                squares = torch.logaddexp(squares, (2 * log_weights).logsumexp(0))
                done += step
        return total - math.log(k), (2 * total - squares).exp()

    for values, ess in _in_turn(estimate, len(blocks), peers, start):
        yield values.to(images.device), ess.to(images.device)


class Partial(Protocol):
    """Where an estimate is kept while it goes on; see `utils.run.checkpoints.PartialResult`."""

    def load(self) -> dict[str, Any] | None: ...

    def save(self, part: dict[str, Any]) -> None: ...


def estimate_log_px(
    model: Model,
    images: Tensor,
    k: int,
    seed: int,
    on_block: Callable[[int, int], None] | None = None,
    partial: Partial | None = None,
    peers: Alone = ALONE,
) -> LogPx:
    """log p(x) of every image; see `log_px_blocks`.

    Args:
        model: the model.
        images: (N, C, H, W), floats on the model's device.
        k: importance samples K per image.
        seed: fixes the samples.
        on_block: told (images done, images in all) after each block; may raise.
        partial: where to go on from and to keep what is done, every `KEEP_EVERY` seconds and when interrupted.
        peers: the processes among which the images are shared.
    """
    found = partial.load() if partial else None
    values, ess = ([found["values"].to(images.device)], [found["ess"].to(images.device)]) if found else ([], [])
    start = len(found["values"]) if found else 0  # whole blocks: a block counts once it is done
    done, kept, kept_at = start, start, time.monotonic()

    def keep() -> None:
        if partial and done > kept:
            partial.save({"values": torch.cat(values).cpu(), "ess": torch.cat(ess).cpu()})

    try:
        for block_values, block_ess in log_px_blocks(model, images, k, seed, -(-start // BLOCK), peers):
            values.append(block_values)
            ess.append(block_ess)
            done += len(block_values)
            if time.monotonic() - kept_at >= KEEP_EVERY:
                keep()
                kept, kept_at = done, time.monotonic()
            if on_block:
                on_block(done, len(images))
    except BaseException:
        with contextlib.suppress(OSError):  # why it ends is worth more than the part that is lost
            keep()
        raise
    return LogPx(k, torch.cat(values), torch.cat(ess))


def evaluate_validation(
    model: Model,
    images: Tensor,
    seed: int,
    k: int = 0,
    check_stop: Callable[[], None] = lambda: None,
    peers: Alone = ALONE,
) -> dict[str, Any]:
    """The validation figures of one epoch: the ELBO and its terms, and log p(x) with K samples if K is not 0."""
    found = evaluate_elbo(model, images, seed, check_stop=check_stop, peers=peers).summary()
    if not k:
        return found
    estimate = estimate_log_px(model, images, k, seed, lambda done, total: check_stop(), peers=peers)
    return {**found, **estimate.summary()}


def evaluate_test(
    model: Model,
    images: Tensor,
    k: int,
    seed: int,
    on_block: Callable[[int, int], None] | None = None,
    partial: Partial | None = None,
    on_log_px: Callable[[Tensor], None] | None = None,
    peers: Alone = ALONE,
) -> dict[str, Any]:
    """The test figures of a run: ELBO, KL per factor, statistics of the latent, active units, log p(x).

    Args:
        model: the best model.
        images: (N, C, H, W), floats on the model's device.
        k: importance samples K per image.
        seed: fixes the samples.
        on_block: told (images done, images in all) during the estimate of log p(x).
        partial: where that estimate is kept while it goes on.
        on_log_px: given log p(x) of each image, (N,), where the latent has a density.
        peers: the processes among which the images are shared; the result is the same.
    """
    terms = evaluate_elbo(model, images, seed, peers=peers)
    log_px: dict[str, Any] = {"log_px": None, "log_px_se": None, "k": k, "ess": None}
    if model.latent.has_density:
        estimate = estimate_log_px(model, images, k, seed, on_block, partial, peers)
        log_px = estimate.summary()
        if on_log_px:
            on_log_px(estimate.values)
    variance = model.latent.prior().variance
    return {
        "n": len(images),
        **terms.summary(),
        **log_px,
        "kl_is_constant": model.latent.kl_is_constant,
        "active_units": active_units(terms.means, variance),
        "units": len(variance),
    }

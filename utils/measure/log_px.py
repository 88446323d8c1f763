"""The marginal log-likelihood by importance sampling.

Shapes: N images of the split, B of a block, K importance samples.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor

from models import VAE
from utils.config.seeds import derive_seed
from utils.measure.conditions import Conditions
from utils.measure.elbo import elbo_metrics, standard_error
from utils.model_utils import evaluating
from utils.run.folder import RunDir
from utils.run.stamped import Damaged, digest

# Images whose posterior is computed at once, and latents that are drawn at once. Both fix the random numbers, so they
# must not depend on the machine. The second bounds memory whatever K is; how many of them are decoded at once, which
# bounds it whatever the images are, is up to the model.
BLOCK = 100
ROWS = 4096

# Seconds of an estimate that a killed run may lose.
SAVE_EVERY = 20.0


@dataclass
class LogPx:
    """Importance-sampled log p(x) of each image, and the ELBO as a mean over the same samples.

    Attributes:
        k: importance samples per image.
        values: log p(x) in nats, (N,).
        ess: effective sample size of the weights of each image, (N,), between 1 and K.
        log_px_z: mean over the samples of log p(x | z), (N,).
        kl_factors: KL per factor, (N, n); in closed form, or where there is none a mean over the samples.
        elbo_variance: variance over the samples of log p(x | z) - KL, (N,); not a number where K is 1.
    """

    k: int
    values: Tensor
    ess: Tensor
    log_px_z: Tensor
    kl_factors: Tensor
    elbo_variance: Tensor

    def summary(self) -> dict[str, Any]:
        """Mean over images of log p(x), its standard error, K and mean effective sample size.

        A value that is not finite is counted, and makes the mean not finite too: dropping it would flatter the model.
        """
        return {
            "log_px": self.values.double().mean().item(),
            "log_px_se": standard_error(self.values),
            "k": self.k,
            "ess": self.ess.double().mean().item(),
            "log_px_nonfinite": int((~self.values.isfinite()).sum()),
        }

    def elbo_summary(self) -> dict[str, Any]:
        """The ELBO and its terms, see `elbo_metrics`; `elbo_mc_se` is that part of the error that K makes small."""
        mc_se = (self.elbo_variance.sum() / self.k).sqrt().item() / len(self.values)
        return {**elbo_metrics(self.log_px_z, self.kl_factors), "elbo_mc_se": mc_se}


@dataclass
class PartialResult:
    """A small file with what an estimate has so far, for the process that continues it.

    Attributes:
        run: the run.
        key: what the result depends on; a file with another key is of no use and is ignored.
    """

    run: RunDir
    key: dict[str, Any]

    def load(self) -> dict[str, Any] | None:
        """What was saved last, or None where there is nothing, nothing sound or nothing for this key.

        Raises:
            Foreign: the file is of another run.
        """
        try:
            found = self.run.load("log_px")
        except Damaged:
            return None
        return found.get("part") if digest(found.get("key")) == digest(self.key) else None

    def save(self, part: dict[str, Any]) -> None:
        """Keep the part that is done.

        Raises:
            OSError: it could not be written; what was saved before is untouched.
        """
        self.run.save("log_px", {"key": self.key, "part": part})

    def remove(self) -> None:
        """The computation is done and its result stored elsewhere."""
        self.run.checkpoint("log_px").unlink(missing_ok=True)


@torch.no_grad()
def log_px_blocks(
    model: VAE, images: Tensor, k: int, conditions: Conditions, start: int = 0
) -> Iterator[dict[str, Tensor]]:
    """log p(x) block by block: log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q (Burda et al. 2016).

    Every block seeds its own samples, so that an interrupted estimate continues, and shares of it can be computed
    apart, with the same result.

    Args:
        model: the model.
        images: (N, C, H, W), floats on the model's device.
        k: importance samples K per image.
        conditions: seed of the samples, and processes that share the blocks.
        start: number of the first block to compute.

    Yields:
        The attributes of a `LogPx` of the next block of images, in float64.
    """
    blocks = images.split(BLOCK)

    def estimate(number: int) -> dict[str, Tensor]:
        torch.manual_seed(derive_seed(conditions.seed, "log p(x)", number))
        with evaluating(model):
            return _estimate(model, blocks[number], k)

    for found in conditions.peers.in_turn(estimate, len(blocks), start):
        yield {name: values.to(images.device) for name, values in found.items()}


def _estimate(model: VAE, x: Tensor, k: int) -> dict[str, Tensor]:
    """The attributes of a `LogPx` of one block of images (B, C, H, W)."""
    q = model.posterior(x)
    # Running sums, so that memory does not grow with K: logsumexp of the weights and of their squares, log p(x | z), KL
    # of each factor, and squares of log p(x | z) - KL. Those are of differences from its first value, lest they cancel.
    total = squares = x.new_full((len(x),), -math.inf, dtype=torch.float64)
    log_px_z_sum = kl_sum = first = elbo_sum = elbo_squares = torch.zeros((), dtype=torch.float64, device=x.device)
    for done in range(0, k, step := max(ROWS // BLOCK, 1)):
        count = min(step, k - done)
        log_weights, log_px_z, kl = (part.double() for part in model.log_weights(x, q, count))
        total = torch.logaddexp(total, log_weights.logsumexp(0))
        squares = torch.logaddexp(squares, (2 * log_weights).logsumexp(0))
        log_px_z_sum = log_px_z_sum + log_px_z.sum(0)
        kl_sum = kl_sum + kl.expand(count, *kl.shape[-2:]).sum(0)
        elbo = log_px_z - kl.sum(-1)
        first = first if done else elbo[0]
        elbo_sum = elbo_sum + (elbo - first).sum(0)
        elbo_squares = elbo_squares + (elbo - first).square().sum(0)
    return {
        "values": total - math.log(k),
        "ess": (2 * total - squares).exp(),
        "log_px_z": log_px_z_sum / k,
        "kl_factors": kl_sum / k,
        "elbo_variance": (elbo_squares - elbo_sum.square() / k).clamp(min=0) / (k - 1 or math.nan),
    }


def estimate_log_px(
    model: VAE,
    images: Tensor,
    k: int,
    conditions: Conditions,
    on_block: Callable[[int, int], None] = lambda done, total: None,
    partial: PartialResult | None = None,
) -> LogPx:
    """log p(x) of every image; see `log_px_blocks`.

    Args:
        model: the model.
        images: (N, C, H, W), floats on the model's device.
        k: importance samples K per image.
        conditions: seed of the samples, and processes that share the images.
        on_block: called with (images done, images in all) after each block; may raise.
        partial: has what an interrupted estimate computed, and saves what this one has, every `SAVE_EVERY` seconds and
            when it is interrupted.
    """
    found = partial.load() if partial else None
    parts = [{name: values.to(images.device) for name, values in found.items()}] if _is_part(found, len(images)) else []
    start = len(parts[0]["values"]) if parts else 0  # whole blocks: a block counts once it is done
    done, saved, saved_at = start, start, time.monotonic()

    def save() -> None:
        if partial and done > saved:
            partial.save({name: values.cpu() for name, values in joined(parts).items()})

    try:
        for block in log_px_blocks(model, images, k, conditions, -(-start // BLOCK)):
            parts.append(block)
            done += len(block["values"])
            if time.monotonic() - saved_at >= SAVE_EVERY:
                save()
                saved, saved_at = done, time.monotonic()
            on_block(done, len(images))
            conditions.check_stop()
    except BaseException:
        with contextlib.suppress(OSError):  # why it ends is worth more than the part that is lost
            save()
        raise
    return LogPx(k, **joined(parts))


def _is_part(found: Any, images: int) -> TypeGuard[dict[str, Tensor]]:
    """Whether a file holds the attributes of a `LogPx` of whole blocks of so many images."""
    names = {field.name for field in dataclasses.fields(LogPx)} - {"k"}
    if not isinstance(found, dict) or found.keys() != names or not all(map(torch.is_tensor, found.values())):
        return False
    done = found["kl_factors"].shape[:1]
    return all(part.dtype == torch.float64 for part in found.values()) and (
        found["kl_factors"].ndim == 2
        and all(part.shape == done for name, part in found.items() if name != "kl_factors")
        and (done[0] == images or (done[0] < images and done[0] % BLOCK == 0))
    )


def joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The values of several parts of the images as those of one."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

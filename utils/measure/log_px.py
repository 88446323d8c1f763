"""The marginal log-likelihood by importance sampling.

Shapes: N images of the split, B of a block, K importance samples.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models import VAE
from utils.measure.conditions import Conditions
from utils.model_utils import evaluating
from utils.run.checkpoints import PartialResult
from utils.seeds import derive_seed

# Images whose posterior is computed at once, and latents that are drawn at once. Both fix the random numbers, so they
# must not depend on the machine. The second bounds memory whatever K is; how many of them are decoded at once, which
# bounds it whatever the images are, is up to the model.
BLOCK = 100
ROWS = 4096

# Seconds of an estimate that a killed run may lose.
SAVE_EVERY = 20.0


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
    model: VAE, images: Tensor, k: int, conditions: Conditions, start: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
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
        log p(x) in nats and effective sample size of the next block of images, each (B,).
    """
    blocks = images.split(BLOCK)

    def estimate(number: int) -> tuple[Tensor, Tensor]:
        x = blocks[number]
        torch.manual_seed(derive_seed(conditions.seed, "log p(x)", number))
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

    for values, ess in conditions.peers.in_turn(estimate, len(blocks), start):
        yield values.to(images.device), ess.to(images.device)


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
    values, ess = ([found["values"].to(images.device)], [found["ess"].to(images.device)]) if found else ([], [])
    start = len(found["values"]) if found else 0  # whole blocks: a block counts once it is done
    done, saved, saved_at = start, start, time.monotonic()

    def save() -> None:
        if partial and done > saved:
            partial.save({"values": torch.cat(values).cpu(), "ess": torch.cat(ess).cpu()})

    try:
        for block_values, block_ess in log_px_blocks(model, images, k, conditions, -(-start // BLOCK)):
            values.append(block_values)
            ess.append(block_ess)
            done += len(block_values)
            if time.monotonic() - saved_at >= SAVE_EVERY:
                save()
                saved, saved_at = done, time.monotonic()
            on_block(done, len(images))
            conditions.check_stop()
    except BaseException:
        with contextlib.suppress(OSError):  # why it ends is worth more than the part that is lost
            save()
        raise
    return LogPx(k, torch.cat(values), torch.cat(ess))

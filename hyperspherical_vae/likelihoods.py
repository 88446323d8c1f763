"""What the pixels of an image are, given the output of a decoder.

Shapes: B batch, D = C*H*W pixel values of one image, P numbers that the decoder gives per pixel value. A likelihood
takes the decoder's output `params` (..., P*D), laid out as P blocks of D, and images `x` (..., D) that broadcast
against it.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Likelihood(nn.Module):
    """Independent pixel values given a decoder's output.

    Args:
        levels: the number of steps of the pixel scale; pixel values are multiples of 1/levels in [0, 1].
        log_volume: of real numbers that were standardized, the log of the volume of a unit cube of theirs in the units
            of the data.

    Attributes:
        params_per_pixel: P, the numbers that a decoder has to give per pixel value.
        binary: whether only images of zeros and ones have a likelihood.
    """

    params_per_pixel = 1
    binary = False

    def __init__(self, levels: int = 255, log_volume: float = 0.0) -> None:
        super().__init__()
        self.levels = levels
        self.log_volume = log_volume

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x | params) in nats, summed over pixels: (..., P*D), (..., D) -> (...)."""
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        """E[x | params], the image to look at: (..., P*D) -> (..., D)."""
        raise NotImplementedError


class _BernoulliLogProb(torch.autograd.Function):
    """sum_d x_d l_d - softplus(l_d), whose gradient x - sigmoid(l) takes one pass instead of autograd's five."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(logits, x)
        # Pixel by pixel, not as a difference of two sums: in float32 that would lose 1e-3 nats of an image.
        return torch.addcmul(F.softplus(logits), logits, x, value=-1).sum(-1).neg_()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        logits, x = ctx.saved_tensors
        return (x - torch.sigmoid(logits)).mul_(grads[0].unsqueeze(-1)), None


class Bernoulli(Likelihood):
    """Binary pixels; the decoder gives their logits.

    log p(x) = sum_d x_d l_d - log(1 + exp l_d). Meaningful for x in {0, 1} only.
    """

    binary = True

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_prob: Tensor = _BernoulliLogProb.apply(params, x)
        return log_prob

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params)


class Gaussian(Likelihood):
    """Real pixels around the decoder's output, with one learned standard deviation for all of them.

    The decoder gives the mean as a logit. The standard deviation is shared by all pixels and images (the "sigma-VAE" of
    Rybkin et al. 2021) and kept above a quarter of a grey level, without which the density of a perfectly predicted
    pixel has no bound. log p(x) is then a log density over [0, 1]^D and not comparable with the log probability that
    the other likelihoods give.
    """

    def __init__(self, levels: int = 255, log_volume: float = 0.0) -> None:
        super().__init__(levels, log_volume)
        self.log_scale = nn.Parameter(torch.tensor(-1.0))

    @property
    def scale(self) -> Tensor:
        """Standard deviation of a pixel, in units of the pixel range."""
        return self.log_scale.exp() + 0.25 / self.levels

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        scale = self.scale
        squares = ((x - torch.sigmoid(params)) / scale).square().sum(-1)
        return -0.5 * squares - x.shape[-1] * (scale.log() + 0.5 * math.log(2 * math.pi))

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params)


class DiscretizedLogistic(Likelihood):
    """Grey levels 0..levels as bins of a logistic distribution, the outer bins reaching to infinity.

    The decoder gives the location as a logit and the log scale of each pixel. The probabilities of the levels + 1
    values add up to one, so that log p(x) is a log probability (Salimans et al. 2017, PixelCNN++, one component).
    """

    params_per_pixel = 2

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        location, log_scale = params.chunk(2, -1)
        # A scale below a tenth of a bin puts all mass in one bin; the bound keeps the exponent finite.
        inverse = torch.exp(-log_scale.clamp(-math.log(10.0 * self.levels), 5.0))
        half = 0.5 / self.levels
        centred = x - torch.sigmoid(location)
        upper, lower = (centred + half) * inverse, (centred - half) * inverse
        # log(sigmoid(u) - sigmoid(l)) without subtracting nearly equal numbers; u - l is known.
        inside = upper - F.softplus(upper) - F.softplus(lower) + torch.log(-torch.expm1(-inverse / self.levels))
        first, last = F.logsigmoid(upper), -F.softplus(lower)
        return torch.where(x < half, first, torch.where(x > 1 - half, last, inside)).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        return torch.sigmoid(params.chunk(2, -1)[0])


class Normal(Likelihood):
    """Real numbers around the decoder's output, with one learned standard deviation for all of them.

    log p(x) is a log density in the units of the data. The standard deviation is kept above `LEAST`, without which the
    density of a perfectly predicted number has no bound.
    """

    LEAST = 1e-3

    def __init__(self, levels: int = 1, log_volume: float = 0.0) -> None:
        super().__init__(levels, log_volume)
        self.log_scale = nn.Parameter(torch.tensor(0.0))

    @property
    def scale(self) -> Tensor:
        """Standard deviation of a number, in units of the standardized data."""
        return self.log_scale.exp() + self.LEAST

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        squares = (x - params).square().sum(-1) / self.scale.square()
        log_norm = x.shape[-1] * (self.scale.log() + 0.5 * math.log(2 * math.pi))
        return -0.5 * squares - log_norm - self.log_volume

    def mean(self, params: Tensor) -> Tensor:
        return params


class Poisson(Likelihood):
    """Counts, whole numbers from 0 on, of which images hold the share in `levels`.

    The decoder gives the log of the expected share, so that the expected count is levels * exp(params).
    log p(n) = n log rate - rate - log n!.
    """

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        counts = (x * self.levels).round()  # a share in float32 is off by its rounding
        log_rate = params + math.log(self.levels)
        return (counts * log_rate - log_rate.exp() - torch.lgamma(counts + 1)).sum(-1)

    def mean(self, params: Tensor) -> Tensor:
        return params.exp()

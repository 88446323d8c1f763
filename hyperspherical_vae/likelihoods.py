"""What the pixels of an image are, given the output of a decoder.

Shapes: B batch, D = C*H*W pixel values of one image, P numbers that the decoder gives per pixel value. A likelihood
takes the decoder's output `params` (..., P*D), laid out as P blocks of D, and images `x` (..., D) that broadcast
against it.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


class Likelihood(nn.Module):
    """Independent pixel values given a decoder's output.

    Args:
        levels: the number of steps of the pixel scale; pixel values are multiples of 1/levels in [0, 1].
        log_volume: the log of the volume, in the units of the data, of a unit cube of the values that x holds.

    Attributes:
        params_per_pixel: P, the numbers that a decoder has to give per pixel value.
        binary: whether only images of zeros and ones have a likelihood.
        of_grey_levels: whether it is a probability of the levels + 1 values of a pixel, and so a number of bits.
    """

    params_per_pixel = 1
    binary = False
    of_grey_levels = False

    def __init__(self, levels: int = 255, log_volume: float = 0.0) -> None:
        super().__init__()
        self.levels = levels
        self.log_volume = log_volume

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x | params) in nats, summed over pixels: (..., P*D), (..., D) -> (...)."""
        return self.given(x)(params)

    def given(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """log p(x | params) as a function of `params` alone, for many of them and the same images x (..., D).

        A likelihood that has something to compute from the images alone does so here, once, instead of in `log_prob`.
        """
        return partial(self.log_prob, x=x)

    def mean(self, params: Tensor) -> Tensor:
        """E[x | params], the image to look at: (..., P*D) -> (..., D); `params` are logits of it unless overridden."""
        return torch.sigmoid(params)


def _sum_of_logs(factors: Tensor, halvings: int) -> Tensor:
    """sum_d log f_d of numbers in (0, 1], of which 2^halvings multiplied must not underflow: (..., D) -> (...).

    A logarithm of products takes fewer logarithms, which cost as much as eight products. `factors` is overwritten.
    """
    for _ in range(halvings):
        size = factors.shape[-1]
        factors[..., : size // 2].mul_(factors[..., size - size // 2 :])
        factors = factors[..., : size - size // 2]
    return factors.log().sum(-1)


class _BernoulliLogProb(torch.autograd.Function):
    """sum_d x_d l_d - log(1 + exp l_d), whose gradient x - sigmoid(l) takes one pass instead of autograd's five.

    log(1 + exp l) = max(l, 0) - log sigmoid(|l|). On a CPU `softplus` is no vector code before torch 2.15 and takes
    seven times as long; it differs by the rounding of numbers between 1/2 and 1, 6e-8 a pixel.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        ctx.save_for_backward(logits, x)
        # Pixel by pixel, not as a difference of two sums: in float32 that would lose 1e-3 nats of an image.
        distances = torch.addcmul(logits.relu(), logits, x, value=-1).sum(-1)
        return _sum_of_logs(logits.abs().sigmoid_(), 3) - distances

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
        return _BernoulliLogProb.apply(params, x)


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
        squares = (x - torch.sigmoid(params)).square().sum(-1)
        return -0.5 * squares / scale.square() - x.shape[-1] * (scale.log() + 0.5 * math.log(2 * math.pi))


# Takes the place of infinity as the edge of an outer bin: far outside of every logistic, and 0 times it is 0.
_FAR = 1e6


def _in_scales(mean: Tensor, inverse: Tensor, bins: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Edges l and u of the bins in units of the scale, w = u - l, exp(-w) and 1 - exp(-w), each (..., D).

    With E = exp(-w) as it is rounded, 1 - exp(-w) is w (1 - E) / -log E to within rounding, also where w is small.
    """
    lower, upper, width = bins
    width = (width * inverse).clamp_max_(80)  # beyond it 1 - exp(-w) is 1
    rest = width.neg().exp_()
    inside = (rest - 1).mul_(width).div_(rest.log())
    return (lower - mean).mul_(inverse), (upper - mean).mul_(inverse), width, rest, inside


class _LogisticLogProb(torch.autograd.Function):
    """sum_d log(S(u_d) - S(l_d)) with the sigmoid S, where u and l are the edges of bins in units of the scale.

    S(u) - S(l) = S(u) S(-l) (1 - exp(l - u)) subtracts no nearly equal numbers, log S(u) = min(u, 0) + log S(|u|) and
    log S(-l) = -max(l, 0) + log S(|l|) underflow nowhere. On a CPU `softplus` and `expm1` are no vector code and take
    seven times as long as what is here.
    """

    @staticmethod
    def forward(ctx: Any, location: Tensor, log_scale: Tensor, *bins: Tensor) -> Tensor:
        ctx.save_for_backward(location, log_scale, *bins)
        lower, upper, _, _, inside = _in_scales(torch.sigmoid(location), torch.exp(-log_scale), bins)
        far = upper.clamp_max(0).sub_(lower.clamp_min(0)).sum(-1)
        return _sum_of_logs(inside.mul_(upper.abs_().sigmoid_()).mul_(lower.abs_().sigmoid_()), 2).add_(far)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        location, log_scale, *bins = ctx.saved_tensors
        grad, mean, inverse = grads[0].unsqueeze(-1), torch.sigmoid(location), torch.exp(-log_scale)
        lower, upper, width, rest, inside = _in_scales(mean, inverse, bins)
        above, below = upper.neg().sigmoid_(), torch.sigmoid(lower)
        to_location = (below - above).mul_(inverse).mul_(mean.addcmul(mean, mean, value=-1)).mul_(grad)
        to_log_scale = lower.mul_(below).sub_(upper.mul_(above)).sub_(rest.mul(width).div_(inside)).mul_(grad)
        return to_location, to_log_scale, None, None, None


class DiscretizedLogistic(Likelihood):
    """Grey levels 0..levels as bins of a logistic distribution, the outer bins reaching to infinity.

    The decoder gives the location as a logit and the log scale of each pixel. The probabilities of the levels + 1
    values add up to one, so that log p(x) is a log probability (Salimans et al. 2017, PixelCNN++, one component).
    """

    params_per_pixel = 2
    of_grey_levels = True

    def given(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        half = 0.5 / self.levels
        first, last = x < half, x > 1 - half
        lower, upper = (x - half).masked_fill_(first, -_FAR), (x + half).masked_fill_(last, _FAR)
        width = torch.full_like(x, 2 * half).masked_fill_(first | last, _FAR)

        def log_prob(params: Tensor) -> Tensor:
            location, log_scale = params.chunk(2, -1)
            # A scale below a tenth of a bin puts all mass in one bin; the bound keeps the exponent finite.
            log_scale = log_scale.clamp(-math.log(10.0 * self.levels), 5.0)
            return _LogisticLogProb.apply(location, log_scale, lower, upper, width)

        return log_prob

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
        """Standard deviation of a number of x."""
        return self.log_scale.exp() + self.LEAST

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        squares = (x - params).square().sum(-1) / self.scale.square()
        log_norm = x.shape[-1] * (self.scale.log() + 0.5 * math.log(2 * math.pi))
        return -0.5 * squares - log_norm - self.log_volume

    def mean(self, params: Tensor) -> Tensor:
        return params


class Poisson(Likelihood):
    """Counts, whole numbers from 0 on, of which images hold the share in `levels`.

    The decoder gives the expected share, so that the expected count is levels * share: the share itself less 1 where it
    is above 1, which keeps it finite, and its log where it is below. log p(n) = n log rate - rate - log n!.
    """

    def given(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        counts = (x * self.levels).round()  # a share in float32 is off by its rounding
        log_x = torch.where(counts > 0, x.clamp_min(0.5 / self.levels).log(), 0.0)
        # n log n - n - log n! is a small difference of large numbers.
        exact = counts.double()
        rest = (torch.xlogy(exact, exact) - exact - torch.lgamma(exact + 1)).sum(-1).to(x.dtype)

        def log_prob(params: Tensor) -> Tensor:
            log_share = torch.where(params > 0, (1 + params.relu()).log(), params)
            return (counts * (log_share - log_x) + self.levels * (x - self.mean(params))).sum(-1) + rest

        return log_prob

    def mean(self, params: Tensor) -> Tensor:
        return params.clamp_max(0).exp() + params.relu()

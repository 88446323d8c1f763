"""The von Mises-Fisher distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.types import _size

from ..ops.bessel import mean_resultant_length, vmf_entropy, vmf_log_mode_density, vmf_terms
from ..ops.radial import radial_sample
from ..ops.reflection import point_around
from .base import LocatedOnSphere


class VonMisesFisher(LocatedOnSphere):
    """vMF(loc, concentration) on the sphere of `radius` in R^m: the density is proportional to exp(k <loc, z> / radius).

    Densities are with respect to the surface measure of that sphere,

        log p(z) = log C_m(k) + k <loc, z> / radius - (m - 1) log radius,
        C_m(k) = k^(m/2 - 1) / ((2 pi)^(m/2) I_{m/2 - 1}(k))    (Mardia and Jupp, Directional Statistics, 9.3.4).

    k = 0 is the uniform distribution. Samples are exact for every k, see `radial_sample`, and differentiable (once) in
    both parameters: implicit reparameterization for the concentration, a reflection for the direction, whose gradient is
    that on the sphere. Scalars of one sample are computed in float64 where the device has it, whatever the dtype of the
    parameters, so that all quantities keep full relative precision in float32.

    Args:
        loc: mean direction, unit vectors (..., m) with m >= 2.
        concentration: k (...), zero or more, finite; broadcasts with the batch of `loc`.
        radius: radius of the sphere.
        validate_args: whether arguments are checked. Without the check NaN or an infinite k gives NaN, at once.

    Raises:
        ValueError: an argument is not allowed.

    Example:
        >>> q = VonMisesFisher(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([10.0]))
        >>> q.batch_shape, q.event_shape, q.rsample((4,)).shape
        (torch.Size([1]), torch.Size([3]), torch.Size([4, 1, 3]))
        >>> q.mean  # coth(10) - 1 / 10 along loc
        tensor([[0.0000, 0.0000, 0.9000]])
    """

    @property
    def mean(self) -> Tensor:
        length: Tensor = mean_resultant_length(self.event_shape[0], self.concentration)
        return self.loc * (self.radius * length).unsqueeze(-1)

    @property
    def variance(self) -> Tensor:
        """Variance of each coordinate, (..., m): the diagonal of (A / k) (I - mu mu') + A' mu mu', times radius^2."""
        terms = vmf_terms(self.event_shape[0], self.concentration)
        # 1 - A^2 = A' + (m - 1) A / k; at k = 0 both parts are 1 / m.
        k = self.concentration.to(terms.derivative.dtype)
        across = torch.where(k > 0, terms.mean_resultant / k, terms.derivative)
        square = self.loc.square()
        along, across = (x.to(square.dtype).unsqueeze(-1) for x in (terms.derivative, across))
        return (across * (1 - square) + along * square) * self.radius**2

    def entropy(self) -> Tensor:
        """Differential entropy in nats, (...)."""
        dim = self.event_shape[0]
        entropy: Tensor = vmf_entropy(dim, self.concentration)
        return entropy if self.radius == 1 else entropy + (dim - 1) * math.log(self.radius)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of `value` (..., m), points of the sphere.

        It is computed from |z - loc|, without the cancellation in k (<loc, z> - 1); off the sphere it means nothing, and
        gradients are to be taken as those of a function on the sphere.
        """
        if self._validate_args:
            self._validate_sample(value)
        dim = self.event_shape[0]
        unit = value if self.radius == 1 else value / self.radius
        log_prob = vmf_log_mode_density(dim, self.concentration) - self.concentration * (
            (unit - self.loc).square().sum(-1) / 2
        )
        return log_prob if self.radius == 1 else log_prob - (dim - 1) * math.log(self.radius)

    def rsample(self, sample_shape: _size = torch.Size()) -> Tensor:
        """Draw a sample of shape `sample_shape` + batch + (m,)."""
        shape = self._extended_shape(sample_shape)
        y = radial_sample(shape[-1], self.concentration.expand(shape[:-1]))
        noise = torch.randn(*shape[:-1], shape[-1] - 1, dtype=self.loc.dtype, device=self.loc.device)
        z = point_around(self.loc.expand(shape), y, noise)
        return z if self.radius == 1 else z * self.radius

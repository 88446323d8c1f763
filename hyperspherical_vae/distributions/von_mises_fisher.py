"""The von Mises-Fisher distribution."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.types import _size

from ..ops.bessel import mean_resultant_length, vmf_entropy, vmf_kl_uniform, vmf_log_mode_density, vmf_terms
from ..ops.placement import draw_across, place, place_backward
from ..ops.radial import radial_derivative, radial_sample
from .base import LocatedOnSphere


class _Sample(torch.autograd.Function):
    """Samples on the unit sphere, with the gradients of a reparameterization in closed form."""

    @staticmethod
    def forward(ctx: Any, loc: Tensor, concentration: Tensor, shape: torch.Size) -> Tensor:
        axes = loc.expand(shape)
        across = draw_across(axes)
        # A norm in half precision would be too coarse a draw.
        norm = across[1] if axes.dtype.itemsize >= 4 else None
        y = radial_sample(shape[-1], concentration.expand(shape[:-1]), norm)
        z = place(axes, y, across)
        ctx.save_for_backward(loc, concentration, y, z)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        loc, concentration, y, z = ctx.saved_tensors
        grad_loc, grad_y = place_backward(loc.expand_as(z), y, z, grad)
        grad_concentration = None
        if ctx.needs_input_grad[1]:
            slope = radial_derivative(loc.shape[-1], concentration, y)
            grad_concentration = grad_y.mul(slope).to(concentration.dtype).sum_to_size(concentration.shape)
        return grad_loc.sum_to_size(loc.shape), grad_concentration, None


class VonMisesFisher(LocatedOnSphere):
    """vMF(loc, concentration) on the sphere of `radius` in R^m: log p(z) is linear in <loc, z>, with slope k / radius.

    Densities are with respect to the surface measure of that sphere,

        log p(z) = log C_m(k) + k <loc, z> / radius - (m - 1) log radius,
        C_m(k) = k^(m/2 - 1) / ((2 pi)^(m/2) I_{m/2 - 1}(k))    (Mardia and Jupp, Directional Statistics, 9.3.4).

    k = 0 is the uniform distribution. Samples are exact at every k, see `radial_sample`, and differentiable (once) in
    both parameters: in the concentration by implicit reparameterization, in the direction as a function on the sphere.
    The scalars of a sample are computed in float64 where the device has it, whatever the dtype of the parameters, so
    that in float32 nothing but the final rounding is lost.

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
        """Variance of each coordinate, (..., m): the diagonal of (A / k) (I - mu mu') + A' mu mu', times radius^2.

        The concentration gets no gradient through it.
        """
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

    def kl_uniform(self) -> Tensor:
        """KL divergence to the uniform distribution on the same sphere in nats, (...)."""
        return vmf_kl_uniform(self.event_shape[0], self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of `value` (..., m), points of the sphere.

        It is computed from |z - loc|, without the cancellation in k (<loc, z> - 1). Like its gradients it is a function
        on the sphere: of a point elsewhere it says nothing.
        """
        if self._validate_args:
            self._validate_sample(value)
        dim = self.event_shape[0]
        unit = value if self.radius == 1 else value / self.radius
        log_prob = vmf_log_mode_density(dim, self.concentration) - self.concentration * (
            (unit - self.loc).square().sum(-1) / 2
        )
        return log_prob if self.radius == 1 else log_prob - (dim - 1) * math.log(self.radius)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Draw a sample of shape `sample_shape` + batch + (m,)."""
        z: Tensor = _Sample.apply(self.loc, self.concentration, self._extended_shape(sample_shape))
        return z if self.radius == 1 else z * self.radius

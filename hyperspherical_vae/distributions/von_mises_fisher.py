"""The von Mises-Fisher distribution."""

import torch
from torch import Tensor

from ..ops.bessel import mean_resultant_length, mean_resultant_slope, vmf_kl_uniform, vmf_log_mode_density
from ..ops.placement import RADIAL, Radial
from ..ops.radial import radial_derivative, radial_sample
from .base import LocatedOnSphere

RADIAL["vmf"] = Radial(radial_sample, radial_derivative)


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
        radius: radius of the sphere, a number.
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

    radial = "vmf"

    def _kl_uniform(self, dtype: torch.dtype) -> Tensor:
        return vmf_kl_uniform(self.event_shape[0], self.concentration.to(dtype))

    def _length(self) -> Tensor:
        return mean_resultant_length(self.event_shape[0], self._working)

    def _spread(self) -> tuple[Tensor, Tensor]:
        """A' and A / k, which is 1 / m at k = 0."""
        dim, k = self.event_shape[0], self._working
        # A(k) / k is 1 / (m + k A_(m+2)(k)), also at 0, by the recurrence of the Bessel functions.
        return mean_resultant_slope(dim, k), 1 / (dim + k * mean_resultant_length(dim + 2, k))

    def _log_density(self, unit: Tensor) -> Tensor:
        k = self.concentration.to(torch.promote_types(self.concentration.dtype, torch.float32))
        return vmf_log_mode_density(self.event_shape[0], k) - k * ((unit - self.loc).square().sum(-1) / 2)

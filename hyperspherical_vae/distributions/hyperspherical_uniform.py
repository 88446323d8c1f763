"""The uniform distribution on a hypersphere."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.types import _size

from .base import OnSphere


class HypersphericalUniform(OnSphere):
    """The uniform distribution on S^dim, the sphere of `radius` in R^m with m = dim + 1.

    Args:
        dim: intrinsic dimension, 1 or more; events have m = dim + 1 coordinates.
        radius: radius of the sphere, a number.
        batch_shape: shape of the batch.
        device: where samples are drawn.
        dtype: floating dtype of the samples, torch's default unless given.
        validate_args: whether arguments are checked.

    Raises:
        ValueError: an argument is not allowed.

    Example:
        >>> uniform = HypersphericalUniform(2)
        >>> uniform.rsample((5,)).shape
        torch.Size([5, 3])
        >>> uniform.entropy()  # log(4 pi)
        tensor(2.5310)
    """

    def __init__(
        self,
        dim: int,
        radius: float = 1.0,
        batch_shape: _size = (),
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if dtype is not None and not dtype.is_floating_point:
            raise ValueError(f"HypersphericalUniform: dtype is {dtype}; it has to be a floating one")
        super().__init__(dim + 1, radius, torch.Size(batch_shape), validate_args)
        zero = torch.zeros((), device=device, dtype=dtype)  # knows the defaults, also to the compiler
        self.dtype, self.device = zero.dtype, zero.device

    def __repr__(self) -> str:
        return f"HypersphericalUniform(dim={self.dim}, radius={self.radius:g})"

    @property
    def dim(self) -> int:
        """Intrinsic dimension of the sphere."""
        return self.event_shape[0] - 1

    @property
    def mean(self) -> Tensor:
        return torch.zeros(self._extended_shape(), dtype=self.dtype, device=self.device)

    @property
    def variance(self) -> Tensor:
        return self.mean + self.radius**2 / self.event_shape[0]

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix, (..., m, m)."""
        return torch.diag_embed(self.variance)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Points of shape (*sample_shape, *batch_shape, m)."""
        # In half precision the norm of a vector, and with it the direction, would be too coarse.
        wide = torch.promote_types(self.dtype, torch.float32)
        noise = torch.randn(self._extended_shape(sample_shape), dtype=wide, device=self.device)
        return (F.normalize(noise, dim=-1) * self.radius).to(self.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Minus the logarithm of the sphere's area, for every value of shape (..., m)."""
        if self._validate_args:
            self._validate_sample(value)
        return -self.entropy().expand(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))

    def entropy(self) -> Tensor:
        """Logarithm of the sphere's area, 2 pi^(m/2) r^(m-1) / Gamma(m/2), in nats."""
        return torch.full(self.batch_shape, self._log_area(), dtype=self.dtype, device=self.device)

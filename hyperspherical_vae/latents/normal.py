"""Euclidean latent space with a standard normal prior."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.nn import functional as F

from .base import Latent

COVARIANCES = ("single", "diagonal", "full")

# Least standard deviation: in float32 softplus itself reaches 0, where the KL is infinite.
SMALLEST = 1e-6


class _KLStandardNormal(torch.autograd.Function):
    """KL(N(mu, diag(sigma^2)) || N(0, I)) = sum (mu^2 + sigma^2 - 1) / 2 - log sigma in nats: (..., D) to (...).

    Autograd of the general formula takes some forty, which cost more than their numbers in a batch.
    """

    @staticmethod
    def forward(ctx: Any, loc: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(loc, scale)
        squares = torch.addcmul(loc.square(), scale, scale).sub_(1)
        return torch.sub(squares, scale.log(), alpha=2).sum(-1).div_(2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        loc, scale = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        return grad * loc, (scale - scale.reciprocal()).mul_(grad)


class NormalLatent(Latent[Independent | MultivariateNormal]):
    """z in R^dim, q(z|x) = N(mu(x), Sigma(x)), p(z) = N(0, I).

    Args:
        in_features: F, the encoder's features.
        dim: dimension of z.
        covariance: `single` (one variance for all coordinates), `diagonal`, or `full` (through a Cholesky factor whose
            diagonal is positive and whose other entries are free, so that correlations of either sign are possible).
        count: number of independent copies, see `Latent`.

    Raises:
        ValueError: `covariance` is none of the three.

    Example:
        >>> latent = NormalLatent(in_features=128, dim=5)
        >>> q = latent.posterior(torch.randn(3, 128))
        >>> z = q.rsample()
        >>> z.shape, latent.kl(q, z).shape
        (torch.Size([3, 5]), torch.Size([3, 1]))
    """

    rows_columns: Tensor
    identity: Tensor

    def __init__(self, in_features: int, dim: int, covariance: str = "diagonal", count: int | None = None) -> None:
        if covariance not in COVARIANCES:
            raise ValueError(f"covariance is {covariance!r}; allowed: {', '.join(COVARIANCES)}")
        scales = {"single": 1, "diagonal": dim, "full": dim * (dim + 1) // 2}[covariance]
        super().__init__(in_features, dim + scales, count)
        self.event_dim = dim
        self.covariance = covariance
        self.register_buffer("identity", torch.eye(dim) if covariance == "full" else torch.ones(dim), persistent=False)
        self.register_buffer("rows_columns", torch.tril_indices(dim, dim, -1), persistent=False)

    def posterior(self, features: Tensor) -> Independent | MultivariateNormal:
        output = self.parameters_of(features)
        loc, raw = output.split([self.event_dim, output.shape[-1] - self.event_dim], -1)
        if self.covariance == "full":
            tril = torch.diag_embed(F.softplus(raw[..., : self.event_dim]) + SMALLEST)
            rows, columns = self.rows_columns
            tril[..., rows, columns] = raw[..., self.event_dim :]
            return MultivariateNormal(loc, scale_tril=tril, validate_args=False)
        scale = F.softplus(raw) + SMALLEST
        if self.covariance == "single":
            scale = scale.expand_as(loc)
        return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)

    def divergence(self, q: Independent | MultivariateNormal) -> Tensor:
        if isinstance(q, MultivariateNormal):
            return super().divergence(q)
        return _KLStandardNormal.apply(q.base_dist.loc, q.base_dist.scale)

    def prior(self) -> Independent | MultivariateNormal:
        loc = self.identity.new_zeros((self.event_dim,) if self.count is None else (self.count, self.event_dim))
        if self.covariance == "full":
            return MultivariateNormal(loc, scale_tril=self.identity, validate_args=False)
        return Independent(Normal(loc, self.identity.expand_as(loc), validate_args=False), 1, validate_args=False)

    def with_temperature(self, q: Independent | MultivariateNormal, temperature: float) -> Distribution:
        if isinstance(q, MultivariateNormal):
            return MultivariateNormal(q.loc, scale_tril=temperature * q.scale_tril, validate_args=False)
        base = q.base_dist
        return Independent(Normal(base.loc, temperature * base.scale, validate_args=False), 1, validate_args=False)

"""Vectors of independent categorical variables as concatenated one-hot codes, exact and relaxed."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.nn import functional as F
from torch.types import _size


class OneHotCodes(Distribution):
    """V independent categorical variables of C categories each, as one vector of V one-hot codes.

    Args:
        logits: unnormalised log probabilities, (..., V, C).
        validate_args: whether arguments and values are checked.

    Raises:
        ValueError: `logits` has fewer than two dimensions or, under `validate_args`, a number that is not finite.

    Example:
        >>> codes = OneHotCodes(torch.zeros(20, 10))
        >>> z = codes.sample((3,))
        >>> z.shape, codes.log_prob(z).shape
        (torch.Size([3, 200]), torch.Size([3]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, 2)
    }

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        if logits.dim() < 2:
            raise ValueError(f"OneHotCodes: logits has shape {tuple(logits.shape)}; it has to be (..., V, C)")
        self.logits = logits.log_softmax(-1)
        self.variables, self.categories = logits.shape[-2:]
        event_shape = torch.Size((self.variables * self.categories,))
        super().__init__(logits.shape[:-2], event_shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.boolean, 1)

    @property
    def probs(self) -> Tensor:
        """Probabilities, (..., V, C)."""
        return self.logits.exp()

    @property
    def codes(self) -> Tensor:
        """Number of the most probable category of each variable, (..., V)."""
        return self.logits.argmax(-1)

    @property
    def mode(self) -> Tensor:
        return self._one_hot(self.codes)

    @property
    def mean(self) -> Tensor:
        return self.probs.flatten(-2)

    @property
    def variance(self) -> Tensor:
        mean = self.mean
        return mean * (1 - mean)

    def _one_hot(self, codes: Tensor) -> Tensor:
        # F.one_hot asks the device for the largest code, which stops the host until it answers.
        categories = torch.arange(self.categories, device=codes.device)
        return (codes.unsqueeze(-1) == categories).to(self.logits.dtype).flatten(-2)

    def _gumbel(self, sample_shape: _size) -> Tensor:
        """Logits plus standard Gumbel noise, whose largest entry is an exact sample."""
        shape = (*sample_shape, *self.logits.shape)
        exponential = torch.empty(shape, dtype=self.logits.dtype, device=self.logits.device).exponential_()
        return self.logits - exponential.log()

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Exact samples: one-hot codes of shape (*sample_shape, ..., V*C)."""
        with torch.no_grad():
            return self._one_hot(self._gumbel(sample_shape).argmax(-1))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability in nats of one-hot codes (..., V*C)."""
        if self._validate_args:
            self._validate_sample(value)
        return (value.unflatten(-1, (self.variables, self.categories)) * self.logits).sum((-2, -1))

    def entropy(self) -> Tensor:
        """Sum of the variables' entropies in nats."""
        return -(self.probs * self.logits).sum((-2, -1))

    def expand(self, batch_shape: _size, _instance: Any = None) -> OneHotCodes:
        return OneHotCodes(self.logits.expand((*batch_shape, *self.logits.shape[-2:])), self._validate_args)


class RelaxedCodes(OneHotCodes):
    """The Gumbel-softmax relaxation of `OneHotCodes` (Jang et al. 2017, Maddison et al. 2017).

    `rsample` gives softmax((logits + Gumbel noise) / temperature), inside the simplex and differentiable. With
    `straight_through` its value is the one-hot code of the largest entry, and its gradient that of the softmax. Mean,
    entropy and exact samples are those of the discrete codes; densities of relaxed codes are not offered, since they
    say nothing of the discrete model.

    Args:
        logits: unnormalised log probabilities, (..., V, C).
        temperature: positive; a tensor may change in place without a trip to the host.
        straight_through: whether samples are hard.
        validate_args: whether arguments are checked.
    """

    has_rsample = True

    def __init__(
        self,
        logits: Tensor,
        temperature: Tensor | float,
        straight_through: bool = False,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(logits, validate_args)
        self.temperature = temperature
        self.straight_through = straight_through

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.unit_interval, 1)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Relaxed samples of shape (*sample_shape, ..., V*C)."""
        noisy = self._gumbel(sample_shape)
        soft = F.softmax(noisy / self.temperature, -1).flatten(-2)
        return self._one_hot(noisy.argmax(-1)) + (soft - soft.detach()) if self.straight_through else soft

    def log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError(
            "RelaxedCodes: relaxed codes have no probability under the discrete model; in evaluation mode a latent "
            "gives OneHotCodes, which do"
        )

    def expand(self, batch_shape: _size, _instance: Any = None) -> RelaxedCodes:
        logits = self.logits.expand((*batch_shape, *self.logits.shape[-2:]))
        return RelaxedCodes(logits, self.temperature, self.straight_through, self._validate_args)


@register_kl(OneHotCodes, OneHotCodes)
def _kl_codes_codes(p: OneHotCodes, q: OneHotCodes) -> Tensor:
    """Exact, and for relaxed codes that of the discrete codes behind them, as in Jang et al. 2017."""
    if p.event_shape != q.event_shape or p.categories != q.categories:
        raise ValueError(
            f"KL(OneHotCodes || OneHotCodes): the first has {p.variables} x {p.categories} codes, the second "
            f"{q.variables} x {q.categories}"
        )
    return (p.probs * (p.logits - q.logits)).sum((-2, -1))

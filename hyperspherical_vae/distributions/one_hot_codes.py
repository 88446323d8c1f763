"""Vectors of independent categorical variables as concatenated one-hot codes, exact and relaxed."""

import math
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.nn import functional as F
from torch.types import _size

from .base import BatchOfTensors, all_true


class _Codes(constraints.Constraint):
    """V concatenated vectors of C numbers >= 0 whose sum is 1, or one-hot vectors."""

    event_dim = 1

    def __init__(self, variables: int, categories: int, hard: bool) -> None:
        self.shape = variables, categories
        self.hard = hard
        self.is_discrete = hard
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        each = value.unflatten(-1, self.shape)
        if self.hard:
            return (((each == 0) | (each == 1)).all(-1) & (each.sum(-1) == 1)).all(-1)
        return constraints.simplex.check(each).all(-1)


class OneHotCodes(BatchOfTensors):
    """V independent categorical variables of C categories each, as one vector of V one-hot codes.

    Args:
        logits: unnormalised log probabilities, (..., V, C); minus infinity is the probability 0.
        validate_args: whether arguments and values are checked.

    Raises:
        ValueError: `logits` has fewer than two dimensions or, under `validate_args`, holds NaN or infinity, or a
            variable without a possible category.

    Example:
        >>> codes = OneHotCodes(torch.zeros(20, 10))
        >>> z = codes.sample((3,))
        >>> z.shape, codes.log_prob(z).shape
        (torch.Size([3, 200]), torch.Size([3]))
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "logits": constraints.independent(constraints.real, 2)
    }
    batched: ClassVar[dict[str, int]] = {"logits": 2}

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        if logits.dim() < 2:
            raise ValueError(f"{type(self).__name__}: logits has shape {tuple(logits.shape)}; it has to be (..., V, C)")
        if not logits.is_floating_point():
            logits = logits.to(torch.get_default_dtype())
        self.logits = logits.log_softmax(-1)
        self.variables, self.categories = logits.shape[-2:]
        event_shape = torch.Size((self.variables * self.categories,))
        super().__init__(logits.shape[:-2], event_shape, validate_args=False)
        self._validate_args = Distribution._validate_args if validate_args is None else validate_args
        if self._validate_args and not all_true(self.logits == self.logits):
            raise ValueError(
                f"{type(self).__name__}: logits hold NaN or infinity, or a variable without a possible category; each "
                "has to be a number or minus infinity, and one of each variable a number"
            )

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> constraints.Constraint:
        return _Codes(self.variables, self.categories, hard=True)

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

    @property
    def covariance_matrix(self) -> Tensor:
        """Covariance matrix, (..., V*C, V*C): diag(p) - p p' for each variable, 0 between variables."""
        probs = self.probs
        blocks = torch.diag_embed(probs) - probs.unsqueeze(-1) * probs.unsqueeze(-2)
        apart = torch.eye(self.variables, dtype=probs.dtype, device=probs.device)
        return torch.einsum("...vcd,vw->...vcwd", blocks, apart).flatten(-2).flatten(-3, -2)

    def _one_hot(self, codes: Tensor) -> Tensor:
        # F.one_hot asks the device for the largest code, which stops the host until it answers.
        categories = torch.arange(self.categories, device=codes.device)
        return (codes.unsqueeze(-1) == categories).to(self.logits.dtype).flatten(-2)

    def _gumbel(self, sample_shape: _size) -> Tensor:
        """Logits plus standard Gumbel noise, whose largest entry is an exact sample."""
        # Not in half precision, in which an exponential number can be 0. Like the logits, for numbers of their own to
        # each member of a batch of `torch.func.vmap`.
        wide = torch.promote_types(self.logits.dtype, torch.float32)
        logits = self.logits.expand(*sample_shape, *self.logits.shape)
        exponential = torch.empty_like(logits, dtype=wide, memory_format=torch.contiguous_format).exponential_()
        return self.logits - exponential.log()

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Exact samples: one-hot codes of shape (*sample_shape, ..., V*C)."""
        with torch.no_grad():
            return self._one_hot(self._gumbel(sample_shape).argmax(-1))

    def _validate_sample(self, value: Tensor) -> None:
        name, size = type(self).__name__, self.event_shape[0]
        if value.shape[-1:] != self.event_shape:
            raise ValueError(f"{name}: the value has shape {tuple(value.shape)}; its last size has to be {size}")
        if not all_true(self.support.check(value)):
            raise ValueError(f"{name}: a value is no sequence of {self.variables} one-hot codes, each with a single 1")

    def log_prob(self, value: Tensor) -> Tensor:
        """Log probability in nats of one-hot codes (..., V*C)."""
        if self._validate_args:
            self._validate_sample(value)
        each = value.unflatten(-1, (self.variables, self.categories))
        possible = self.logits > -math.inf
        log_prob = (each * self.logits.where(possible, 0)).sum((-2, -1))
        return log_prob.masked_fill(((each > 0) & ~possible).any(-1).any(-1), -math.inf)

    def entropy(self) -> Tensor:
        """Sum of the variables' entropies in nats."""
        return -(self.probs * self.logits.clamp_min(torch.finfo(self.logits.dtype).min)).sum((-2, -1))


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

    Raises:
        ValueError: as `OneHotCodes` does or, under `validate_args`, the temperature is not positive and finite.
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
        if self._validate_args:
            given = torch.as_tensor(temperature)
            if not all_true((given > 0) & (given < math.inf)):
                raise ValueError(f"RelaxedCodes: temperature is {temperature}; it has to be positive and finite")

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        return _Codes(self.variables, self.categories, hard=False)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Relaxed samples of shape (*sample_shape, ..., V*C)."""
        noisy = self._gumbel(sample_shape)
        soft = F.softmax(noisy / self.temperature, -1).to(self.logits.dtype).flatten(-2)
        return self._one_hot(noisy.argmax(-1)) + (soft - soft.detach()) if self.straight_through else soft

    def log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError(
            "RelaxedCodes: relaxed codes have no probability under the discrete model; in evaluation mode a latent "
            "gives OneHotCodes, which do"
        )


@register_kl(OneHotCodes, OneHotCodes)
def _kl_codes_codes(p: OneHotCodes, q: OneHotCodes) -> Tensor:
    """Exact, and for relaxed codes that of the discrete codes behind them, as in Jang et al. 2017."""
    if p.event_shape != q.event_shape or p.categories != q.categories:
        raise ValueError(
            f"KL(OneHotCodes || OneHotCodes): the first has {p.variables} x {p.categories} codes, the second "
            f"{q.variables} x {q.categories}"
        )
    one, two = p.logits > -math.inf, q.logits > -math.inf
    kl = (p.probs * (p.logits.where(one, 0) - q.logits.where(two, 0))).sum((-2, -1))
    return kl.masked_fill((one & ~two).any(-1).any(-1), math.inf)

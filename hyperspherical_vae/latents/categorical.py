"""A latent space of categorical variables, trained through the Gumbel-softmax relaxation."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..distributions.one_hot_codes import OneHotCodes, RelaxedCodes
from .base import Latent


class GumbelLatent(Latent[OneHotCodes]):
    """V independent categorical variables of C categories; z is their concatenated one-hot codes, p(z) is uniform.

    In training mode the posterior is relaxed at a temperature that falls from epoch to epoch. In evaluation mode it is
    the discrete one, z is hard, and all densities are those of the discrete model: an importance-sampled log p(x) is a
    true likelihood of it. The KL is exact in both, while the ELBO of training mode is that of relaxed codes and no
    bound.

    Args:
        in_features: F, the encoder's features.
        variables: V.
        categories: C.
        temperature: in the first epoch.
        temperature_min: from epoch `temperature_epochs` + 1 on, after a geometric descent.
        temperature_epochs: epochs of that descent; 0 for `temperature_min` from the start.
        straight_through: decode hard codes in training too, with the gradient of the relaxed ones.
        count: number of independent copies, see `Latent`.

    Example:
        >>> latent = GumbelLatent(in_features=128, variables=20, categories=10)
        >>> q = latent.posterior(torch.randn(3, 128))
        >>> q.rsample().shape, latent.kl(q, q.rsample()).shape, latent.codes(q).shape
        (torch.Size([3, 200]), torch.Size([3, 1]), torch.Size([3, 20]))
    """

    temperature: Tensor

    def __init__(
        self,
        in_features: int,
        variables: int,
        categories: int = 10,
        temperature: float = 1.0,
        temperature_min: float = 0.5,
        temperature_epochs: int = 50,
        straight_through: bool = False,
        count: int | None = None,
    ) -> None:
        super().__init__(in_features, variables * categories, count)
        self.event_dim = variables * categories
        self.code_count = categories
        self.variables = variables
        self.schedule = (temperature, temperature_min, temperature_epochs)
        self.straight_through = straight_through
        # A tensor, so that a new epoch changes a number on the device and nothing that was compiled or captured.
        self.register_buffer("temperature", torch.tensor(self.temperature_of(1)), persistent=False)

    def temperature_of(self, epoch: int) -> float:
        """The temperature of epoch 1, 2, ...: geometric from the first value to the last."""
        first, last, epochs = self.schedule
        return last if epoch > epochs else first * (last / first) ** ((epoch - 1) / epochs)

    def set_epoch(self, epoch: int) -> None:
        self.temperature.fill_(self.temperature_of(epoch))

    def posterior(self, features: Tensor) -> OneHotCodes:
        logits = self.parameters_of(features).unflatten(-1, (self.variables, self.code_count))
        if not self.training:
            return OneHotCodes(logits, validate_args=False)
        return RelaxedCodes(logits, self.temperature, self.straight_through, validate_args=False)

    def prior(self) -> OneHotCodes:
        shape = (
            (self.variables, self.code_count) if self.count is None else (self.count, self.variables, self.code_count)
        )
        return OneHotCodes(self.temperature.new_zeros(shape), validate_args=False)

    def codes(self, q: OneHotCodes) -> Tensor:
        return q.codes

    def vectors(self, codes: Tensor) -> Tensor:
        return F.one_hot(codes, self.code_count).flatten(-2).to(self.temperature.dtype)

    def code_summary(self, codes: Tensor) -> dict[str, float]:
        """Share of categories in use, mean perplexity of a variable's categories, bits of freely chosen codes."""
        counts = (codes.unsqueeze(-1) == torch.arange(self.code_count, device=codes.device)).sum(0).double()
        return {
            "usage": (counts > 0).double().mean().item(),
            "perplexity": torch.special.entr(counts / len(codes)).sum(-1).exp().mean().item(),
            "bits": self.variables * math.log2(self.code_count),
        }

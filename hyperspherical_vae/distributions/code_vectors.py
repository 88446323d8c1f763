"""Vectors put together from the entries of a codebook: the posterior and the prior of a vector-quantized latent."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.types import _size

from .base import BatchOfTensors


def lay_out(vectors: Tensor) -> Tensor:
    """Vectors of the positions (..., P, D) as z (..., D*P), one coordinate after the other as in a map."""
    return vectors.transpose(-2, -1).flatten(-2)


class QuantizedVectors(BatchOfTensors):
    """All probability at one choice of codes: what an encoder says, replaced by the nearest codes.

    `rsample` passes the gradient of z straight through to the encoder's vectors (van den Oord et al. 2017). There is no
    density.

    Args:
        encoded: the encoder's vectors, (..., P, D).
        codes: number of the code chosen at each position, (..., P), int64.
        vectors: the chosen codes, (..., P, D).
    """

    batched: ClassVar[dict[str, int]] = {"encoded": 2, "codes": 1, "vectors": 2}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, encoded: Tensor, codes: Tensor, vectors: Tensor) -> None:
        self.encoded = encoded
        self.codes = codes
        self.vectors = vectors
        super().__init__(codes.shape[:-1], torch.Size((vectors.shape[-1] * vectors.shape[-2],)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return lay_out(self.vectors)

    @property
    def variance(self) -> Tensor:
        return torch.zeros_like(self.mean)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """z of shape (*sample_shape, ..., D*P), the same every time."""
        mean = self.mean.detach()
        return mean.expand((*sample_shape, *mean.shape))

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """The same, with gradients straight through to `encoded`."""
        z = lay_out(self.vectors.detach() + (self.encoded - self.encoded.detach()))
        return z.expand((*sample_shape, *z.shape))


class CodebookPrior(BatchOfTensors):
    """P codes drawn uniformly and independently, or by a fitted prior over codes.

    Mean and variance are those under uniform codes. There is no density.

    Args:
        codebook: (K, D).
        positions: P.
        sampler: draws n codes (n, P); uniform ones where it is None.
    """

    support = constraints.real_vector

    def __init__(self, codebook: Tensor, positions: int, sampler: Callable[[int], Tensor] | None = None) -> None:
        self.codebook = codebook
        self.positions = positions
        self.sampler = sampler
        super().__init__(torch.Size(), torch.Size((positions * codebook.shape[1],)), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return lay_out(self.codebook.mean(0).expand(self.positions, -1)).expand(self._extended_shape())

    @property
    def variance(self) -> Tensor:
        variance = self.codebook.var(0, correction=0)
        return lay_out(variance.expand(self.positions, -1)).expand(self._extended_shape())

    def sample_codes(self, n: int) -> Tensor:
        """Numbers of codes, (n, P), int64."""
        if self.sampler is not None:
            return self.sampler(n)
        return torch.randint(len(self.codebook), (n, self.positions), device=self.codebook.device)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """z of shape (*sample_shape, ..., D*P)."""
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            return lay_out(self.codebook[self.sample_codes(shape[:-1].numel())]).reshape(shape)

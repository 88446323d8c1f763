"""A latent space of codes from a learned codebook: vector quantization."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from ..distributions.code_vectors import CodebookPrior, QuantizedVectors, lay_out
from .base import Latent
from .code_priors import CODE_PRIORS, CodePrior


class CodebookLatent(Latent[QuantizedVectors]):
    """P positions that each hold one of K vectors of dimension D; z is all of them (van den Oord et al. 2017).

    The posterior is certain of the nearest code at every position, so that the KL to uniform codes is P log K whatever
    the image. The codebook follows the encoder by exponential moving averages, in training mode only; codes that are
    hardly used are put where vectors of the current batch are, by random numbers from torch's global generator. All
    codes start out so, from the first batch.

    After training, `add_code_prior` gives it a prior over codes, to be fitted; `prior()` then draws from that.

    Args:
        in_features: F, the encoder's features.
        code_dim: D.
        codes: K.
        positions: P; ignored where there is a map.
        map_shape: (C, H, W) where the features are a map, flattened: each of its P = H*W cells is a position.
        decay: of the moving averages, per batch.

    Example:
        >>> latent = CodebookLatent(in_features=128, code_dim=8, codes=64, positions=9)
        >>> q = latent.posterior(torch.randn(3, 128))
        >>> q.rsample().shape, latent.codes(q).shape, round(latent.kl(q, q.rsample())[0].item(), 3)
        (torch.Size([3, 72]), torch.Size([3, 9]), 37.43)
    """

    codebook: Tensor
    ema_counts: Tensor
    ema_sums: Tensor

    has_density = False
    kl_is_constant = True
    shares_codes = True

    # A code that gets less than this share of what it would get if all were used alike counts as dead.
    DEAD = 0.05

    def __init__(
        self,
        in_features: int,
        code_dim: int,
        codes: int = 64,
        positions: int = 9,
        map_shape: tuple[int, int, int] | None = None,
        decay: float = 0.99,
    ) -> None:
        nn.Module.__init__(self)  # the head is one per cell where there is a map
        self.count = None
        if map_shape is None:
            self.positions = positions
            self.head = nn.Linear(in_features, positions * code_dim)
        else:
            channels, height, width = map_shape
            self.positions = height * width
            self.head = nn.Linear(channels, code_dim)
            self.map_shape = (code_dim, height, width)
        self.code_dim = code_dim
        self.code_count = codes
        self.event_dim = self.positions * code_dim
        self.decay = decay
        self.code_prior: CodePrior | None = None
        self.register_buffer("codebook", torch.randn(codes, code_dim))
        self.register_buffer("ema_counts", torch.zeros(codes))
        self.register_buffer("ema_sums", torch.zeros(codes, code_dim))

    def encode(self, features: Tensor) -> Tensor:
        """The vectors that are quantized, (B, P, D), for features (B, F)."""
        if self.map_shape is None:
            return self.head(features).unflatten(-1, (self.positions, self.code_dim))
        return self.head(features.unflatten(-1, (-1, self.positions)).transpose(-2, -1))

    def vectors(self, codes: Tensor) -> Tensor:
        return lay_out(self.codebook[codes])

    def posterior(self, features: Tensor) -> QuantizedVectors:
        encoded = self.encode(features).to(self.codebook.dtype)
        vectors = encoded.detach()
        # Distances and moving averages are too close to each other for what autocast would round them to.
        with torch.autocast(encoded.device.type, enabled=False):
            if self.training:
                self._revive(vectors.flatten(0, -2))
            # The nearest; the square of a vector itself is the same for all codes.
            codes = (self.codebook.square().sum(-1) - 2 * vectors @ self.codebook.T).argmin(-1)
            q = QuantizedVectors(encoded, codes, self.codebook[codes])
            if self.training:
                self._follow(vectors.flatten(0, -2), codes.flatten())
        return q

    @torch.no_grad()
    def _revive(self, vectors: Tensor) -> None:
        """Put dead codes where random vectors (N, D) of the batch are."""
        alike = len(vectors) / self.code_count
        dead = self.ema_counts < self.DEAD * alike
        chosen = vectors[torch.randint(len(vectors), (self.code_count,), device=vectors.device)]
        self.codebook.copy_(torch.where(dead[:, None], chosen, self.codebook))
        self.ema_counts.masked_fill_(dead, alike)
        self.ema_sums.copy_(torch.where(dead[:, None], alike * chosen, self.ema_sums))

    @torch.no_grad()
    def _follow(self, vectors: Tensor, codes: Tensor) -> None:
        """Move each code towards the mean of the vectors (N, D) that chose it."""
        # A matrix product and not a scattered sum, whose order, and so whose rounding, is left to chance on a GPU.
        chose = (codes == torch.arange(self.code_count, device=codes.device)[:, None]).to(vectors.dtype)
        self.ema_counts.lerp_(chose.sum(-1), 1 - self.decay)
        self.ema_sums.lerp_(chose @ vectors, 1 - self.decay)
        self.codebook.copy_(self.ema_sums / self.ema_counts[:, None])

    def add_code_prior(self, kind: str, classes: int) -> CodePrior:
        if kind not in CODE_PRIORS:
            raise ValueError(f"kind is {kind!r}; allowed: {', '.join(CODE_PRIORS)}")
        self.code_prior = CODE_PRIORS[kind](self.code_count, self.positions, classes).to(self.codebook.device)
        return self.code_prior

    def prior(self) -> CodebookPrior:
        """p(z): uniform codes, or those of `code_prior`."""
        sampler = None if self.code_prior is None else self.code_prior.sample
        return CodebookPrior(self.codebook, self.positions, sampler)

    def class_prior(self, label: int) -> CodebookPrior | None:
        if self.code_prior is None or not self.code_prior.classes:
            return None
        return CodebookPrior(self.codebook, self.positions, partial(self.code_prior.sample, label=label))

    def kl(self, q: QuantizedVectors, z: Tensor) -> Tensor:
        return z.new_full((*q.batch_shape, 1), self.positions * math.log(self.code_count))

    def extra_loss(self, q: QuantizedVectors) -> dict[str, Tensor]:
        """The commitment loss: squared distance of the encoder's vectors to their codes, summed over positions."""
        return {"commitment": (q.encoded - q.vectors.detach()).square().sum((-2, -1))}

    def codes(self, q: QuantizedVectors) -> Tensor:
        return q.codes

    def code_summary(self, codes: Tensor) -> dict[str, float]:
        """Share of codes in use, perplexity of the codes of all positions, bits that uniform codes take per image."""
        counts = torch.bincount(codes.flatten(), minlength=self.code_count).double()
        return {
            "usage": (counts > 0).double().mean().item(),
            "perplexity": torch.special.entr(counts / counts.sum()).sum().exp().item(),
            "bits": self.positions * math.log2(self.code_count),
        }

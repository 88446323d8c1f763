"""What every latent space offers."""

from typing import Generic, TypeVar

from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from .code_priors import CodePrior

Posterior = TypeVar("Posterior", bound=Distribution)


class Latent(nn.Module, Generic[Posterior]):
    """Turns the features of an encoder into a posterior over z, and knows the prior.

    Shapes: B batch, F features, D = `event_dim`, n number of factors.

    A latent may stand for `count` independent copies of itself that share one matrix product and one batched
    distribution. `posterior` then has batch shape (B, count) and `prior` has batch shape (count,): that is how a
    product of equal factors is built. With `count` None they are (B,) and ().

    The constructor of every latent takes `in_features`, its intrinsic dimension, the arguments that
    `hyperspherical_vae.kinds.KINDS` names for its kind, and `count`.

    Args:
        in_features: F.
        outputs: numbers that the posterior of one copy needs.
        count: number of copies, or None for a plain latent.

    Attributes:
        event_dim: width of z as a decoder sees it; S^m lives in R^(m+1), so its event_dim is m + 1.
        has_density: whether prior and posterior have densities with respect to one measure, without which importance
            sampling gives no log p(x).
        kl_is_constant: whether KL(q || prior) is one number whatever the image and the weights.
        map_shape: (C, H, W) where z is a map of codes, flattened, rather than a plain vector.
        code_count: number of symbols that a position of a discrete latent can take; 0 where z is continuous.
        shares_codes: whether a symbol means the same at every position, as an entry of one codebook does.
    """

    event_dim: int
    has_density: bool = True
    kl_is_constant: bool = False
    map_shape: tuple[int, int, int] | None = None
    code_count: int = 0
    shares_codes: bool = False

    def __init__(self, in_features: int, outputs: int, count: int | None = None) -> None:
        super().__init__()
        self.count = count
        self.head = nn.Linear(in_features, outputs * (count or 1))

    def parameters_of(self, features: Tensor) -> Tensor:
        """The head's output: (B, outputs), or (B, count, outputs) for several copies; in the dtype of the weights."""
        output = self.head(features).to(self.head.weight.dtype)
        return output if self.count is None else output.unflatten(-1, (self.count, -1))

    def posterior(self, features: Tensor) -> Posterior:
        """q(z | x) for features (B, F): batch shape (B,), event shape (D,)."""
        raise NotImplementedError

    def prior(self) -> Distribution:
        """p(z): batch shape (), event shape (D,)."""
        raise NotImplementedError

    def class_prior(self, label: int) -> Distribution | None:
        """p(z | class), where the latent has learned it; else None."""
        return None

    def kl(self, q: Posterior, z: Tensor) -> Tensor:
        """KL(q || prior) of each factor in nats, (B, n).

        Args:
            q: what `posterior` returned.
            z: reparameterized samples of it, (..., B, D), for latents whose KL has no closed form; it is then that of
                each sample, (..., B, n).
        """
        try:
            kl = self.divergence(q)
        except NotImplementedError:  # no closed form is registered: one sample gives an unbiased estimate
            kl = q.log_prob(z) - self.prior().log_prob(z)
        return kl.unsqueeze(-1) if self.count is None else kl

    def divergence(self, q: Posterior) -> Tensor:
        """KL(q || prior) in closed form in nats, of the batch shape of q: where a latent has a shorter way to it."""
        return kl_divergence(q, self.prior())

    def extra_loss(self, q: Posterior) -> dict[str, Tensor]:
        """Losses besides the ELBO that training needs, by name; each (B,)."""
        return {}

    def set_epoch(self, epoch: int) -> None:
        """Called before epoch 1, 2, ... of training, for what changes with the epoch alone."""

    def codes(self, q: Posterior) -> Tensor:
        """The symbols that a discrete posterior thinks most probable: (B, positions), int64, below `code_count`.

        Raises:
            TypeError: the latent is continuous.
        """
        raise TypeError(f"{type(self).__name__}: is continuous and has no codes")

    def vectors(self, codes: Tensor) -> Tensor:
        """z (..., D) for codes (..., positions) of a discrete latent.

        Raises:
            TypeError: the latent is continuous.
        """
        raise TypeError(f"{type(self).__name__}: is continuous and has no codes")

    def add_code_prior(self, kind: str, classes: int) -> CodePrior:
        """A new prior over codes, to be fitted, from which `prior()` draws from now on.

        Args:
            kind: a key of `code_priors.CODE_PRIORS`.
            classes: number of classes, 0 without labels.

        Raises:
            TypeError: the latent has no codebook.
            ValueError: there is no such kind.
        """
        raise TypeError(f"{type(self).__name__}: has no codebook, and so no prior over codes")

    def code_summary(self, codes: Tensor) -> dict[str, float]:
        """How codes (N, positions) of many images make use of the symbols, by name."""
        return {}

    def statistics(self, q: Posterior) -> dict[str, Tensor]:
        """What is worth watching of a posterior, by name; each (B, n)."""
        return {}

    def with_concentration(self, q: Posterior, kappa: float) -> Distribution:
        """The posterior q with the concentration kappa on every sphere; q itself where there is none."""
        return q

    def with_temperature(self, q: Posterior, temperature: float) -> Distribution:
        """q, or the prior, with its standard deviation times the temperature in every Euclidean factor; else q itself.
        """
        return q

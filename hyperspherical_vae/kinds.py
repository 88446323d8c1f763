"""What each kind of latent space and of likelihood is, as data; importing this module does not import torch.

Whoever wants to know whether a latent is a sphere, which settings it has, or what it cannot do, asks here. Adding a
kind of latent is adding its file, one entry here and one in `latents.LATENTS`; a likelihood is its class and one entry
of `LIKELIHOODS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kind:
    """A kind of latent space.

    Attributes:
        title: its name in a sentence.
        symbol: of the manifold that z lies on: `S` for a sphere, `R` for a Euclidean space, empty for discrete codes.
        arguments: its constructor's arguments, besides the number of features, the dimension and the number of copies,
            with the setting that fills each.
        settings: further settings that only models of this kind have.
        size: the setting that holds its intrinsic dimension.
        space: discrete codes in words, a template of settings.
        density: whether prior and posterior have densities with respect to one measure; without, there is no
            importance-sampled log p(x).
        constant_kl: whether KL(q || p) is one number, whatever the image and the weights: `always`, `never`, or the
            setting that makes it so when it is given.
        losses: losses besides the ELBO, each weighted by the setting of its name.
        needs_whole_batches: why the processes of a run cannot share a batch; empty if they can.
    """

    title: str
    symbol: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    size: str = "z"
    space: str = ""
    density: bool = True
    constant_kl: str = "never"
    losses: tuple[str, ...] = ()
    needs_whole_batches: str = ""

    @property
    def is_sphere(self) -> bool:
        return self.symbol == "S"

    @property
    def is_discrete(self) -> bool:
        return not self.symbol

    @property
    def all_settings(self) -> frozenset[str]:
        """Every setting that a model of this kind has and some other kinds lack."""
        return frozenset((*self.arguments.values(), *self.settings)) - {"map_shape"}


def _sphere(title: str) -> Kind:
    return Kind(title, "S", {"kappa": "kappa", "radius": "radius"}, constant_kl="kappa")


_GUMBEL = ("categories", "temperature", "temperature_min", "temperature_epochs", "straight_through")

KINDS: dict[str, Kind] = {
    "vmf": _sphere("von Mises-Fisher"),
    "normal": Kind("normal", "R", {"covariance": "covariance_matrix"}),
    "powerspherical": _sphere("Power Spherical"),
    "gumbel": Kind(
        "Gumbel-softmax",
        arguments={name: name for name in _GUMBEL},
        settings=("variables",),
        size="variables",
        space="{variables} variables of {categories} categories",
    ),
    "vq": Kind(
        "vector-quantized",
        arguments={"codes": "codes", "positions": "positions", "map_shape": "map_shape"},
        settings=("code_dim", "commitment", "vq_prior", "vq_prior_epochs"),
        size="code_dim",
        space="{positions} of {codes} codes in R^{code_dim}",
        density=False,
        constant_kl="always",
        losses=("commitment",),
        needs_whole_batches="its codebook follows the codes of whole batches",
    ),
}

# Spelled as the flag is; each value names a class for `pkgutil.resolve_name`.
LIKELIHOODS: dict[str, str] = {
    "bce": "hyperspherical_vae.likelihoods:Bernoulli",
    "mse": "hyperspherical_vae.likelihoods:Gaussian",
    "logistic": "hyperspherical_vae.likelihoods:DiscretizedLogistic",
}

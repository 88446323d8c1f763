"""What each kind of latent space and of likelihood is, as data; importing this module does not import torch.

Whoever wants to know whether a latent is a sphere, which settings it has, or what it cannot do, asks here. Adding a
kind of latent is adding its file, one entry here and one in `latents.LATENTS`; a likelihood is its class and one entry
of `LIKELIHOODS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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
        sizes: the settings that say how large discrete codes are, for the name of a run's folder.
        space: discrete codes in words, a template of settings.
        unset: what that template says in place of a setting that is not given.
        density: whether prior and posterior have densities with respect to one measure; without, there is no
            importance-sampled log p(x).
        constant_kl: whether KL(q || p) is one number, whatever the image and the weights: `always`, `never`, or the
            setting that makes it so when it is given.
        losses: losses besides the ELBO, each weighted by the setting of its name.
        normal_prior: whether its prior is the standard normal, whose exact density figures draw; else they estimate it.
        needs_whole_batches: why the processes of a run cannot share a batch; empty if they can.
    """

    title: str
    symbol: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[str, ...] = ()
    size: str = "z"
    sizes: tuple[str, ...] = ()
    space: str = ""
    unset: Mapping[str, str] = field(default_factory=dict)
    density: bool = True
    constant_kl: str = "never"
    losses: tuple[str, ...] = ()
    normal_prior: bool = False
    needs_whole_batches: str = ""

    @property
    def is_sphere(self) -> bool:
        return self.symbol == "S"

    @property
    def is_discrete(self) -> bool:
        return not self.symbol

    def describe(self, dim: int, settings: Mapping[str, Any]) -> str:
        """The latent space in symbols, such as `S^4` or `R^2`, or the codes in words.

        Args:
            dim: its intrinsic dimension.
            settings: of the run.
        """
        if not self.is_discrete:
            return f"{self.symbol}^{dim}"
        given = {name: value for name, value in settings.items() if value is not None}
        return self.space.format_map({**self.unset, **given})

    def label(self, settings: Mapping[str, Any]) -> str:
        """The size in a word: `z10`, or for discrete codes `20x10`.

        Args:
            settings: of the run.
        """
        if not self.is_discrete:
            return f"z{settings[self.size]}"
        return "x".join(str(settings[name]) for name in self.sizes if settings[name] is not None)

    @property
    def all_settings(self) -> frozenset[str]:
        """Every setting that a model of this kind has and some other kinds lack."""
        return frozenset((self.size, *self.arguments.values(), *self.settings)) - {"map_shape"}


def _sphere(title: str) -> Kind:
    return Kind(title, "S", {"kappa": "kappa", "radius": "radius", "start": "kappa_start"}, constant_kl="kappa")


_GUMBEL = ("categories", "temperature", "temperature_min", "temperature_epochs", "straight_through")

# The first kind of a symbol is what its letter in `-zd` means without `-dis`; so add new kinds below.
KINDS: dict[str, Kind] = {
    "vmf": _sphere("von Mises-Fisher"),
    "normal": Kind("normal", "R", {"covariance": "covariance_matrix"}, normal_prior=True),
    "powerspherical": _sphere("Power Spherical"),
    "spcauchy": _sphere("spherical Cauchy"),
    "gumbel": Kind(
        "Gumbel-softmax",
        arguments={name: name for name in _GUMBEL},
        settings=("variables",),
        size="variables",
        sizes=("variables", "categories"),
        space="{variables} variables of {categories} categories",
    ),
    "vq": Kind(
        "vector-quantized",
        arguments={"codes": "codes", "positions": "positions", "map_shape": "map_shape"},
        settings=("code_dim", "commitment", "vq_prior", "vq_prior_epochs"),
        size="code_dim",
        sizes=("positions", "codes"),
        space="{positions} of {codes} codes in R^{code_dim}",
        unset={"positions": "a map"},
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
    "normal": "hyperspherical_vae.likelihoods:Normal",
    "poisson": "hyperspherical_vae.likelihoods:Poisson",
}

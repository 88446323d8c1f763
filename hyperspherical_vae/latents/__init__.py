"""Latent spaces: features of an encoder in, a posterior distribution out."""

from .base import Latent
from .categorical import GumbelLatent
from .codebook import CodebookLatent
from .normal import NormalLatent
from .product import ProductLatent
from .spherical import PowerSphericalLatent, SphericalCauchyLatent, SphericalLatent

LATENTS: dict[str, type[Latent]] = {
    "normal": NormalLatent,
    "vmf": SphericalLatent,
    "powerspherical": PowerSphericalLatent,
    "spcauchy": SphericalCauchyLatent,
    "gumbel": GumbelLatent,
    "vq": CodebookLatent,
}

__all__ = [
    "LATENTS",
    "CodebookLatent",
    "GumbelLatent",
    "Latent",
    "NormalLatent",
    "PowerSphericalLatent",
    "ProductLatent",
    "SphericalCauchyLatent",
    "SphericalLatent",
]

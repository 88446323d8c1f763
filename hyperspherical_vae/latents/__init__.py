"""Latent spaces: features of an encoder in, a posterior distribution out."""

from .base import Latent
from .normal import NormalLatent
from .product import ProductLatent
from .spherical import SphericalLatent

LATENTS: dict[str, type[Latent]] = {
    "normal": NormalLatent,
    "vmf": SphericalLatent,
    "powerspherical": SphericalLatent,
}

__all__ = ["LATENTS", "Latent", "NormalLatent", "ProductLatent", "SphericalLatent"]

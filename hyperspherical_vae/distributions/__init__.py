"""Distributions on hyperspheres, as torch.distributions, and products of distributions."""

from . import kl  # registers the KL divergences
from .hyperspherical_uniform import HypersphericalUniform
from .power_spherical import PowerSpherical
from .product import ProductDistribution
from .von_mises_fisher import VonMisesFisher

__all__ = ["HypersphericalUniform", "PowerSpherical", "ProductDistribution", "VonMisesFisher", "kl"]

"""Distributions on hyperspheres, as torch.distributions, and products of distributions."""

from . import kl  # registers the KL divergences
from .hyperspherical_uniform import HypersphericalUniform
from .one_hot_codes import OneHotCodes, RelaxedCodes
from .power_spherical import PowerSpherical
from .product import ProductDistribution
from .spherical_cauchy import SphericalCauchy
from .von_mises_fisher import VonMisesFisher

__all__ = [
    "HypersphericalUniform",
    "OneHotCodes",
    "PowerSpherical",
    "ProductDistribution",
    "RelaxedCodes",
    "SphericalCauchy",
    "VonMisesFisher",
    "kl",
]

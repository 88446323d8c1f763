"""Distributions and latent spaces on hyperspheres for variational auto-encoders."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .distributions import (
        HypersphericalUniform,
        OneHotCodes,
        PowerSpherical,
        ProductDistribution,
        RelaxedCodes,
        SphericalCauchy,
        VonMisesFisher,
    )
    from .latents import LATENTS

__version__ = "1.1.0"

__all__ = [
    "LATENTS",
    "HypersphericalUniform",
    "OneHotCodes",
    "PowerSpherical",
    "ProductDistribution",
    "RelaxedCodes",
    "SphericalCauchy",
    "VonMisesFisher",
]


def __getattr__(name: str) -> object:
    # Imported at the first use, since PyTorch takes seconds to import.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "latents" if name == "LATENTS" else "distributions"
    return getattr(importlib.import_module(f".{home}", __name__), name)

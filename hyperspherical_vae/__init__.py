"""Distributions and latent spaces on hyperspheres for variational auto-encoders."""

from __future__ import annotations

import importlib

__version__ = "1.1.0"

# Imported at the first use, since PyTorch takes seconds to import.
_HOMES = {
    "HypersphericalUniform": "distributions",
    "OneHotCodes": "distributions",
    "PowerSpherical": "distributions",
    "ProductDistribution": "distributions",
    "RelaxedCodes": "distributions",
    "SphericalCauchy": "distributions",
    "VonMisesFisher": "distributions",
    "LATENTS": "latents",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)

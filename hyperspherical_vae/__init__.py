"""Distributions and latent spaces on hyperspheres for variational auto-encoders."""

__version__ = "1.0.0"

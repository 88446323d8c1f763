"""Distributions and latent spaces on hyperspheres for variational auto-encoders."""

"""Modified Bessel functions of the first kind at any real order in pure torch, and the constraint to unit vectors."""

from ..constraints import unit_vector
from .bessel import bessel_ratio, log_iv, log_ive

__all__ = ["bessel_ratio", "log_iv", "log_ive", "unit_vector"]

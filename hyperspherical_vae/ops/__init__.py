"""Special functions in pure torch: modified Bessel functions of the first kind at any real order."""

from hyperspherical_vae.ops.bessel import bessel_ratio, log_iv, log_ive

__all__ = ["bessel_ratio", "log_iv", "log_ive"]

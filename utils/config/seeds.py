"""One seed, many independent streams of random numbers."""

import hashlib


def derive_seed(seed: int | str, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, such as `derive_seed(1, "order", epoch)`.

    Hashing keeps the streams apart: neighbouring seeds and epochs have nothing in common, and what one purpose draws
    does not shift what another draws. A text serves as a seed where the numbers belong to something other than a run.
    """
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1

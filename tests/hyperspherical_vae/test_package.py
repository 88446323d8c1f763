"""What the package offers under its own name."""

import subprocess
import sys

import pytest

import hyperspherical_vae


def test_names_are_imported_at_their_first_use():
    code = (
        "import sys, hyperspherical_vae as h; assert 'torch' not in sys.modules; "
        "from hyperspherical_vae import VonMisesFisher; assert 'torch' in sys.modules; "
        "assert all(hasattr(h, name) for name in h.__all__)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_names_are_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'VonMises'"):
        _ = hyperspherical_vae.VonMises

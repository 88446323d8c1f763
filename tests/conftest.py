"""Shared by all tests."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The suite runs in several processes; more threads than cores only slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config):
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def run_models(tmp_path):
    """Run `run_models.py` with results in a fresh folder: `run_models("-n normal -e 2")` gives the finished process."""

    def run(line, **how):
        words = [sys.executable, str(ROOT / "run_models.py"), "-ld", str(tmp_path / "results"), *line.split()]
        return subprocess.run(words, capture_output=True, text=True, timeout=300, **how)

    return run


@pytest.fixture(scope="session")
def real_data():
    """The folder of the real data sets, named by HSVAE_DATA."""
    folder = os.environ.get("HSVAE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data: set HSVAE_DATA to a folder that holds the data sets")
    return Path(folder)

"""Shared by all tests."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

# The suite runs in several processes; more threads than cores only slow each other down.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure(config):
    import torch

    torch.set_num_threads(1)
    # A shell lets what runs in the background ignore Ctrl-C, and the programs that tests start would do so, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def checked_distributions():
    """Distributions check their arguments: `torch.compile` turns that off for the rest of the process."""
    import torch

    torch.distributions.Distribution.set_default_validate_args(True)


@dataclass
class Finished:
    """A run that has ended: what the shell would see of it."""

    returncode: int
    stdout: str
    stderr: str


QUICK_FIGURES = ("learning_curves", "reconstructions", "samples")


@pytest.fixture
def run_models(tmp_path, capfd, monkeypatch):
    """Run the program in this process, results in a fresh folder: `run_models("-e 2")` is what came of it.

    Starting Python takes far longer than a small run; tests of processes and signals start their own. Drawing all
    figures does too: `run_models(line, every_figure=True)` is for the tests of those.
    """
    import run_models as program
    from utils.figures import registry as figures

    def run(line, every_figure=False):
        capfd.readouterr()
        with monkeypatch.context() as patch:
            if not every_figure:
                patch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in QUICK_FIGURES})
            returncode = program.main(["-ld", str(tmp_path / "results"), *line.split()])
        return Finished(returncode, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def real_data():
    """The folder of the real data sets, named by HSVAE_DATA."""
    folder = os.environ.get("HSVAE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real data: set HSVAE_DATA to a folder that holds the data sets")
    return Path(folder)

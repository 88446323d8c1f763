"""What a card does: every kind of model against the CPU, step times, log p(x). `benchmarks/cuda.sh` calls it.

    python -m benchmarks.card cuda
    python -m benchmarks.card cpu       # a rehearsal where there is no card

Step times are of images of 28x28 made of random bytes, so that no data set is needed.
"""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import contextlib
import io
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import run_models
from benchmarks.bench import STEPS, epoch
from models import VAE, Images, build_model
from utils.config.command_line import parse_run
from utils.config.config import Config
from utils.config.flags import UsageError
from utils.measure.conditions import Conditions
from utils.measure.log_px import estimate_log_px
from utils.run.failures import guarded
from utils.run.records import find_runs
from utils.train.adam import Adam
from utils.train.batches import Preparation, TrainingImages
from utils.training_utils import note_nonfinite, objective

KINDS = {
    "Normal": "-n normal -z 5",
    "Normal, full covariance": "-n normal -z 3 -cvm full",
    "vMF": "-n vmf -z 5",
    "vMF, fixed concentration": "-n vmf -z 5 --kappa 50",
    "Power Spherical": "-n powerspherical -z 5",
    "product": "-n productspace -zd s2,s2,e2",
    "Gumbel": "-n gumbel",
    "codebook": "-n vq",
    "vMF, convolutional": "-n vmf -z 5 -et cnn -dt cnn",
}


def compare_kinds(device: str) -> None:
    """Train each kind of model for five epochs on digits, on the card and on the CPU, and print both test ELBOs."""
    for name, line in KINDS.items():
        found = []
        for place in ("cpu", device):
            with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
                words = [*line.split(), "-d", "digits", "-e", "5", "-lls", "20", "-ld", folder, "--device", place]
                code = run_models.main([*words, "-v", "0"])
                records = find_runs([Path(folder)])[0] if code == 0 else []
                found.append(records[0].summary["test"]["elbo"] if records else float("nan"))
        print(f"{name}: ELBO {found[0]:.3f} on the CPU, {found[1]:.3f} on {device}", flush=True)


def timed(function: Callable[[], object], device: str, turns: int = 5) -> float:
    """The least number of seconds that a function takes, work on the card included."""
    took = []
    for _ in range(turns + 1):
        started = time.perf_counter()
        function()
        if device != "cpu":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - started)
    return min(took[1:])


def prepared(name: str, device: str) -> tuple[Config, VAE, TrainingImages]:
    """Configuration, model and batches of random images."""
    config = parse_run(f"-n {name} -z 10 -d digits --device {device}".split())
    split: Any = SimpleNamespace(images=torch.randint(256, (STEPS * 100, 1, 28, 28), dtype=torch.uint8), labels=None)
    images = TrainingImages(split, Preparation(255, binary=True, seed=1, device=torch.device(device)), 100)
    return config, build_model(config, Images((1, 28, 28), 255, "bce", classes=0)).to(device), images


def captured(config: Config, model: VAE, images: TrainingImages) -> Callable[[], None]:
    """An epoch whose step is a captured graph: binarization outside, everything else in it."""
    optimizer, stream = Adam(model.parameters(), config.lr), torch.cuda.Stream()
    x = next(images.epoch(0))[0].clone()
    one = torch.ones_like(optimizer.skip)

    def step() -> None:
        optimizer.zero_grad()
        loss = objective(model(x), 1.0, 0.0)
        loss.backward()
        note_nonfinite(optimizer.skip, [loss.detach(), *optimizer.gradients()], one)
        optimizer.step()

    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def epoch() -> None:
        for (batch,) in images.epoch(0):
            x.copy_(batch)
            graph.replay()

    return epoch


def time_steps(device: str) -> None:
    """Print the time of a step of Normal and vMF: plain, compiled, and as a captured graph; and of log p(x)."""
    ways: dict[str, Callable[..., Callable[[], None]]] = {"plain": epoch, "compiled": partial(epoch, compiled=True)}
    if device != "cpu":
        ways["captured"] = captured
    for name in ("normal", "vmf"):
        config, model, images = prepared(name, device)
        for way, make in ways.items():
            try:
                text = f"{timed(make(config, model, images), device) / STEPS * 1e3:.3f} ms a step"
            except Exception as error:  # the other ways are measured all the same
                text = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"{name}, {way}: {text}", flush=True)
        x = next(images.epoch(0))[0]
        seconds = timed(partial(estimate_log_px, model, x, 500, Conditions(1)), device, 3)
        print(f"{name}, log p(x): {seconds / 100 / 500 * 1e6:.3f} us a latent", flush=True)


def main(arguments: list[str]) -> int:
    """Do all of it on the device of the first word."""
    return guarded("benchmarks.card", lambda stop: _measure(arguments))


def _measure(arguments: list[str]) -> int:
    if arguments not in (["cuda"], ["cpu"]):
        raise UsageError("say `cuda` or `cpu`")
    if arguments == ["cuda"] and not torch.cuda.is_available():
        raise UsageError("cuda: this machine has no CUDA device that torch can use; allowed here: cpu")
    name = torch.cuda.get_device_name() if arguments[0] == "cuda" else "no card, a rehearsal"
    print(f"torch {torch.__version__}, {name}")
    time_steps(arguments[0])
    compare_kinds(arguments[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

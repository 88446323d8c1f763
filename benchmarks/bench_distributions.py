"""Speed of the von Mises-Fisher distribution as ratios to other things, measured in one run.

    python benchmarks/bench_distributions.py [--seconds S]

Prints one table. A cell is the median processor time, on one thread, of repetitions in which all columns take turns, in
an order drawn anew each time, so that whatever else the machine does, and whatever the others leave in its cache, meets
them alike; in brackets the time of the von Mises-Fisher distribution over it. The columns:

* randn + normalise: the least that any sampler of directions does;
* Power Spherical, spherical Cauchy: this library's, families whose samplers need no rejection;
* with torch's Beta: the Power Spherical distribution as published (De Cao and Aziz 2020), with a Householder reflection
  and autograd; its derivative of the Beta quantile is off by up to 0.7 %;
* scipy: the KL divergence to the uniform distribution from `scipy.special.ive`;
* Normal: a diagonal normal posterior of the same shape, for a whole training step of the latent alone.
"""

import ctypes
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import scipy.special
import torch
from torch import Tensor
from torch.distributions import Beta, Independent, Normal, kl_divergence
from torch.nn import functional as F

from hyperspherical_vae.distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher
from hyperspherical_vae.distributions.base import LocatedOnSphere
from utils.config.command_line import parse_options
from utils.config.flags import flag
from utils.run.failures import guarded

SAMPLING_SHAPES = [(100, 11), (10_000, 3), (10_000, 11), (50_000, 41), (1000, 513)]
KL_SHAPES = [(100, 11), (100_000, 11), (100_000, 41)]
STEP_SHAPES = [(100, 11)]
FAMILIES: dict[str, Callable[..., LocatedOnSphere]] = {
    "vMF": VonMisesFisher,
    "Power Spherical": PowerSpherical,
    "spherical Cauchy": SphericalCauchy.from_concentration,
}
COLUMNS = [*list(FAMILIES)[1:], "randn + normalise", "with torch's Beta", "scipy", "Normal"]
Timed = Callable[[], object]


def power_spherical_sample(loc: Tensor, k: Tensor) -> Tensor:
    """A reparameterized sample of the Power Spherical distribution with what torch offers."""
    beta = torch.full_like(k, (loc.shape[-1] - 1) / 2)
    t = 2 * Beta(beta + k, beta, validate_args=False).rsample().unsqueeze(-1) - 1
    across = F.normalize(torch.randn_like(loc[..., 1:]), dim=-1)
    x = torch.cat([t, (1 - t**2).clamp_min(1e-12).sqrt() * across], -1)
    axis = torch.zeros_like(loc)
    axis[..., 0] = 1
    u = F.normalize(axis - loc, dim=-1)
    return x - 2 * (x * u).sum(-1, keepdim=True) * u


class ScipyKL(torch.autograd.Function):
    """KL(vMF || uniform) up to a constant from exponentially scaled Bessel functions."""

    @staticmethod
    def forward(ctx: Any, k: Tensor, dim: int) -> Tensor:
        order = dim / 2 - 1
        x = k.double()
        scaled = torch.from_numpy(scipy.special.ive(order, x.numpy()))
        ratio = torch.from_numpy(scipy.special.ive(order + 1, x.numpy())) / scaled
        ctx.save_for_backward(x * (1 - ratio**2) - (dim - 1) * ratio)
        return (x * ratio - torch.log(scaled) - x + order * torch.log(x)).to(k.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.saved_tensors[0].to(grad.dtype), None


def keep_memory() -> None:
    """Have glibc keep freed memory; else the pages of large tensors are faulted in by whichever column comes next."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def medians(timed: dict[str, Timed], seconds: float) -> dict[str, float]:
    """Median seconds of each call, in turns, for about `seconds` and seven rounds at least after two to warm up."""
    rounds: list[dict[str, float]] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(rounds) < 9:
        rounds.append({})
        for name, call in random.sample(list(timed.items()), len(timed)):
            started = time.process_time()
            call()
            rounds[-1][name] = time.process_time() - started
    return {name: statistics.median(each[name] for each in rounds[2:]) for name in timed}


def sampling(n: int, dim: int) -> dict[str, Timed]:
    loc, k = F.normalize(torch.randn(n, dim), dim=-1), torch.rand(n) * 50 + 1
    return {
        **{name: family(loc, k, validate_args=False).sample for name, family in FAMILIES.items()},
        "randn + normalise": lambda: F.normalize(torch.randn(n, dim), dim=-1),
        "with torch's Beta": torch.no_grad()(lambda: power_spherical_sample(loc, k)),
    }


def sampling_and_backward(n: int, dim: int) -> dict[str, Timed]:
    loc = F.normalize(torch.randn(n, dim), dim=-1).requires_grad_()
    k = (torch.rand(n) * 50 + 1).requires_grad_()
    grad = torch.randn(n, dim)

    def of(family: Callable[..., LocatedOnSphere]) -> Timed:
        return lambda: torch.autograd.grad(family(loc, k, validate_args=False).rsample(), (loc, k), grad)

    return {
        **{name: of(family) for name, family in FAMILIES.items()},
        "with torch's Beta": lambda: torch.autograd.grad(power_spherical_sample(loc, k), (loc, k), grad),
    }


def kl_and_gradient(n: int, dim: int) -> dict[str, Timed]:
    k = (torch.rand(n) * 50 + 1).requires_grad_()
    loc, grad = F.normalize(torch.randn(n, dim), dim=-1), torch.ones(n)
    uniform = HypersphericalUniform(dim - 1, validate_args=False)

    def of(family: Callable[..., LocatedOnSphere]) -> Timed:
        return lambda: torch.autograd.grad(kl_divergence(family(loc, k, validate_args=False), uniform), k, grad)

    return {
        **{name: of(family) for name, family in FAMILIES.items()},
        "scipy": lambda: torch.autograd.grad(ScipyKL.apply(k, dim), k, grad),
    }


def training_step(n: int, dim: int) -> dict[str, Timed]:
    """Posterior from the outputs of a network, sample, KL and backward."""
    raw, spread, width = (torch.randn(n, size, requires_grad=True) for size in (dim, 1, dim))
    grad_z, grad_kl = torch.randn(n, dim), torch.ones(n)
    uniform = HypersphericalUniform(dim - 1, validate_args=False)
    normal = Independent(Normal(torch.zeros(dim), torch.ones(dim), validate_args=False), 1, validate_args=False)

    def of(family: Callable[..., LocatedOnSphere]) -> Timed:
        def step() -> object:
            q = family(F.normalize(raw, dim=-1), F.softplus(spread.squeeze(-1)) + 1, validate_args=False)
            return torch.autograd.grad((q.rsample(), kl_divergence(q, uniform)), (raw, spread), (grad_z, grad_kl))

        return step

    def gaussian() -> object:
        q = Independent(Normal(raw, F.softplus(width), validate_args=False), 1, validate_args=False)
        return torch.autograd.grad((q.rsample(), kl_divergence(q, normal)), (raw, width), (grad_z, grad_kl))

    return {**{name: of(family) for name, family in FAMILIES.items()}, "Normal": gaussian}


@dataclass(frozen=True)
class Options:
    """The flags of `python benchmarks/bench_distributions.py`."""

    seconds: float = flag("--seconds", float, "how", 4.0, "time for each row", above=0, high=1e5)


def main(arguments: Sequence[str]) -> int:
    """Measure and print the table; returns the exit code."""
    return guarded("benchmarks.bench_distributions", lambda stop: _measure(arguments))


def _measure(arguments: Sequence[str]) -> int:
    options, _ = parse_options(
        arguments, Options, takes_words=False,
        usage="python benchmarks/bench_distributions.py [FLAGS]",
        description=(__doc__ or "").split("\n")[0],
        epilog="Exit codes: 0 done, 1 failed, 2 usage.",
    )
    keep_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [
        *(("sample", sampling, shape) for shape in SAMPLING_SHAPES),
        *(("sample + backward", sampling_and_backward, shape) for shape in SAMPLING_SHAPES),
        *(("KL + gradient", kl_and_gradient, shape) for shape in KL_SHAPES),
        *(("posterior, sample, KL, backward", training_step, shape) for shape in STEP_SHAPES),
    ]
    print(f"torch {torch.__version__}, float32, CPU, one thread; milliseconds (vMF / it)\n")
    print("| | batch x m | vMF | " + " | ".join(COLUMNS) + " |")
    print("|---|---|--:|" + "--:|" * len(COLUMNS))
    for label, make, (n, dim) in rows:
        found = medians(make(n, dim), options.seconds)
        cells = [f"{found[c] * 1e3:.3g} ({found['vMF'] / found[c]:.2f})" if c in found else "" for c in COLUMNS]
        print(f"| {label} | {n} x {dim} | {found['vMF'] * 1e3:.3g} | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

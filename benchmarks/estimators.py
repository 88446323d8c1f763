"""Which estimator gives which log p(x): why published values of the sphere are not met where ELBO and KL are.

    python -m benchmarks.estimators                                # what the KL alone decides, without a model
    python -m benchmarks.estimators RUN... [--images 200] [--most 50000] [--data_dir DIR]

Every number is the gap between an estimate and the ELBO, in nats, a mean over images. The published gap is the
difference of two columns of Table 1 of Davidson et al. 2018 (S-VAE).

The example of the authors' TensorFlow code (nicola-decao/s-vae-tf, `examples/mnist.py`, from its first commit on)
weighs K new samples of q by p(z) / q(z | x), but takes log p(x | z) from the one sample that the graph has decoded. Its
"log-likelihood" is therefore

    log p(x | z_0) + log 1/K sum_k p(z_k) / q(z_k | x),    z_0, z_1 ... z_K ~ q(z | x),

here called "one reconstruction". It is no estimate of log p(x): as K grows it rises from the ELBO to the reconstruction
term, for E_q p(z) / q(z | x) is 1. Its gap does not depend on the images, only on the posteriors: at high
concentrations, only on K and the dimension.
"""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import dataclasses
import functools
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from hyperspherical_vae.distributions import HypersphericalUniform, VonMisesFisher
from models import VAE, load_best
from utils.config.command_line import parse_options
from utils.config.flags import flag
from utils.config.seeds import derive_seed
from utils.experiment import Experiment
from utils.load_data import load_data
from utils.run.console import Console
from utils.run.failures import guarded
from utils.run.folder import RunDir
from utils.run.interrupts import StopRequest
from utils.run.records import no_run, read_identity
from utils.tables.layout import Table, as_text
from utils.tables.published import PUBLISHED, S_VAE

AT_ONCE = 50  # samples of each image that are decoded at once
# The concentration that the published KL of S^d implies.
PUBLISHED_KAPPA = {2: 1972.0, 5: 900.0, 10: 578.0, 20: 325.0, 40: 190.0}


@dataclass(frozen=True)
class Options:
    """The flags of `python -m benchmarks.estimators`."""

    images: int = flag("--images", int, "estimators", 200, "test images to average over", low=2, high=10**4)
    most: int = flag("--most", int, "estimators", 50_000, "largest K", low=500, high=10**7)
    data_dir: str = flag("--data_dir", str, "estimators", "data", "folder with the data sets")


def log_mean(draw: Callable[[int], Tensor], k: int) -> Tensor:
    """log 1/K sum_k exp(w_k) of each image, (B,), in float64; `draw(n)` gives n more log-weights w, (n, B)."""
    parts = [draw(min(AT_ONCE, k - done)).double().logsumexp(0) for done in range(0, k, AT_ONCE)]
    return torch.stack(parts).logsumexp(0) - math.log(k)


def published_density(q: VonMisesFisher, z: Tensor) -> Tensor:
    """log q(z) as published code computes it: in float32, with scipy's scaled Bessel function, (n, B)."""
    from scipy.special import ive

    m, k = q.event_shape[0], q.concentration.float()
    bessel = torch.from_numpy(ive(np.float32(m / 2 - 1), k.numpy()).astype(np.float32))
    log_normaliser = (m / 2 - 1) * k.log() - m / 2 * math.log(2 * math.pi) - (k + bessel.log())
    return k * (q.loc.float() * z.float()).sum(-1) + log_normaliser


def copied_sample(q: VonMisesFisher, n: int) -> Tensor:
    """Samples as the widely copied code draws them, (n, B, m): exact but for the b of Wood's envelope, for m > 3.

    Above a concentration of 11 that is replaced by the first term of its series, while the two other constants of the
    envelope stay those of the exact one.
    """
    m, k = q.event_shape[0], q.concentration.expand(n, *q.batch_shape)
    if m == 3:
        return q.sample((n,))
    root = (4 * k.square() + (m - 1) ** 2).sqrt()
    exact, series = (m - 1) / (2 * k + root), (m - 1) / (4 * k)
    share = (k - 10).clamp(0, 1)
    b, a = series * share + exact * (1 - share), (m - 1 + 2 * k + root) / 4
    d = 4 * a * b / (1 + b) - (m - 1) * math.log(m - 1)
    w, waiting = torch.zeros_like(k), torch.ones_like(k, dtype=torch.bool)
    beta = torch.distributions.Beta(*(torch.full_like(k, (m - 1) / 2),) * 2)
    while bool(waiting.any()):
        e = beta.sample()
        t = 2 * a * b / (1 - (1 - b) * e)
        taken = waiting & ((m - 1) * t.log() - t + d > torch.rand_like(k).log())
        w = torch.where(taken, (1 - (1 + b) * e) / (1 - (1 - b) * e), w)
        waiting = waiting & ~taken
    tangent = torch.randn(*k.shape, m, dtype=k.dtype)
    tangent = tangent - (tangent * q.loc).sum(-1, keepdim=True) * q.loc
    tangent = tangent / tangent.norm(dim=-1, keepdim=True)
    return w.unsqueeze(-1) * q.loc + (1 - w.square()).clamp(min=0).sqrt().unsqueeze(-1) * tangent


def log_ratio(q: Distribution, prior: Distribution, n: int) -> Tensor:
    """log p(z) / q(z | x) of n samples of q, (n, B)."""
    z = q.sample((n,))
    return prior.log_prob(z) - q.log_prob(z)


def estimates(model: VAE, x: Tensor, most: int) -> Iterator[tuple[str, Tensor]]:
    """(name, gap to the ELBO of each image) of every estimator, for images (B, C, H, W)."""
    q, prior = model.posterior(x), model.latent.prior()
    log_px_z = torch.cat([model.log_weights(x, q, AT_ONCE)[1] for _ in range(10)]).double().mean(0)
    kl = model.latent.kl(q, q.sample()).double().sum(-1)
    elbo = log_px_z - kl

    def weight(z: Tensor, log_q: Tensor) -> Tensor:
        return model.log_px_z(x, z) + prior.log_prob(z) - log_q

    yield "reconstruction term", kl
    for k in (500, 5_000, 50_000):
        if k <= most:
            yield f"log p(x), K = {k:,}", log_mean(lambda n: model.log_weights(x, q, n)[0], k) - elbo
    if isinstance(q, VonMisesFisher):
        published = log_mean(lambda n: weight(z := q.sample((n,)), published_density(q, z)), 500)
        yield "K = 500, published density", published - elbo
        copied = log_mean(lambda n: weight(z := copied_sample(q, n), published_density(q, z)), 500)
        yield "K = 500, published density and copied sampler", copied - elbo
    for k in (500, 1_000):
        yield f"one reconstruction, K = {k:,}", log_mean(lambda n: log_ratio(q, prior, n), k) + kl
    if isinstance(q, VonMisesFisher):
        alone = log_mean(lambda n: prior.log_prob(z := copied_sample(q, n)) - published_density(q, z), 500)
        yield "one reconstruction, K = 500, published density and copied sampler", alone + kl


def spread(model: VAE, x: Tensor, k: int = 500) -> tuple[float, float]:
    """Standard deviation of the log-weights of an image, and their effective sample size: means over images."""
    q = model.posterior(x)
    weights = torch.cat([model.log_weights(x, q, AT_ONCE)[0].double() for _ in range(k // AT_ONCE)])
    ess = (2 * weights.logsumexp(0) - (2 * weights).logsumexp(0)).exp()
    return weights.std(0).mean().item(), ess.mean().item()


def published_gap(factors: tuple[tuple[str, int], ...]) -> float | None:
    """LL - ELBO of a model in Table 1, None where it is not there."""
    found = (entry.values for entry in PUBLISHED if entry.protocol is S_VAE and entry.factors == factors)
    return next((values["log_px"] - values["elbo"] for values in found), None)


@torch.no_grad()
def without_model(repetitions: int = 2000) -> Table:
    """The gap of "one reconstruction" for vMF posteriors of the published concentrations."""
    rows = [["latent", "kappa", "published gap", "one reconstruction, K = 500", "K = 1,000"]]
    for dim, kappa in PUBLISHED_KAPPA.items():
        loc = torch.zeros(repetitions, dim + 1, dtype=torch.float64)
        loc[:, 0] = 1
        q, prior = VonMisesFisher(loc, loc.new_full((repetitions,), kappa)), HypersphericalUniform(dim, dtype=loc.dtype)
        kl = torch.distributions.kl_divergence(q, prior)
        draw = functools.partial(log_ratio, q, prior)
        gaps = [_text(log_mean(draw, k) + kl) for k in (500, 1_000)]
        rows.append([f"S^{dim}", f"{kappa:.0f}", f"{published_gap((('vmf', dim),)):.2f}", *gaps])
    return Table(rows)


def _text(values: Tensor) -> str:
    return f"{values.mean():.2f} ± {values.std() / len(values) ** 0.5:.2f}"


@torch.no_grad()
def of_run(folder: Path, options: Options) -> Table:
    """The gaps of the best model of a run so far; it need not be finished.

    Raises:
        UsageError: the folder holds no run.
        Damaged, Foreign, DataError: its model or data cannot be read.
    """
    if (identity := read_identity(folder)) is None:
        raise no_run(folder)
    config = dataclasses.replace(identity.config, data_dir=options.data_dir)
    run = RunDir(identity, folder)
    model, epoch = load_best(run)
    experiment = Experiment(config, load_data(config), model, run, Console(config), StopRequest())
    x = experiment.test_images[: options.images]
    torch.manual_seed(derive_seed(config.rs, "estimators"))
    deviation, ess = spread(model, x)
    gap = published_gap(config.factors)
    published = "unknown" if gap is None else f"{gap:.2f}"
    rows = [[name, _text(values)] for name, values in estimates(model, x, options.most)]
    return Table(
        [["estimate", "gap to the ELBO"], *rows],
        notes=(
            f"{config.space}, epoch {epoch}, {len(x)} images; published gap {published}",
            f"log-weights: standard deviation {deviation:.1f} nats, effective sample size {ess:.1f} of 500",
        ),
    )


def main(arguments: Sequence[str]) -> int:
    """Print the table of each run, or that without a model; returns the exit code."""
    return guarded("benchmarks.estimators", lambda stop: _measure(arguments))


def _measure(arguments: Sequence[str]) -> int:
    options, folders = parse_options(
        arguments, Options,
        usage="python -m benchmarks.estimators [RUN...] [FLAGS]",
        description="Print how far estimates of log p(x), ours and published ones, lie above the ELBO.",
        epilog="Without RUN: what the posteriors alone decide.\nExit codes: 0 done, 1 failed, 2 usage.",
    )
    for table in (of_run(Path(folder), options) for folder in folders) if folders else (without_model(),):
        print(as_text(table), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Find a circle that is hidden in R^100: figure 1 of Davidson et al. 2018, "Hyperspherical variational auto-encoders".

    python examples/circle.py

Points of a circle, in three von Mises-Fisher clusters, are mapped to R^100 by a random smooth function, and noise is
added. Small variational auto-encoders are trained on what comes out: one whose latent space is the plane R^2 with a
normal prior, and others whose latent space is the circle S^1 with a uniform prior. The table says how far the angles
of the encoded points are from the true angles after the best rotation and reflection; the picture shows the points.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple, NoReturn

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, kl_divergence
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # finds the library where it is not installed
from hyperspherical_vae.distributions import HypersphericalUniform, PowerSpherical, SphericalCauchy, VonMisesFisher

POINTS, DIMENSIONS, HIDDEN = 600, 100, 64
CLUSTER_CONCENTRATION = 8.0


class Latent(NamedTuple):
    """A latent space: the numbers that its posterior is made of, how it is made of them, and the prior."""

    label: str
    outputs: int
    posterior: Callable[[Tensor], Distribution]
    prior: Distribution


def normal(outputs: Tensor) -> Distribution:
    loc, raw = outputs.chunk(2, -1)
    return Independent(Normal(loc, F.softplus(raw) + 1e-6), 1)


def on_circle(label: str, family: Callable[[Tensor, Tensor], Distribution]) -> Latent:
    """S^1 with a posterior of a family that takes a mean direction and a concentration."""

    def posterior(outputs: Tensor) -> Distribution:
        loc, raw = outputs.split([2, 1], -1)
        return family(F.normalize(loc, dim=-1), F.softplus(raw.squeeze(-1)) + 1)

    return Latent(label, 3, posterior, HypersphericalUniform(1))


LATENTS = {
    "normal": Latent("Normal, R²", 4, normal, Independent(Normal(torch.zeros(2), torch.ones(2)), 1)),
    "vmf": on_circle("von Mises-Fisher, S¹", VonMisesFisher),
    "powerspherical": on_circle("Power Spherical, S¹", PowerSpherical),
    "spcauchy": on_circle("spherical Cauchy, S¹", SphericalCauchy.from_concentration),
}


class VAE(nn.Module):
    """One hidden layer each way, and normal noise of one learned size on the coordinates of x."""

    def __init__(self, latent: Latent) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Linear(DIMENSIONS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, latent.outputs))
        self.decoder = nn.Sequential(nn.Linear(2, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, DIMENSIONS))
        self.log_noise = nn.Parameter(torch.zeros(()))

    def elbo(self, x: Tensor) -> Tensor:
        """log p(x|z) - KL(q(z|x) || p(z)) for each row of x, with one sample z."""
        q = self.latent.posterior(self.encoder(x))
        noise = Normal(self.decoder(q.rsample()), self.log_noise.exp())
        return noise.log_prob(x).sum(-1) - kl_divergence(q, self.latent.prior)


def make_data(noise: float) -> tuple[Tensor, Tensor]:
    """True angles (N,) and what is observed, (N, 100)."""
    thirds = 2 * math.pi / 3 * torch.arange(POINTS).remainder(3)
    centres = torch.stack([thirds.cos(), thirds.sin()], -1)
    u = VonMisesFisher(centres, CLUSTER_CONCENTRATION).sample()
    hidden = torch.tanh(u @ torch.randn(2, HIDDEN) + torch.randn(HIDDEN))
    x = hidden @ torch.randn(HIDDEN, DIMENSIONS) / math.sqrt(HIDDEN)
    return torch.atan2(u[:, 1], u[:, 0]), x + noise * torch.randn_like(x)


def align(points: Tensor, truth: Tensor) -> Tensor:
    """Rotate points (N, 2), and reflect them if that is better, so that their angles are as close as can be to (N,)."""
    found = []
    for sign in (1.0, -1.0):
        z = torch.complex(points[:, 0], sign * points[:, 1])
        turn = torch.polar(torch.ones_like(truth), truth - z.angle()).mean()
        found.append((turn.abs().item(), torch.view_as_real(z * turn.sgn())))
    return max(found, key=lambda pair: pair[0])[1]


def angles(points: Tensor) -> Tensor:
    return torch.atan2(points[:, 1], points[:, 0])


def angle_error(angle: Tensor, truth: Tensor) -> float:
    """Mean distance of angles (N,) in degrees."""
    return (angle - truth + math.pi).remainder(2 * math.pi).sub(math.pi).abs().mean().rad2deg().item()


def circular_correlation(angle: Tensor, truth: Tensor) -> float:
    """Correlation of angles (N,) that no rotation changes, from -1 to 1 (Fisher and Lee 1983, equation 2)."""
    first, second = ((a[:, None] - a).sin() for a in (angle, truth))
    return ((first * second).sum() / (first.norm() * second.norm())).item()


def experiment(latent: Latent, seed: int, steps: int, noise: float) -> tuple[Tensor, Tensor]:
    """Train on the data of the seed; the true angles (N,), and aligned with them the means of the posteriors (N, 2)."""
    torch.manual_seed(seed)
    truth, x = make_data(noise)
    model = VAE(latent)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        (-model.elbo(x).mean()).backward()
        optimizer.step()
    with torch.no_grad():
        return truth, align(latent.posterior(model.encoder(x)).mean, truth)


def draw(clouds: dict[str, Tensor], path: Path) -> None:
    """Draw clouds of points (N, 2) side by side, the first of them the truth: a point's colour is its true angle."""
    truth = angles(next(iter(clouds.values())))
    figure = Figure(figsize=(2.2 * len(clouds), 2.5), layout="constrained")
    for axes, (title, points) in zip(figure.subplots(1, len(clouds)), clouds.items(), strict=True):
        axes.scatter(*points.T, c=truth, cmap="hsv", s=6, alpha=0.6, linewidths=0)
        axes.plot(0, 0, "+", color="grey")
        reach = 1.1 * max(1.0, points.abs().max().item())
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        axes.set_title(title, fontsize="medium")
        axes.tick_params(labelsize="x-small")
    figure.savefig(path, dpi=100)


class Parser(argparse.ArgumentParser):
    """A mistake is answered in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; --help lists what is allowed\n")


def at_least(least: float, kind: type[int] | type[float]) -> Callable[[str], float]:
    """A type for argparse: a number from `least` to below infinity."""

    def number(text: str) -> float:
        value = kind(text)
        if not least <= value < math.inf:
            raise ValueError
        return value

    number.__name__ = f"number from {least:g} on"
    return number


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = Parser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    names = ", ".join(LATENTS)
    parser.add_argument("--latents", nargs="+", choices=LATENTS, default=list(LATENTS), metavar="X", help=names)
    parser.add_argument("--seeds", type=at_least(2, int), default=10, metavar="N", help="data sets and models (10)")
    parser.add_argument("--steps", type=at_least(1, int), default=600, metavar="N", help="steps of training (600)")
    parser.add_argument("--noise", type=at_least(0, float), default=0.5, metavar="X", help="s.d. of the noise (0.5)")
    parser.add_argument(
        "--picture", type=Path, default=Path("results/circle.png"), help="file for the picture of seed 0 (%(default)s)"
    )
    settings = parser.parse_args(words)
    endings = Figure().canvas.get_supported_filetypes()
    if settings.picture.suffix.lower().removeprefix(".") not in endings:
        parser.error(f"argument --picture: {settings.picture} does not end in one of {', '.join(endings)}")
    return settings


def main(words: list[str] | None = None) -> int:
    settings = parse(words)
    torch.set_num_threads(1)  # the sums, and so the results, are then the same on every machine of a kind
    clouds: dict[str, Tensor] = {}
    try:
        settings.picture.parent.mkdir(parents=True, exist_ok=True)
        print("| latent space | angle error in degrees | circular correlation |\n|---|--:|--:|")
        for name in settings.latents:
            latent = LATENTS[name]
            errors, correlations = [], []
            for seed in range(settings.seeds):
                truth, points = experiment(latent, seed, settings.steps, settings.noise)
                errors.append(angle_error(angles(points), truth))
                correlations.append(circular_correlation(angles(points), truth))
                if seed == 0:
                    clouds["true positions"] = torch.stack([truth.cos(), truth.sin()], -1)
                    clouds[latent.label] = points
            error = f"{fmean(errors):.1f} ± {stdev(errors):.1f}"
            correlation = f"{fmean(correlations):.3f} ± {stdev(correlations):.3f}"
            print(f"| {latent.label} | {error} | {correlation} |", flush=True)
        draw(clouds, settings.picture)
    except OSError as problem:
        print(f"circle.py: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\npicture: {settings.picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

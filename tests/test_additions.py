"""What a user adds from outside, with nothing else touched: it trains, is named rightly, evaluated and resumed."""

import json
import shutil
from math import prod

import pytest
import torch
from torch import nn
from torch.distributions import (
    AffineTransform,
    Independent,
    Laplace,
    Normal,
    SigmoidTransform,
    StudentT,
    TransformedDistribution,
    Uniform,
    kl_divergence,
)

from hyperspherical_vae.kinds import KINDS, LIKELIHOODS, Kind
from hyperspherical_vae.latents import LATENTS, Latent
from hyperspherical_vae.likelihoods import Likelihood
from models import load_model
from tests.faults.comparing import only_run, outcome
from utils.config.networks import NETWORKS, Network
from utils.run.interrupts import Interrupted

FREEDOM = 5.0


class StudentLatent(Latent):
    """z in R^dim, q(z|x) Student's t in every coordinate, p(z) = N(0, I); torch knows no KL between the two."""

    def __init__(self, in_features, dim, count=None):
        super().__init__(in_features, 2 * dim, count)
        self.event_dim = dim

    def posterior(self, features):
        loc, raw = self.parameters_of(features).chunk(2, -1)
        return Independent(StudentT(FREEDOM, loc, nn.functional.softplus(raw) + 1e-3), 1)

    def prior(self):
        zeros = self.head.bias.new_zeros(self.event_dim if self.count is None else (self.count, self.event_dim))
        return Independent(Normal(zeros, torch.ones_like(zeros)), 1)


class LogisticLatent(StudentLatent):
    """z in R^dim, prior and posterior logistic: made of transforms, they have no mean, mode or variance."""

    def posterior(self, features):
        return self._logistic(*self.parameters_of(features).chunk(2, -1))

    def prior(self):
        zeros = self.head.bias.new_zeros(self.event_dim)
        return self._logistic(zeros, zeros + 0.5)

    def _logistic(self, loc, raw):
        ends = (torch.zeros_like(loc), torch.ones_like(loc))
        transforms = [SigmoidTransform().inv, AffineTransform(loc, nn.functional.softplus(raw) + 1e-3)]
        return Independent(TransformedDistribution(Uniform(*ends, validate_args=False), transforms), 1)


class LaplacePixels(Likelihood):
    """Pixel values with a Laplace distribution of scale 0.2."""

    def log_prob(self, params, x):
        return Laplace(params, 0.2, validate_args=False).log_prob(x).sum(-1)

    def mean(self, params):
        return params.clamp(0, 1)


class LinearEncoder(nn.Sequential):
    """One linear layer."""

    map_shape = None

    def __init__(self, shape, hidden, bias=True):
        super().__init__(nn.Flatten(), nn.Linear(prod(shape), hidden[0], bias))
        self.out_features = hidden[0]


class LinearDecoder(nn.Sequential):
    """One linear layer."""

    def __init__(self, in_features, shape, params_per_pixel, hidden, bias=True, map_shape=None):
        super().__init__(nn.Linear(in_features, params_per_pixel * prod(shape), bias))


@pytest.fixture(autouse=True)
def added(monkeypatch):
    """A latent, a likelihood and a network, each by the lines that CONTRIBUTING.md names."""
    here = __name__
    monkeypatch.setitem(KINDS, "student", Kind("Student's t", "R"))
    monkeypatch.setitem(LATENTS, "student", StudentLatent)
    monkeypatch.setitem(KINDS, "logit", Kind("logistic", "R"))
    monkeypatch.setitem(LATENTS, "logit", LogisticLatent)
    monkeypatch.setitem(LIKELIHOODS, "laplace", f"{here}:LaplacePixels")
    monkeypatch.setitem(NETWORKS, "linear", Network(f"{here}:LinearEncoder", f"{here}:LinearDecoder", (16,)))


LINE = "-d digits -n student -z 3 -lf laplace -et linear -dt linear -e 3 -klw 2 -lls 20"


def test_kl_without_a_formula_is_estimated_without_bias():
    torch.manual_seed(0)
    latent = StudentLatent(4, 2)
    q, n = latent.posterior(torch.randn(1, 4)), 40_000
    with pytest.raises(NotImplementedError):
        kl_divergence(q, latent.prior())
    kl = latent.kl(q, q.rsample((n,)).squeeze(1)).squeeze(-1)
    # The exact one by quadrature: the coordinates are independent.
    grid = torch.linspace(-400, 400, 800_001, dtype=torch.float64)[:, None]
    one = StudentT(FREEDOM, q.base_dist.loc.double(), q.base_dist.scale.double())
    density = one.log_prob(grid)
    exact = (density.exp() * (density - Normal(0.0, 1.0).log_prob(grid))).sum() * 1e-3
    # Five standard errors.
    assert abs(kl.mean() - exact) < 5 * kl.std() / n**0.5


def test_additions_train_are_named_evaluated_and_loaded(run_models, tmp_path):
    done = run_models(LINE)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "model       student on R^3, linear encoder, linear decoder" in done.stdout
    run = only_run(tmp_path / "results")
    test = json.loads((run / "summary.json").read_text())["test"]
    assert test["log_px"] > test["elbo"]
    assert test["elbo"] == pytest.approx(test["log_px_z"] - test["kl"])
    assert test["units"] == 3
    elbos = [json.loads(line)["val"]["elbo"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert elbos == sorted(elbos)
    model, config = load_model(run)
    assert config.space == "R^3"
    assert model.sample(2).shape == (2, 1, 8, 8)
    assert "complete already" in run_models(LINE).stdout


def test_latent_without_mean_mode_and_variance_is_evaluated_and_drawn(run_models, tmp_path):
    done = run_models("-d digits -n logit -z 2 -e 2 -klw 0 -lls 5 -hd 8 --classifier", every_figure=True)
    assert done.returncode == 0, done.stderr
    assert "could not be drawn" not in done.stdout
    assert "active units" not in done.stdout
    assert (only_run(tmp_path / "results") / "figures" / "latent.png").exists()


def test_added_latent_is_a_factor_of_a_product(run_models, tmp_path):
    done = run_models(LINE.replace("-n student -z 3", "-zd 2,3,2 -dis student"))
    assert done.returncode == 0, done.stderr
    assert "R^2 x R^3 x R^2" in done.stdout
    test = json.loads((only_run(tmp_path / "results") / "summary.json").read_text())["test"]
    assert len(test["kl_factors"]) == 3
    assert sum(test["kl_factors"]) == pytest.approx(test["kl"])


def test_run_with_additions_resumes_to_the_same_end(run_models, tmp_path, monkeypatch):
    assert run_models(LINE).returncode == 0
    run = only_run(tmp_path / "results")
    whole = shutil.move(run, tmp_path / "whole" / run.name)
    calls = iter(range(10**6))

    def check(self):
        if next(calls) == 17:
            raise Interrupted(15)

    with monkeypatch.context() as patched:
        patched.setattr("utils.run.interrupts.StopRequest.check", check)
        assert run_models(LINE).returncode == 143
    assert run_models(LINE).returncode == 0
    assert outcome(only_run(tmp_path / "results")) == outcome(whole)

"""Estimators of log p(x): published arithmetic and sampling, and what "one reconstruction" tends to."""

import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from benchmarks import estimators
from hyperspherical_vae.distributions import HypersphericalUniform, VonMisesFisher

RUN = Path(__file__).parents[1] / "data" / "golden_run" / "digits" / "productspace__s1__ab11324b"


def vmf(dim, kappa, batch=1):
    torch.manual_seed(3)
    loc = F.normalize(torch.randn(batch, dim + 1, dtype=torch.float64), dim=-1)
    return VonMisesFisher(loc, torch.full((batch,), kappa, dtype=torch.float64))


@pytest.mark.parametrize(("dim", "kappa"), [(2, 2000.0), (10, 578.0), (20, 325.0), (40, 190.0)])
def test_published_arithmetic_is_right_to_a_hundredth_where_the_published_models_are(dim, kappa):
    q = vmf(dim, kappa)
    z = q.sample((20,))
    torch.testing.assert_close(estimators.published_density(q, z).double(), q.log_prob(z), rtol=0, atol=0.01)


def test_copied_sampler_is_nearly_exact_where_the_published_models_are_and_off_below():
    torch.manual_seed(0)
    for kappa, low, high in ((190.0, -0.003, 0.003), (15.0, -0.6, -0.3)):
        q = vmf(40, kappa)
        z = estimators.copied_sample(q, 20_000)
        torch.testing.assert_close(z.norm(dim=-1), torch.ones(20_000, 1, dtype=z.dtype))
        length = (z * q.loc).sum(-1).mean() / q.mean.norm() - 1
        assert low < length < high


def test_one_reconstruction_rises_to_the_reconstruction_term_itself():
    q, prior = vmf(2, 1.0, batch=4), HypersphericalUniform(2, dtype=torch.float64)
    torch.manual_seed(0)
    # E_q p(z) / q(z) is 1. The ratio has a standard deviation of 0.63: 0.02 is 7 standard errors of 50,000 draws.
    gap = estimators.log_mean(lambda n: estimators.log_ratio(q, prior, n), 50_000)
    assert gap.abs().max() < 0.02


def test_gap_of_one_reconstruction_is_that_of_the_published_table():
    table = estimators.without_model(300)
    for row in table.rows[1:]:
        published, ours = float(row[2]), float(row[4].split()[0])
        assert ours == pytest.approx(published, abs=0.35)  # 3.5 standard errors of 300 repetitions, or more


def test_estimates_of_a_run_are_told_apart(capsys):
    assert estimators.main([str(RUN), "--images", "20", "--most", "500"]) == 0
    out = capsys.readouterr().out
    gaps = {name.strip(): float(value) for name, value in re.findall(r"^(\D.*?)  +([\d.]+) ± [\d.]+$", out, re.M)}
    assert gaps["log p(x), K = 500"] > 0
    assert 0 < gaps["one reconstruction, K = 500"] < gaps["reconstruction term"] + 0.1
    assert "20 images" in out


def test_mistake_is_one_line(tmp_path, capsys):
    assert estimators.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"benchmarks.estimators: {tmp_path}: holds no run (config.json is missing)\n"

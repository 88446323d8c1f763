"""The Bessel core against reference values computed in 126-digit arithmetic."""

import csv
import math
from pathlib import Path

import pytest
import torch

from hyperspherical_vae.ops import bessel

DATA = Path(__file__).resolve().parents[2] / "data"


def reference(name: str) -> dict[int, dict[str, torch.Tensor]]:
    with (DATA / name).open() as file:
        rows = list(csv.DictReader(file))
    columns = [c for c in rows[0] if c != "method"]
    dims = sorted({int(row["m"]) for row in rows})
    return {
        m: {c: torch.tensor([float(r[c]) for r in rows if int(r["m"]) == m], dtype=torch.float64) for c in columns}
        for m in dims
    }


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [("vmf_truth.csv", torch.float64, 1e-13), ("vmf_truth_float32.csv", torch.float32, 1e-7)],
)
def test_terms_reach_the_truth(name, dtype, tolerance):
    for m, truth in reference(name).items():
        kappa = truth["kappa"].to(dtype).requires_grad_()
        kl = bessel.vmf_kl_uniform(m, kappa)
        (slope,) = torch.autograd.grad(kl.sum(), kappa)
        terms = bessel.vmf_terms(m, kappa)
        log_area = bessel.log_sphere_area(m)
        growth = (-truth["logC"] - log_area).abs().clamp_min(abs(log_area))
        relative = {
            "A": bessel.mean_resultant_length(m, kappa),
            "one_minus_A": terms.one_minus_mean_resultant,
            "KL": kl,
            "dKL": slope,
        }
        for column, got in relative.items():
            torch.testing.assert_close(got.double(), truth[column], rtol=tolerance, atol=0.0)
        assert ((bessel.vmf_log_norm(m, kappa) - truth["logC"]).abs() <= tolerance * growth).all()
        assert ((bessel.vmf_entropy(m, kappa) - truth["entropy"]).abs() <= tolerance * growth).all()
        assert math.isfinite(log_area)

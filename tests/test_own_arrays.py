"""Models of the user's own arrays: densities in the units of the data, and whole runs."""

import json
import shutil

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import MultivariateNormal

from hyperspherical_vae.latents import NormalLatent
from hyperspherical_vae.likelihoods import Normal
from models import VAE, build_model
from run_models import main
from utils.config.command_line import parse
from utils.data.splits import SPLITS
from utils.load_data import load_data


def test_the_density_of_a_linear_gaussian_model_is_the_closed_form_in_the_units_of_the_data(tmp_path):
    """x = W z + b + s e with normal z and e: p(x) is normal, and the true posterior makes every weight log p(x)."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 2, generator=generator).double().numpy() * np.array([0.1, 1, 10, 100, 1000])[:, None]
    raw = np.random.default_rng(0).normal(size=(60, 2)) @ mixing.T + np.arange(5) * 50
    raw += np.random.default_rng(1).normal(size=raw.shape)
    np.savez(tmp_path / "x.npz", x_train=raw[:40], x_val=raw[40:50], x_test=raw[50:])
    data = load_data(parse(["-d", "array", "--data_dir", str(tmp_path / "x.npz")]))
    model = VAE(
        torch.nn.Identity(), NormalLatent(5, 2), torch.nn.Linear(2, 5), Normal(1, data.log_volume), data.shape
    ).double()
    weight, bias, scale = model.decoder.weight, model.decoder.bias, model.likelihood.scale
    x = data.test.images.double()
    precision = torch.eye(2) + weight.T @ weight / scale**2
    loc = (x.flatten(1) - bias) @ weight / scale**2 @ precision.inverse()
    with torch.no_grad():
        found = model.log_weights(x, MultivariateNormal(loc, precision_matrix=precision), 3)[0]

    assert data.moments is not None
    mean, std = (moment.flatten().numpy() for moment in data.moments)
    w, b, s = std[:, None] * weight.detach().numpy(), mean + std * bias.detach().numpy(), std * scale.item()
    expected = stats.multivariate_normal(b, w @ w.T + np.diag(s**2)).logpdf(raw[50:])
    np.testing.assert_allclose(found, np.broadcast_to(expected, (3, 10)), rtol=1e-6)


def test_a_model_is_built_with_the_units_of_the_data(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(0, 5, (30, 4)))
    config = parse(["-d", "array", "--data_dir", str(tmp_path / "x.npz"), "-z", "2"])
    data = load_data(config)
    model = build_model(config, data)
    assert isinstance(model.likelihood, Normal)
    assert model.likelihood.log_volume == pytest.approx(4 * np.log(5), abs=1)
    assert model.encode(data.test.images).shape == (3, 3)


def test_the_density_of_grey_levels_is_in_grey_levels_wherever_they_come_from(tmp_path):
    """The same images as a known set, which is not standardized, and as an array, which is."""
    known = load_data(parse(["-d", "digits", "-lf", "normal"]))
    np.savez(tmp_path / "x.npz", **{f"x_{name}": known.split(name).images.numpy()[:, 0] for name in SPLITS})
    array = load_data(parse(["-d", "array", "--data_dir", str(tmp_path / "x.npz"), "-lf", "normal"]))
    assert known.notes == ("-lf normal: densities are in the units of the data, levels from 0 to 16",)
    assert "densities are in the units of the data" in array.notes[0]
    levels = known.test.images.double().flatten(1)
    expected = stats.norm(7, 3).logpdf(levels).sum(1)
    for data in (known, array):
        seen = data.test.images.flatten(1) / data.levels
        likelihood = Normal(data.levels, data.log_volume).double()
        mean, std = data.moments or (torch.zeros(()), torch.tensor(1.0))
        scale = 3 / (std.flatten()[0] * data.levels)
        likelihood.log_scale.data = (scale - Normal.LEAST).log().double()
        params = ((7 - mean.flatten()[:1]) / std.flatten()[:1] / data.levels).double()
        np.testing.assert_allclose(likelihood.log_prob(params, seen.double()).detach(), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["-n normal -z 2", "-n vmf -z 2 -lf poisson", "-zd s2,e1 --classifier", "-n gumbel"])
def test_vectors_train_and_leave_a_table_and_the_figures_that_make_sense(run_models, tmp_path, capfd, flags):
    counts = np.random.default_rng(0).poisson(4.0 * (1 + np.arange(60) % 3)[:, None], (60, 6))
    np.savez(tmp_path / "x.npz", x=counts, y=np.arange(60) % 3)
    done = run_models(f"-d array --data_dir {tmp_path / 'x.npz'} {flags} -e 2 -klw 0 -lls 5 -hd 8", every_figure=True)
    assert done.returncode == 0, done.stderr
    assert "are not drawn: vectors make no pictures" in done.stdout
    (summary,) = (tmp_path / "results").rglob("summary.json")
    assert np.isfinite(json.loads(summary.read_text())["test"]["log_px"])
    assert {"learning_curves.png", "log_px.png"} <= {path.name for path in (summary.parent / "figures").iterdir()}
    assert main(["--from", str(summary.parent), "--generate", "2"]) == 2
    assert "--generate 2: vectors make no pictures" in capfd.readouterr().err
    again = shutil.copytree(summary.parent, tmp_path / "again" / summary.parent.name)
    assert main(["--from", str(summary.parent), str(again)]) == 2
    assert "holds vectors, which make no pictures to compare" in capfd.readouterr().err


UNSUITED = {
    "encoder": ("-et cnn", "-et cnn: is for images, but x holds vectors; leave it out"),
    "decoder": ("-dt cnn", "-dt cnn: is for images, but x holds vectors; leave it out"),
    "once": ("-bnz", "-bnz: is for binary pixels (-lf bce), but the likelihood is logistic; leave it out"),
    "once-poisson": ("-bnz -lf poisson", "-bnz: is for binary pixels (-lf bce), but the likelihood is poisson"),
    "once-normal": ("-bnz -lf normal", "-bnz: is for binary pixels (-lf bce), but the likelihood is normal"),
    "once-mse": ("-bnz -lf mse", "-bnz: is for binary pixels (-lf bce), but the likelihood is mse"),
    "unverified": ("--allow_unverified", "--allow_unverified: -d array has no files with a checksum; leave it out"),
    "pictures": ("--figures samples", "--figures samples: vectors make no pictures (x); leave it out"),
    "labels": ("--figures class_areas -n vmf -z 2", "--figures class_areas: the images have no labels (x); leave it"),
    "classifier": ("--classifier", "--classifier: the data set x has no labels"),
    "probe": ("--probe", "--probe: the data set x has no labels"),
    "size": ("--image_size 8,8", "--image_size 8,8: is for -d folder"),
    "grey": ("--grey", "--grey: is for -d folder"),
}


@pytest.mark.parametrize(("flags", "text"), UNSUITED.values(), ids=UNSUITED)
def test_what_does_not_suit_vectors_is_refused_in_one_line_and_nothing_is_made(run_models, tmp_path, flags, text):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 99, (40, 6)))
    done = run_models(f"-d array --data_dir {tmp_path / 'x.npy'} {flags}", every_figure=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert text in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]


def test_binarizing_once_what_is_binary_is_refused(run_models, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 2, (40, 6)))
    done = run_models(f"-d array --data_dir {tmp_path / 'x.npy'} -bnz")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "-bnz: has no effect with x, which is binary already" in done.stderr

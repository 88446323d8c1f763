"""Whole runs of the discrete latents, the classifier and the probe, on bundled digits."""

import json
import shutil

import pytest
import torch

from models import load_model
from tests.faults.comparing import state_of
from utils.figures.registry import Drawn
from utils.run.folder import RunDir
from utils.run.interrupts import Interrupted
from utils.run.stamped import digest

SMALL = "-d digits -e 3 -klw 2 -lls 5 -hd 16,8"


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    # They take most of the time of a run as small as these, and have tests of their own.
    monkeypatch.setattr("utils.figures.registry.draw", lambda *_, **__: Drawn([], []))


@pytest.fixture
def folder(tmp_path):
    """The folder of the only run there is."""
    return lambda: next(path for path in (tmp_path / "results" / "digits").iterdir())


def summary_of(run):
    return RunDir.at(run).read("summary.json")


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_gumbel_reports_a_density_of_the_discrete_model(run_models, folder):
    done = run_models(f"{SMALL} -n gumbel --variables 4 --categories 3")
    assert done.returncode == 0, done.stderr
    assert "4 variables of 3 categories" in done.stdout
    test = summary_of(folder())["test"]
    assert test["log_px"] > test["elbo"] - 0.5
    assert test["codes"]["bits"] == pytest.approx(4 * 1.585, abs=1e-3)
    assert 0 < test["codes"]["usage"] <= 1
    assert 1 <= test["codes"]["perplexity"] <= 3
    assert not test["kl_is_constant"]


@pytest.mark.parametrize("prior", ["independent", "autoregressive"])
def test_vq_reports_no_density_but_a_bound_with_a_prior(run_models, folder, prior):
    epochs = "--vq_prior_epochs 2" if prior == "autoregressive" else ""
    done = run_models(f"{SMALL} -n vq --codes 6 --code_dim 3 -et cnn -dt cnn --vq_prior {prior} {epochs}")
    assert done.returncode == 0, done.stderr
    test = summary_of(folder())["test"]
    assert test["log_px"] is None
    assert "<= log p(x)" in done.stdout
    assert "effective sample size" not in done.stdout
    assert "KL (constant)" in done.stdout
    assert test["kl_is_constant"]
    found = test["code_prior"]
    assert found["kind"] == prior
    # log p(x, c) = log p(x | c) + log p(c), and uniform codes are what the ELBO has instead.
    assert found["log_joint"] == pytest.approx(test["log_px_z"] - found["bits"] * 0.6931472, abs=1e-3)
    assert found["bits"] < test["codes"]["bits"]
    assert metrics(folder())[0]["train"]["commitment"] > 0
    assert metrics(folder())[0]["val"]["codes"]["perplexity"] >= 1
    model, _ = load_model(folder())
    assert model.sample(3).shape == model.sample(3, label=7).shape == (3, 1, 8, 8)


def test_constant_kl_is_reported_as_such(run_models, folder):
    done = run_models(f"{SMALL} -n vmf -z 2 --kappa 20")
    assert "KL (constant)" in done.stdout
    assert len({line["val"]["kl"] for line in metrics(folder())}) == 1
    assert summary_of(folder())["test"]["kl_is_constant"]


@pytest.mark.parametrize("space", ["-n normal -z 2", "-n vmf -z 2 --radius 2", "-zd s2,e2", "-n gumbel", "-n vq"])
def test_classifier_trains_with_every_latent(run_models, folder, space):
    done = run_models(f"{SMALL} {space} --classifier --labels 100")
    assert done.returncode == 0, done.stderr
    assert "accuracy %" in done.stdout
    for line in metrics(folder()):
        assert line["train"]["cross_entropy"] > 0
        assert 0 <= line["val"]["accuracy"] <= 1
        assert 0 <= line["val"]["accuracy_sampled"] <= 1
        # The terms of the ELBO stay what they are without the classifier's loss.
        assert line["train"]["elbo"] == pytest.approx(line["train"]["log_px_z"] - line["train"]["kl"])


def test_classifier_learns_and_its_classes_can_be_sampled(run_models, folder):
    done = run_models("-d digits -e 12 -klw 5 -lls 2 -hd 64,32 -bs 20 -n vmf -z 5 --classifier")
    assert done.returncode == 0, done.stderr
    assert summary_of(folder())["test"]["accuracy"] > 0.7
    model, _ = load_model(folder())
    torch.manual_seed(0)
    drawn = model.sample(40, label=0)
    assert (model.classifier(model.encode(drawn.round())).argmax(-1) == 0).float().mean() > 0.5


def test_probe_is_added_to_a_finished_run_without_doing_it_again(run_models, folder, monkeypatch):
    monkeypatch.setattr("utils.classifying_utils.DRAWS", 2)
    line = f"{SMALL} -n vmf -z 2"
    assert run_models(line).returncode == 0
    before = summary_of(folder())
    weights = digest(state_of(folder(), "last")["model"])
    monkeypatch.setattr("utils.experiment.estimate_log_px", None)
    done = run_models(f"{line} --probe")
    assert done.returncode == 0, done.stderr
    assert "kNN, 100 labels %" in done.stdout
    after = summary_of(folder())
    found = after.pop("probe")
    assert after == before
    assert [entry["labels"] for entry in found["knn"]] == [100, 600, 1000]
    assert digest(state_of(folder(), "last")["model"]) == weights
    times = {path: path.stat().st_mtime_ns for path in folder().rglob("*")}
    assert "kNN, 100 labels %" in run_models(f"{line} --probe").stdout
    assert "kNN, 100 labels %" in run_models(line).stdout
    assert {path: path.stat().st_mtime_ns for path in folder().rglob("*")} == times


@pytest.mark.parametrize(
    "space",
    ["-n gumbel --temperature_epochs 3", "-n vq --codes 30 --vq_prior independent", "-n vmf -z 2 --classifier"],
)
def test_stopped_run_resumes_to_the_same_end(run_models, folder, tmp_path, monkeypatch, space):
    line = f"{SMALL} {space}"
    assert run_models(line).returncode == 0
    whole = shutil.move(folder(), tmp_path / "whole" / folder().name)
    calls = iter(range(10**6))

    def check(self):
        if next(calls) == 17:
            raise Interrupted(15)

    with monkeypatch.context() as patched:
        patched.setattr("utils.run.interrupts.StopRequest.check", check)
        assert run_models(line).returncode == 143
    assert not (folder() / "summary.json").exists()
    assert run_models(line).returncode == 0
    assert metrics(folder()) == metrics(whole)
    assert summary_of(folder())["test"] == summary_of(whole)["test"]
    for name in ("last", "best"):
        states = [state_of(run, name)["model"] for run in (folder(), whole)]
        assert digest(states[0]) == digest(states[1])


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("-d digits --classifier --labels 9", ["--labels 9", "from 10", "1297"]),
        ("-d digits --classifier --labels 2000", ["--labels 2000", "1297"]),
    ],
)
def test_impossible_labels_exit_with_2_and_create_nothing(run_models, tmp_path, line, parts):
    done = run_models(line)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("flag", ["--classifier", "--probe"])
def test_images_without_labels_have_no_classifier_and_no_probe(run_models, tmp_path, flag):
    import numpy as np
    from PIL import Image

    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    done = run_models(f"-d folder --data_dir {tmp_path / 'images'} --image_size 8,8 {flag}")
    assert done.returncode == 2
    assert f"{flag}: the data set images has no labels" in done.stderr
    assert not (tmp_path / "results").exists()


def test_comparison_has_the_columns_of_its_runs(run_models, tmp_path, monkeypatch, capfd):
    from utils.results import main

    monkeypatch.setattr("utils.classifying_utils.DRAWS", 2)
    run_models(f"{SMALL} -n vmf -z 2 --kappa 5 --probe")
    run_models(f"{SMALL} -n vq --codes 6 --vq_prior independent --classifier")
    assert main([str(tmp_path / "results"), "--format", "csv"]) == 0
    text = capfd.readouterr().out
    for key in ("probe.knn.100.mean", "probe.knn.1000.mean", "codes.usage", "code_prior.log_joint", "accuracy"):
        assert f",{key}," in text

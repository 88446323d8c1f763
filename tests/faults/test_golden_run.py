"""A run that version 1.0.0 left. Every later version must read it; never make it anew to please a test."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from models import load_model
from tests.faults.comparing import metrics, only_run
from utils.load_data import load_data
from utils.measure.conditions import Conditions
from utils.measure.elbo import evaluate_elbo
from utils.run.checkpoints import load_checkpoint
from utils.train.batches import Preparation

GOLDEN = Path(__file__).parents[1] / "data" / "golden_run"
LINE = "-d digits -zd s2,e2 -hd 4 -klw 0 -lls 5 -bs 300"


def test_model_means_what_it_meant():
    model, config = load_model(only_run(GOLDEN))
    assert config.space == "S^2 x R^2"
    data = load_data(config)
    images = Preparation(data.levels, True, config.rs, torch.device("cpu")).fixed(data.test, "test")
    found = evaluate_elbo(model, images, Conditions(config.rs)).summary()
    test = json.loads((only_run(GOLDEN) / "summary.json").read_text())["test"]
    # Closed forms of the weights and the images, so no version of a sampler may change them.
    for key in ("kl", "kl_factors"):
        assert found[key] == pytest.approx(test[key], rel=1e-4)
    for key, value in test["kappa"].items():
        assert found["kappa"][key] == pytest.approx(value, rel=1e-4)
    # One sample per image: five standard errors of 300 images.
    assert found["log_px_z"] == pytest.approx(test["log_px_z"], abs=1.0)


def test_finished_run_is_printed_and_left_as_it_is(run_models, tmp_path):
    results = shutil.copytree(GOLDEN, tmp_path / "results")
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    done = run_models(f"{LINE} -e 2")
    assert done.returncode == 0
    assert "this run is complete already" in done.stdout
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before


def test_run_can_be_given_more_epochs(run_models, tmp_path):
    results = shutil.copytree(GOLDEN, tmp_path / "results")
    old = metrics(only_run(results))
    assert run_models(f"{LINE} -e 3").returncode == 0
    run = only_run(results)
    assert metrics(run)[:2] == old
    assert [line["epoch"] for line in metrics(run)] == [1, 2, 3]
    assert load_checkpoint(run / "checkpoints" / "last.pt")["progress"]["epoch"] == 3


def test_it_stays_small():
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 60_000

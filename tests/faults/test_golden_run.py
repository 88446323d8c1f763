"""A run that version 1.0.0 left. Every later version must read it; never make it anew to please a test."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from models import load_model
from tests.faults.comparing import metrics, only_run
from utils import results
from utils.load_data import load_data
from utils.measure.conditions import Conditions
from utils.measure.elbo import evaluate_elbo
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


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_finished_run_is_printed_and_marked_and_left_as_it_is(run_models, tmp_path):
    results = shutil.copytree(GOLDEN, tmp_path / "results")
    before = files_of(results)
    done = run_models(f"{LINE} -e 2")
    assert done.returncode == 0
    assert "this run is complete already, made by version 1.0; --overwrite trains a new one" in done.stdout
    test = json.loads((only_run(GOLDEN) / "summary.json").read_text())["test"]
    assert f"{test['log_px']:.2f}" in done.stdout
    assert files_of(results) == before


def test_it_is_neither_resumed_nor_given_more_epochs(run_models, tmp_path):
    results = shutil.copytree(GOLDEN, tmp_path / "results")
    old, before = only_run(results), files_of(results)
    done = run_models(f"{LINE} -e 3")
    assert done.returncode == 0, done.stderr
    assert f"{old}: was made by version 1.0 and is not resumed; this is a new run" in done.stdout
    new = next(path for path in (results / "digits").iterdir() if path != old)
    assert new.name.startswith("productspace-s2.e2__s1__")
    assert [line["epoch"] for line in metrics(new)] == [1, 2, 3]
    assert {path: content for path, content in files_of(results).items() if new not in path.parents} == before


def test_overwrite_trains_a_new_run_beside_it(run_models, tmp_path):
    results = shutil.copytree(GOLDEN, tmp_path / "results")
    assert run_models(f"{LINE} -e 2 --overwrite").returncode == 0
    assert len(list((results / "digits").iterdir())) == 2
    assert "version 1.0" not in run_models(f"{LINE} -e 2").stdout


def test_it_is_averaged_with_no_new_run(run_models, tmp_path, capfd):
    shutil.copytree(GOLDEN, tmp_path / "results")
    done = run_models(f"{LINE} -e 2 --seeds 2")
    assert done.returncode == 0, done.stderr
    assert "is complete, but not all of these runs are; this is a new run" in done.stdout
    assert results.main([str(tmp_path / "results")]) == 0
    lines = capfd.readouterr().out.splitlines()
    new, old = lines[lines.index(max(lines, key=lambda line: line.count("-"))) + 1 :][:2]
    assert old.startswith("made by version 1.0")
    assert not new.strip().startswith("made")
    assert any("1 of 3 runs made by version 1.0" in line for line in lines)


def test_it_is_evaluated_by_its_own_rules(tmp_path):
    import run_models as program

    run = only_run(shutil.copytree(GOLDEN, tmp_path / "results"))
    before = json.loads((run / "summary.json").read_text())["test"]
    assert program.main(["--from", str(run), "-lls", "7"]) == 0
    found = json.loads((run / "summary_k7.json").read_text())["test"]
    # In closed form, on images with the noise of the seed; new runs have other images, and means over samples.
    assert found["kl"] == pytest.approx(before["kl"], rel=1e-4)
    assert found["elbo"] == pytest.approx(before["elbo"], abs=1.0)
    assert "elbo_mc_se" not in found


def test_it_is_drawn(tmp_path):
    import run_models as program

    run = only_run(shutil.copytree(GOLDEN, tmp_path / "results"))
    assert program.main(["--from", str(run), "--figures", "samples", "latent"]) == 0
    assert {path.name for path in (run / "figures").iterdir()} == {"samples.png", "latent.png"}


def test_file_of_a_new_run_is_foreign_to_it(run_models, tmp_path, capfd):
    import run_models as program

    run = only_run(shutil.copytree(GOLDEN, tmp_path / "results"))
    assert run_models(f"{LINE} -e 2 --overwrite").returncode == 0
    new = next(path for path in (tmp_path / "results" / "digits").iterdir() if path != run)
    shutil.copy(new / "checkpoints" / "best.pt", run / "checkpoints" / "best.pt")
    capfd.readouterr()
    assert program.main(["--from", str(run), "--figures", "samples"]) == 1
    assert "best.pt: is of another run" in capfd.readouterr().err


def test_it_stays_small():
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 60_000

"""Numbers that stop being finite: no step from them, restarts, and in the end a report and what was good."""

import json
import math

import pytest
import torch

from tests.faults.comparing import only_run
from utils.run.folder import RunDir
from utils.train.batches import TrainingImages

LINE = "-d digits -n vmf -z 2 -klw 0 -lls 5 -hd 8 -bs 300 -mr 2"


def assert_diverged(done, run):
    """Exit code, message, status, evidence, figures and last good checkpoint; returns summary and evidence."""
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("(restart ") == 2
    assert str(run / "diverged.pt") in done.stderr.splitlines()[-1]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "diverged"
    last = RunDir.at(run).load("last")
    assert all(tensor.isfinite().all() for tensor in last["model"].values())
    evidence = RunDir.at(run).load("diverged")
    assert evidence["config"]["h_dims"] == (8,)
    assert evidence["epoch"] == summary["epochs"] + 1
    assert evidence["batch"].shape[1:] == (1, 8, 8)
    assert set(evidence["measured"]["kappa"]) >= {"mean", "std", "q05", "q95"}
    assert set(evidence["model"]) == set(last["model"])
    return summary, evidence


def test_poisoned_batch_ends_as_diverged_with_everything_kept(run_models, tmp_path, monkeypatch):
    monkeypatch.undo()  # figures are part of what has to be there
    given = TrainingImages.epoch
    epochs = []

    def poisoned(self, seed, start=0):
        epochs.append(seed)
        for number, (images,) in enumerate(given(self, seed, start), start):
            # From the third epoch on one pixel of the fourth batch is not a number.
            if len(epochs) > 2 and number == 3:
                images[5, 0, 1, 2] = math.nan
            yield (images,)

    monkeypatch.setattr(TrainingImages, "epoch", poisoned)
    done = run_models(f"{LINE} -e 6")
    run = only_run(tmp_path / "results")
    summary, evidence = assert_diverged(done, run)
    assert (summary["epochs"], summary["best_epoch"], summary["restarts"]) == (2, 2, 3)
    assert math.isfinite(summary["test"]["log_px"])
    assert {path.stem for path in (run / "figures").iterdir()} >= {"learning_curves", "reconstructions", "samples"}
    assert (evidence["where"], evidence["epoch"], evidence["step"], evidence["restarts"]) == ("training", 3, 3, 2)
    assert evidence["batch"].isnan().nonzero().tolist() == [[5, 0, 1, 2]]
    monkeypatch.undo()
    assert run_models(f"{LINE} -e 6").returncode == 3
    assert run_models(f"{LINE} -e 9").returncode == 3


def test_poison_that_goes_away_costs_a_restart_only(run_models, tmp_path, monkeypatch):
    given = TrainingImages.epoch
    epochs = []

    def poisoned(self, seed, start=0):
        epochs.append(seed)
        for (images,) in given(self, seed, start):
            yield (images * math.inf if len(epochs) == 2 else images,)

    monkeypatch.setattr(TrainingImages, "epoch", poisoned)
    done = run_models(f"{LINE} -e 4")
    assert done.returncode == 0, done.stderr
    assert "(restart 1 of 2)" in done.stderr
    summary = json.loads((only_run(tmp_path / "results") / "summary.json").read_text())
    assert (summary["status"], summary["epochs"], summary["restarts"]) == ("complete", 4, 1)


def test_exploding_learning_rate_ends_as_diverged(run_models, tmp_path):
    done = run_models("-d digits -zd s2,e2 -e 6 -klw 0 -lls 5 -hd 8 -bs 300 -mr 2 -lr 1000 -b 1000000 -lf mse")
    assert_diverged(done, only_run(tmp_path / "results"))


@pytest.mark.parametrize("kappa", [1e8, 1e30, math.inf])
def test_kappa_that_explodes_is_survived_or_ends_as_diverged(run_models, tmp_path, kappa):
    assert run_models(f"{LINE} -e 2").returncode == 0
    run = only_run(tmp_path / "results")
    state = RunDir.at(run).load("last")
    # The head's last output is the concentration before its softplus.
    state["model"]["latent.head.bias"][-1] = kappa
    with RunDir.at(run) as held:
        held.save("last", state)
    done = run_models(f"{LINE} -e 4")
    assert done.returncode in (0, 3), done.stderr
    assert "Traceback" not in done.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == ("diverged" if done.returncode == 3 else "complete")
    if done.returncode == 3:
        evidence = RunDir.at(run).load("diverged")
        assert evidence["step"] == 0
        assert torch.isfinite(evidence["batch"]).all()
    else:
        assert summary["test"]["log_px_nonfinite"] == 0

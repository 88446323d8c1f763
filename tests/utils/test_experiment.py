"""What a run is tested on, by what rules, and what is said before it trains."""

import dataclasses
import json
import math

import pytest
import torch

from tests.faults.comparing import metrics, only_run
from utils.config.command_line import parse_run
from utils.experiment import Experiment
from utils.run.interrupts import StopRequest


def prepared(line, **changed):
    config = dataclasses.replace(parse_run(["-d", "digits", "--figures", "none", *line.split()]), **changed)
    return Experiment.prepare(config, StopRequest())


@pytest.mark.parametrize(("format", "same"), [(2, True), (1, False)])
def test_all_seeds_are_tested_on_the_same_images_but_for_runs_of_version_1(format, same):
    first, second = (prepared(f"-rs {seed}", format=format) for seed in (1, 2))
    for split in ("val_images", "test_images"):
        images, others = getattr(first, split), getattr(second, split)
        assert set(images.unique().tolist()) == {0.0, 1.0}
        assert torch.equal(images, others) == same
    # What is trained on has the noise of the seed.
    once = [each.preparation.fixed(each.data.train, "train") for each in (first, second)]
    assert not torch.equal(*once)


def test_noise_of_the_splits_differs_and_changed_data_have_other_noise():
    experiment = prepared("")
    experiment.data.val = experiment.data.test
    assert not torch.equal(experiment.test_images, experiment.val_images)
    experiment.data.train.labels[0] = (experiment.data.train.labels[0] + 1) % 10
    del experiment.data.train.digest, experiment.data.digest
    assert not torch.equal(experiment.test_images, torch.cat(list(experiment.blocks("test"))))


def test_run_that_sees_no_full_weight_says_so_and_has_the_newest_model(run_models, tmp_path):
    done = run_models("-d digits -n normal -z 2 -hd 8 -e 3 -vf 2 -lls 5 -bs 300 --figures none")
    assert done.returncode == 0, done.stderr
    assert "-klw 100: the KL has its full weight from epoch 100 on, but -e 3 and -vf 2 end" in done.stdout
    assert "the newest model is taken for the best" in done.stdout
    summary = json.loads((only_run(tmp_path / "results") / "summary.json").read_text())
    assert (summary["epochs"], summary["best_epoch"], summary["warm_up"]) == (3, 2, 0.02)
    assert summary["test"]["elbo"] < summary["test"]["log_px"] + 4 * summary["test"]["elbo_mc_se"]


def test_best_model_of_a_run_is_the_best_since_the_kl_had_its_full_weight(run_models, tmp_path):
    done = run_models("-d digits -n normal -z 2 -hd 8 -e 9 -klf 2 -klw 3 -lls 5 -bs 300 --figures none")
    assert done.returncode == 0, done.stderr
    assert "note" not in done.stdout
    run = only_run(tmp_path / "results")
    compared = {line["epoch"]: line["val"]["elbo"] for line in metrics(run) if line["epoch"] >= 5}
    best = json.loads((run / "summary.json").read_text())["best_epoch"]
    assert compared[best] > max(compared.values()) - 0.05
    assert best >= 5


def test_grey_levels_have_bits_for_each_pixel(run_models, tmp_path):
    done = run_models("-d digits -n normal -z 2 -hd 8 -e 1 -lls 5 -bs 300 -lf logistic --figures none")
    assert done.returncode == 0, done.stderr
    test = json.loads((only_run(tmp_path / "results") / "summary.json").read_text())["test"]
    assert test["bits_per_dim"] == pytest.approx(-test["log_px"] / 64 / math.log(2))
    assert 1 < test["bits_per_dim"] < math.log2(17) + 1  # 17 grey levels; about as good as guessing after one epoch
    assert "bits/dim" in done.stdout

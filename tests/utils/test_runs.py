"""Runs from Python: what they give, and the exceptions that their documentation names, in one line each."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from utils import runs
from utils.config.config import Config
from utils.config.flags import UsageError
from utils.data.files import DataError, DataUsageError
from utils.load_data import load_data
from utils.run.stamped import Damaged, RunFileError
from utils.runs import load_run, train
from utils.training_utils import Trainer

ROOT = Path(__file__).parents[2]


def small(tmp_path, **settings):
    defaults = {"dataset": "digits", "name": "normal", "z": 2, "epochs": 2, "kl_warmup": 0, "ll_sample": 5}
    look = {"h_dims": (8,), "figures": ("none",), "log_dir": str(tmp_path / "results"), "verbosity": 0}
    return Config(**(defaults | look | settings))


def test_examples_do_what_they_say():
    assert doctest.testmod(runs, optionflags=doctest.ELLIPSIS) == (0, 11)


def test_the_example_of_the_page_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL)
    assert len(code.strip().splitlines()) <= 14
    monkeypatch.chdir(tmp_path)
    exec(compile(re.sub(r"epochs=\d+", "epochs=2, ll_sample=5, figures=('none',)", code), "docs/data.md", "exec"), {})
    assert (tmp_path / "cells.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_gives_what_it_was_trained_on_and_what_it_found(tmp_path, capsys):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(5, 3, (40, 6)), y=np.arange(40) % 2)
    own = {"dataset": "array", "data_dir": str(tmp_path / "x.npz")}
    run = train(small(tmp_path, **own))
    assert load_data(run.config).digest == run.data.digest
    assert run.summary["test"]["n"] == len(run.data.test) == 4
    with torch.no_grad():
        assert run.model.posterior(run.images("val")).mean.shape == (4, 2)
    moved = (tmp_path / "x.npz").rename(tmp_path / "moved.npz")
    assert load_run(run.folder, str(moved)).embeddings("train")["mode"].shape == (32, 2)
    assert capsys.readouterr() == ("", "")


def test_a_finished_run_is_not_trained_again_and_an_interrupted_one_is_resumed(tmp_path, monkeypatch):
    whole = train(small(tmp_path / "whole", epochs=3))
    trained = Trainer.train_epoch

    def interrupted(self):
        if self.progress.epoch == 2:
            raise KeyboardInterrupt
        trained(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(small(tmp_path, epochs=3))
    (folder,) = tmp_path.glob("results/digits/*")
    with pytest.raises(UsageError, match="is not finished; repeat its command to resume it"):
        load_run(folder)
    resumed = train(small(tmp_path, epochs=3))
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_epoch", None)
        again = train(small(tmp_path, epochs=3))
    for run in (resumed, again):
        assert run.summary["test"] == whole.summary["test"]
        np.testing.assert_array_equal(run.embeddings()["mode"], whole.embeddings()["mode"])


BAD = {
    "range": ({"z": -1}, "z: -1 is out of range; allowed: whole numbers from 1 to 10,000"),
    "kind": ({"z": "2"}, "z: '2' is not of the right kind"),
    "contradiction": ({"name": "vmf", "covariance_matrix": "full"}, "-cvm full: is for -n normal"),
    "seeds": ({"seeds": 2}, "seeds is 2, but one run is trained at a time"),
    "figure": ({"figures": ("latnt",)}, "did you mean latent?"),
    "labels": ({"dataset": "array", "classifier": True}, "the data set x has no labels"),
    "data": ({"dataset": "array", "data_dir": "no.npz"}, "no.npz: there is no such file"),
    "missing": ({"dataset": "omniglot", "data_dir": "nowhere"}, "chardata.mat"),
}


@pytest.mark.parametrize(("settings", "text"), BAD.values(), ids=BAD)
def test_mistakes_are_exceptions_that_say_what_is_wrong(tmp_path, capsys, monkeypatch, settings, text):
    monkeypatch.setattr("utils.data.downloads.fetch_missing", lambda missing, folder: None)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(40, 6)))
    with pytest.raises((UsageError, DataError)) as error:
        train(small(tmp_path, **{"data_dir": str(tmp_path / "x.npz"), **settings}))
    assert text in str(error.value)
    assert not (tmp_path / "results").exists()
    assert capsys.readouterr() == ("", "")


def test_a_run_that_lacks_something_says_what(tmp_path):
    run = train(small(tmp_path))
    with pytest.raises(DataUsageError, match="split is 'eval'; allowed: train, val, test"):
        run.embeddings("eval")
    with pytest.raises(UsageError, match=r"holds no run \(config.json is missing\)"):
        load_run(tmp_path)
    for file, kind in (("summary.json", UsageError), ("checkpoints/best.pt", Damaged), ("env.json", Damaged)):
        content = (run.folder / file).read_bytes()
        (run.folder / file).write_bytes(content[:40])
        for backup in run.folder.glob("checkpoints/best.previous.pt"):
            backup.unlink()
        with pytest.raises(kind) as error:
            load_run(run.folder)
        assert "\n" not in str(error.value)
        (run.folder / file).write_bytes(content)
    other = train(small(tmp_path, rs=2))
    (run.folder / "checkpoints/best.pt").write_bytes((other.folder / "checkpoints/best.pt").read_bytes())
    with pytest.raises(RunFileError, match="is of another run"):
        load_run(run.folder)


def test_data_that_changed_are_noticed(tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 6))
    np.save(tmp_path / "x.npy", x)
    run = train(small(tmp_path, dataset="array", data_dir=str(tmp_path / "x.npy")))
    np.save(tmp_path / "x.npy", x + 1)
    with pytest.raises(UsageError, match="the data changed since the run was made"):
        load_run(run.folder).embeddings()

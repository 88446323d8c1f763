"""The extra output for TensorBoard holds what the metrics and figures hold."""

import json

import pytest


def test_scalars_and_figures_are_those_of_the_run(run_models, tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard: pip install -r requirements-extras.txt")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    line = "-d digits -n vmf -z 2 -klw 0 -hd 8 -lls 5 --tensorboard"
    assert run_models(f"{line} -e 2").returncode == 0
    assert run_models(f"{line} -e 3").returncode == 0
    (run,) = (tmp_path / "results" / "digits").iterdir()
    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    lines = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    for part in ("train", "val"):
        events = found.Scalars(f"{part}/elbo")
        assert [event.step for event in events] == [1, 2, 3]
        assert [event.value for event in events] == pytest.approx([entry[part]["elbo"] for entry in lines], rel=1e-6)
    assert "val/kappa/mean" in found.Tags()["scalars"]
    assert set(found.Tags()["images"]) == {path.stem for path in (run / "figures").glob("*.png")}


def test_without_the_flag_there_is_nothing(run_models, tmp_path):
    assert run_models("-d digits -n vmf -z 2 -klw 0 -hd 8 -lls 5 -e 1").returncode == 0
    assert not list((tmp_path / "results").rglob("tensorboard"))


def test_missing_package_says_what_to_install(run_models, tmp_path, monkeypatch):
    monkeypatch.setattr("utils.train.tensorboard.find_spec", lambda name: None)
    done = run_models("-d digits --tensorboard")
    assert done.returncode == 2
    assert "--tensorboard: needs the package tensorboard; install it with pip install" in done.stderr
    assert not (tmp_path / "results").exists()

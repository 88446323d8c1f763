"""Whole runs through the command line, on the digits that scikit-learn bundles."""

import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.faults.comparing import state_of
from utils.run.folder import RunDir
from utils.run.stamped import digest

ROOT = Path(__file__).parents[1]
SMALL = "-d digits -e 3 -klw 2 -lls 20 -hd 16,8"


def only_run(tmp_path, dataset="digits"):
    (found,) = (tmp_path / "results" / dataset).iterdir()
    return found


def metrics(run):
    """The lines of metrics.jsonl without the time, which no seed fixes."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def weights(run, name="last"):
    return digest(state_of(run, name)["model"])


@pytest.mark.parametrize(
    ("line", "space", "dims"),
    [
        ("-n normal -z 2", "R^2", 2),
        ("-n normal -z 3 -cvm full", "R^3", 3),
        ("-n normal -z 3 -cvm single -lf mse", "R^3", 3),
        ("-n vmf -z 2", "S^2 in R^3", 3),
        ("-n vmf -z 2 --kappa 20 --radius 2 -lf logistic", "S^2 in R^3", 3),
        ("-n powerspherical -z 4 -bnz", "S^4 in R^5", 5),
        ("-n productspace -zd 2,2", "S^2 x S^2", 6),
        ("-n productspace -zd 2,2 -dis normal", "R^2 x R^2", 4),
        ("-n productspace -zd s2,e3,s2 -et cnn -dt cnn", "S^2 x R^3 x S^2", 9),
    ],
)
def test_run_leaves_what_it_promises(run_models, tmp_path, line, space, dims):
    done = run_models(f"{SMALL} {line}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert space in done.stdout
    assert "log p(x)" in done.stdout
    assert "(K=20)" in done.stdout
    run = only_run(tmp_path)
    name = line.split()[1]
    assert re.fullmatch(rf"{name}-[a-z0-9.]+__s1__[0-9a-f]{{8}}", run.name)
    assert {path.name for path in run.iterdir() if path.name[0] != "."} == {
        "config.json", "env.json", "metrics.jsonl", "checkpoints", "figures", "log_px_k20.npz", "summary.json",
    }  # fmt: skip
    assert {path.name for path in (run / "checkpoints").iterdir()} >= {"last.pt", "best.pt"}
    for figure in ("learning_curves", "reconstructions", "samples"):
        assert (run / "figures" / f"{figure}.png").read_bytes()[:4] == b"\x89PNG"
    lines = metrics(run)
    assert [entry["epoch"] for entry in lines] == [1, 2, 3]
    # A constant KL needs no warm-up.
    assert [entry["kl_weight"] for entry in lines] == [1.0 if "--kappa" in line else 0.5, 1.0, 1.0]
    for entry in lines:
        assert set(entry["train"]) >= {"elbo", "log_px_z", "kl"}
        assert set(entry["val"]) >= {"elbo", "log_px_z", "kl"}
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "complete"
    assert summary["epochs"] == 3
    test = summary["test"]
    assert set(test) >= {"n", "elbo", "log_px_z", "kl", "log_px", "log_px_se", "k", "ess"}
    assert test["n"] == 300
    assert test["k"] == 20
    assert test["units"] == dims
    assert ("kappa" in test) == ("S^" in space)
    if "x" in space:
        assert len(test["kl_factors"]) == space.count("^")
        assert sum(test["kl_factors"]) == pytest.approx(test["kl"])
    if "--kappa" in line:
        assert test["kappa"]["mean"] == [20.0]
        assert test["kappa"]["std"] == [0.0]


def test_same_seed_same_run_and_repeating_touches_nothing(run_models, tmp_path):
    assert run_models(f"{SMALL} -n vmf -z 2").returncode == 0
    run = only_run(tmp_path)
    kept = shutil.copytree(run, tmp_path / "first" / run.name)
    shutil.rmtree(run)
    first = run_models(f"{SMALL} -n vmf -z 2")
    assert metrics(run) == metrics(kept)
    assert weights(run) == weights(kept)
    assert (
        json.loads((run / "summary.json").read_text())["test"]
        == json.loads((kept / "summary.json").read_text())["test"]
    )
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    again = run_models(f"{SMALL} -n vmf -z 2")
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
    table = first.stdout[first.stdout.index("nats per image") :]
    assert table == again.stdout[again.stdout.index("nats per image") :]


def test_finished_run_is_printed_without_importing_torch(run_models, tmp_path):
    assert run_models(f"{SMALL} -n normal -z 2").returncode == 0
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import run_models\n"
        f"code = run_models.main({['-ld', str(tmp_path / 'results'), *SMALL.split(), '-n', 'normal', '-z', '2']!r})\n"
        "assert code == 0; assert 'torch' not in sys.modules; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_process_that_is_told_to_stop_says_how_to_go_on_and_does(run_models, tmp_path):
    line = "-d digits -n vmf -z 2 -e 500 -la 500 -klw 5 -lls 5 -hd 16"
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "run_models.py"), "-ld", str(tmp_path / "results"), *line.split()],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("results/digits/*/metrics.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "stopped by SIGTERM; to resume: python run_models.py" in errors
    assert "Traceback" not in errors
    run = only_run(tmp_path)
    epochs = state_of(run, "last")["progress"]["epoch"] + 2
    with RunDir.at(run) as held:
        held.write("config.json", {**held.read("config.json"), "epochs": epochs})  # 500 would take too long
    resumed = run_models(line.replace("-e 500", f"-e {epochs}"))
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming after epoch" in resumed.stdout
    assert [entry["epoch"] for entry in metrics(run)] == list(range(1, epochs + 1))


def test_run_that_another_process_finished_meanwhile_is_not_done_again(run_models, tmp_path, monkeypatch):
    import run_models as program
    from utils.experiment import Experiment

    prepare = Experiment.prepare

    def slowly(*arguments):
        monkeypatch.undo()
        assert program.main(["-ld", str(tmp_path / "results"), *f"{SMALL} -n normal -z 2".split()]) == 0
        return prepare(*arguments)

    monkeypatch.setattr(Experiment, "prepare", slowly)
    done = run_models(f"{SMALL} -n normal -z 2")
    assert done.returncode == 0
    assert done.stdout.count("epoch 3/3") == 1
    assert not list(only_run(tmp_path).glob("summary_k*.json"))


def test_finished_run_can_be_given_more_epochs_but_not_fewer(run_models, tmp_path):
    line = "-d digits -n normal -z 2 -klw 2 -lls 5 -hd 8"
    assert run_models(f"{line} -e 4").returncode == 0
    run = only_run(tmp_path)
    long = shutil.copytree(run, tmp_path / "long" / run.name)
    shutil.rmtree(run)
    assert run_models(f"{line} -e 2").returncode == 0
    assert run_models(f"{line} -e 4").returncode == 0
    assert metrics(run) == metrics(long)
    assert weights(run) == weights(long)
    assert json.loads((run / "summary_e2.json").read_text())["epochs"] == 2
    fewer = run_models(f"{line} -e 3")
    assert fewer.returncode == 2
    assert "epochs was 4 and is 3" in fewer.stderr
    before = run_models(f"{line} -e 2")  # a result that is there still
    assert before.returncode == 0
    assert "given more epochs since" in before.stdout
    assert ["epochs", "2"] in [row.split() for row in before.stdout.splitlines()]
    assert run_models(f"{line} -e 2 -lls 6").returncode == 2


def test_batch_of_more_images_than_there_are_is_said(run_models):
    line = "-d digits -n normal -z 2 -e 1 -klw 0 -lls 5 -hd 8"
    assert "note 1      -bs 5000 is more than the 1,297 training images" in run_models(f"{line} -bs 5000").stdout
    assert "note" not in run_models(f"{line} -bs 1297").stdout


def test_new_k_is_evaluated_beside_the_old_one(run_models, tmp_path):
    line = "-d digits -n normal -z 2 -e 2 -klw 0 -hd 8"
    assert run_models(f"{line} -lls 5").returncode == 0
    run = only_run(tmp_path)
    old = (run / "summary.json").read_bytes()
    again = run_models(f"{line} -lls 50")
    assert again.returncode == 0
    assert "(K=50)" in again.stdout
    assert "(trained already)" in again.stdout
    assert (run / "summary.json").read_bytes() == old
    assert json.loads((run / "summary_k50.json").read_text())["test"]["k"] == 50
    assert "(K=50)" in run_models(f"{line} -lls 50").stdout
    assert "(K=5)" in run_models(f"{line} -lls 5").stdout


@pytest.mark.parametrize(("names", "drawn"), [("none", set()), ("samples", {"samples.png"})])
def test_only_the_figures_that_are_asked_for_are_drawn(run_models, tmp_path, names, drawn):
    assert run_models(f"{SMALL} -n normal -z 2 --figures {names}").returncode == 0
    assert {path.name for path in (only_run(tmp_path) / "figures").iterdir()} == drawn


@pytest.mark.parametrize(
    ("names", "parts"),
    [("latnt", ["'latnt' is none of", "did you mean latent?"]), ("kappa", ["--figures kappa", "no sphere", "it has"])],
)
def test_figures_are_checked_before_training(run_models, tmp_path, names, parts):
    done = run_models(f"{SMALL} -n normal -z 2 --figures {names}", every_figure=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr
    assert not (tmp_path / "results").exists()


def test_diverged_run_exits_with_3_and_everything_written(run_models, tmp_path):
    line = "-d digits -n normal -z 2 -e 5 -klw 0 -hd 8 -lls 5 -lr 1000 -lf mse -mr 2 -b 1000000"
    done = run_models(line)
    run = only_run(tmp_path)
    if done.returncode == 0:
        pytest.skip("this machine's arithmetic survived the exploding learning rate")
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert done.stderr.count("(restart ") == 2
    assert "the run diverged" in done.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["status"] == "diverged"
    assert summary["restarts"] == 3
    assert run_models(line).returncode == 3


def test_missing_gpu_is_one_line_and_creates_nothing(run_models, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run_models(f"{SMALL} --device cuda")
    assert done.returncode == 2
    assert "--device cuda" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_unwritable_results_are_one_line(run_models, tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    done = run_models(SMALL)
    assert done.returncode == 1
    assert str(tmp_path / "results") in done.stderr
    assert done.stderr.count("\n") == 1


def test_validation_estimates_log_px_if_asked(run_models, tmp_path):
    done = run_models(f"{SMALL} -n normal -z 2 -vll")
    assert "val -" in done.stdout
    for line in metrics(only_run(tmp_path)):
        assert line["val"]["k"] == 10
        assert line["val"]["log_px"] > line["val"]["elbo"]


def test_verbosity_zero_prints_the_table_only_and_of_this_call(run_models, tmp_path):
    done = run_models(f"{SMALL} -n vmf -z 2 -v 0")
    assert done.stdout.startswith("nats per image")
    assert json.loads((only_run(tmp_path) / "config.json").read_text())["verbosity"] == 1
    again = run_models(f"--config {only_run(tmp_path) / 'config.json'}")
    assert done.stdout in again.stdout
    assert again.stdout.startswith("model       vmf on S^2")
    assert "this run is complete already" in again.stdout


def test_the_first_line_waits_neither_for_torch_nor_for_the_data(monkeypatch, capfd):
    import run_models as program

    monkeypatch.setattr(program, "join", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        program.main(["-d", "folder", "--data_dir", "nowhere"])
    assert capfd.readouterr().out == "model       vmf on S^10 in R^11, mlp encoder, mlp decoder\n"


def test_model_is_the_one_that_is_named(run_models, tmp_path):
    # A normal model must not come out as a vMF one, whatever the default distribution is.
    run_models(f"{SMALL} -n normal -z 4")
    state = state_of(only_run(tmp_path), "last")["model"]
    assert state["latent.head.weight"].shape == (8, 8)
    assert "kappa" not in json.loads((only_run(tmp_path) / "summary.json").read_text())["test"]


def test_results_command_compares_runs(run_models, tmp_path):
    for name in ("normal", "vmf"):
        assert run_models(f"{SMALL} -n {name} -z 2").returncode == 0
    folders = sorted((tmp_path / "results" / "digits").iterdir())
    words = [sys.executable, "-m", "utils.results", *map(str, folders)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert "R^2" in done.stdout
    assert "S^2 in R^3" in done.stdout
    words[-1] = str(tmp_path / "nothing")
    failed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1


def test_saved_run_is_a_model(run_models, tmp_path):
    from models import load_model

    assert run_models(f"{SMALL} -zd s2,e1").returncode == 0
    model, config = load_model(only_run(tmp_path))
    assert config.space == "S^2 x R^1"
    images = model.decode(model.latent.prior().sample((5,)))
    assert images.shape == (5, 1, 8, 8)
    assert images.min() >= 0
    assert images.max() <= 1


@pytest.mark.slow
def test_vmf_on_mnist_learns(run_models, tmp_path, real_data):
    done = run_models(f"-n vmf -z 5 -d mnist --data_dir {real_data} -e 2 -klw 0 -lls 10")
    assert done.returncode == 0, done.stderr
    test = json.loads((only_run(tmp_path, "mnist") / "summary.json").read_text())["test"]
    assert test["n"] == 10_000
    assert -160 < test["elbo"] < test["log_px"] < -90
    assert math.isfinite(test["log_px_se"])

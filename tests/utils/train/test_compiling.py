"""The compiled training step: the numbers of the plain one, one compilation for a run, and plain words without g++."""

import json
import math
import os
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch

from models import Images, build_model
from tests.faults import processes
from tests.faults.comparing import only_run, outcome
from utils.config.command_line import parse_run
from utils.train.batches import Preparation, TrainingImages

COMPILER = os.environ.get("CXX", "g++")
pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"the C++ compiler {COMPILER} is not installed, which compiling needs"
)
SMALL = "-d digits -hd 16 -klw 0 -lls 5"
DIGITS = Images((1, 8, 8), levels=16, likelihood="bce", classes=10)


def graphs():
    """How many graphs were compiled in this process."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def batches(model):
    """What the model is trained on, of the size that `take_step` takes."""
    split = SimpleNamespace(images=torch.ones(100, 1, 8, 8, dtype=torch.uint8))
    labels = torch.ones(100, dtype=torch.int64) if model.classifier else None
    return TrainingImages(split, Preparation(1, True, 1, torch.device("cpu")), 100, labels=labels)


def take_step(model, step, seed):
    """The loss of a step and the gradients of the model's parameters."""
    torch.manual_seed(seed)
    images = (torch.rand(100, 1, 8, 8) > 0.5).float()
    labels = (torch.randint(-1, 10, (100,)),) if model.classifier is not None else ()
    terms = step(images, *labels)
    loss = (terms.kl - terms.log_px_z + sum(terms.extra.values())).mean()
    model.zero_grad()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def check_steps(line):
    """A model does the same plain and compiled: its losses, its gradients, and what a step leaves in its buffers."""
    from utils.train.compiling import compiled_step

    torch.manual_seed(3)
    model = build_model(parse_run(f"{SMALL} {line}".split()), DIGITS)
    start = {name: value.clone() for name, value in model.state_dict().items()}
    compiled = compiled_step(model, batches(model))
    torch.testing.assert_close(dict(model.state_dict()), start, rtol=0, atol=0)
    found = []
    for step in (model, compiled):
        model.load_state_dict(start)
        model.train(True)
        steps = []
        for epoch in (1, 2, 3):
            model.latent.set_epoch(epoch)
            steps.append(take_step(model, step, epoch))
        found.append((steps, {name: value.clone() for name, value in model.state_dict().items()}))
    assert len(found[0][0][0][1]) == len(list(model.parameters()))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)


def test_normal_model_does_the_same():
    before = graphs()
    check_steps("-n normal -z 2")
    assert graphs() <= before + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "-n gumbel --variables 4 --categories 3 --classifier",  # with a temperature that falls from epoch to epoch
        "-n vq --positions 4 --codes 8",  # with a codebook that every step changes
    ],
)
def test_model_with_a_state_does_the_same_and_is_compiled_once(line):
    before = graphs()
    check_steps(line)
    assert graphs() == before + 1


def test_run_of_a_normal_model_is_the_plain_one_up_to_rounding(run_models, tmp_path):
    line = f"{SMALL} -n normal -z 2 -e 2"
    tests = []
    for more in ("", " --compile"):
        done = run_models(line + more)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert ("the training step is compiled first" in done.stdout) == bool(more)
        (run,) = (path for path in tmp_path.glob("results/digits/*") if path.name not in {run.name for run, _ in tests})
        tests.append((run, json.loads((run / "summary.json").read_text())["test"]))
    plain, compiled = (test for _, test in tests)
    assert compiled["elbo"] == pytest.approx(plain["elbo"], abs=1e-3)
    assert compiled["log_px"] == pytest.approx(plain["log_px"], abs=1e-3)


def test_runs_of_a_vmf_model_train_and_share_what_was_compiled(run_models, tmp_path):
    line = f"{SMALL} -n vmf -z 3 -e 4 -bs 2000 -lr 0.01 --compile"
    before = graphs()
    done = run_models(f"{line} --seeds 3")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert graphs() <= before + 2  # one is that of the trial
    for seed in (1, 2, 3):
        (run,) = tmp_path.glob(f"results/digits/vmf-z3__s{seed}__*")
        summary = json.loads((run / "summary.json").read_text())
        assert summary["status"] == "complete"
        assert math.isfinite(summary["test"]["log_px"])
        elbos = [json.loads(text)["val"]["elbo"] for text in (run / "metrics.jsonl").read_text().splitlines()]
        assert elbos[-1] > elbos[0]


def sigterm_at_step(number):
    """Have the process send itself SIGTERM in a step of training."""
    from utils import training_utils

    given, left = training_utils.objective, number

    def objective(*arguments):
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return given(*arguments)

    training_utils.objective = objective


@pytest.mark.slow
def test_run_that_was_stopped_ends_the_same_in_another_process(tmp_path):
    words = f"{SMALL} -n vmf -z 2 -e 3 -bs 500 --compile".split()
    found = []
    for name, *prepare in (("whole",), ("stopped", (sigterm_at_step, 5))):
        folder = tmp_path / name
        folder.mkdir()
        words_here = ["-ld", str(folder / "results"), *words]
        first = processes.run(words_here, folder, *prepare)
        assert first.returncode == (143 if prepare else 0), first.stderr
        if prepare:
            assert processes.run(words_here, folder).returncode == 0
        found.append(outcome(only_run(folder / "results")))
    assert found[0] == found[1]


def test_missing_compiler_is_one_line_and_creates_nothing(run_models, tmp_path, monkeypatch):
    from torch._inductor import config

    from utils.train.compiling import check_compiler

    check_compiler.cache_clear()
    torch.compiler.reset()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))  # what is there needs no compiler
    with config.patch({"cpp.cxx": (None, "/nonexistent/g++")}):
        done = run_models(f"{SMALL} -n normal -z 2 -e 1 --compile")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "--compile: PyTorch's compiler does not work here (No working C++ compiler" in done.stderr
    assert "install a C++ compiler such as g++" in done.stderr
    assert not (tmp_path / "results").exists()

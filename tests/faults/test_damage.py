"""Damaged files, changed settings and old runs: noticed, said in one line, and no result lost."""

import json
import pickle
import shutil

import pytest

from tests.faults import processes
from tests.faults.comparing import metrics, only_run, outcome, state_of
from tests.faults.conftest import words
from utils.run.stamped import previous

LINE = "-d digits -n vmf -z 2 -klw 2 -lls 5 -hd 8 -bs 300"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """The folder of results with a run of 3 epochs, and the outcome of one of 5 that nothing disturbed."""
    outcomes = {}
    for epochs in (5, 3):
        folder = tmp_path_factory.mktemp("made")
        done = processes.run(words(folder, f"{LINE} -e {epochs}"), folder)
        assert done.returncode == 0, done.stderr
        outcomes[epochs] = outcome(only_run(folder / "results"))
    return folder / "results", outcomes[5]


@pytest.fixture
def short_and_long(made_once, tmp_path):
    """A copy of the run of 3 epochs, and the outcome that 5 should have."""
    results, long = made_once
    shutil.copytree(results, tmp_path / "results")
    return only_run(tmp_path / "results"), long


def without_old_summary(found):
    return {**found, "files": [name for name in found["files"] if name != "summary_e3.json"]}


def assert_one_line(done, returncode, *parts):
    assert done.returncode == returncode, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def look_at(run):
    import run_models as program

    return program.main(["--from", str(run)])


def flip(path):
    """Flip one bit of a stored weight."""
    stored = state_of(path.parents[1], path.stem)["model"]["latent.head.weight"].numpy().tobytes()
    content = bytearray(path.read_bytes())
    content[content.index(stored) + 5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [flip, lambda path: path.write_bytes(path.read_bytes()[:5000]), lambda p: p.unlink()]
)
def test_damaged_checkpoint_is_named_and_the_one_before_serves(run_models, short_and_long, damage):
    run, long = short_and_long
    damage(run / "checkpoints" / "last.pt")
    done = run_models(f"{LINE} -e 5")
    assert_one_line(done, 0, "last.pt: ", "using last.previous.pt instead")
    assert without_old_summary(outcome(run)) == long


def test_damaged_best_model_is_named_and_the_summary_says_which_was_used(run_models, short_and_long):
    run, _ = short_and_long
    kept = json.loads((run / "summary.json").read_text())
    flip(run / "checkpoints" / "best.pt")
    done = run_models(f"{LINE} -e 3 -lls 6")
    assert_one_line(done, 0, "best.pt: is damaged", "using best.previous.pt instead")
    found = json.loads((run / "summary_k6.json").read_text())
    assert (kept["best_epoch"], found["best_epoch"]) == (3, 2)
    assert json.loads((run / "summary.json").read_text()) == kept


def test_nothing_readable_is_one_line_and_overwrite_the_way_out(run_models, short_and_long, tmp_path):
    run, _ = short_and_long
    for path in (run / "checkpoints" / "last.pt", previous(run / "checkpoints" / "last.pt")):
        flip(path)
    before = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()}
    assert_one_line(run_models(f"{LINE} -e 5"), 1, "last.previous.pt", "--overwrite")
    assert {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()} == before
    assert run_models(f"{LINE} -e 5 --overwrite").returncode == 0


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_malicious_checkpoint_is_refused_and_not_executed(run_models, short_and_long, tmp_path):
    run, _ = short_and_long
    for path in (run / "checkpoints").iterdir():
        path.write_bytes(pickle.dumps({"layout": 1, "sha256": "", "state": Canary(tmp_path / "executed")}))
    assert_one_line(run_models(f"{LINE} -e 5"), 1, "last.previous.pt")
    assert not (tmp_path / "executed").exists()


def test_torn_lines_of_metrics_are_skipped(run_models, short_and_long):
    run, long = short_and_long
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b'{"epoch": 4, "kl_w\n\x00\x00\xff\xfe\n[]\n{"epoch": "x"}\n{"epoch": 2}\n{"epoch": 5, "tra')
    assert run_models(f"{LINE} -e 5").returncode == 0
    assert metrics(run) == long["metrics"]


def test_torn_summary_is_made_again(run_models, short_and_long):
    run, _ = short_and_long
    kept = json.loads((run / "summary.json").read_text())
    for content in (b'{"status": "comp', b"\xff\xfe", b'{"test": null}'):
        (run / "summary.json").write_bytes(content)
        assert run_models(f"{LINE} -e 3").returncode == 0
        assert json.loads((run / "summary.json").read_text()) == kept


def test_torn_configuration_is_written_again_by_the_command_and_refused_elsewhere(run_models, short_and_long, capfd):
    run, _ = short_and_long
    kept = outcome(run)
    edited = json.dumps({**json.loads((run / "config.json").read_text()), "lr": 0.01}).encode()
    for content in (b"", b'{"name": "vm', b"\xff\xfe", b"[]", b'{"nmae": "vmf"}', b"[" * 100_000, edited):
        (run / "config.json").write_bytes(content)
        capfd.readouterr()
        assert look_at(run) == 2
        assert "config.json: " in capfd.readouterr().err
        assert run_models(f"{LINE} -e 3").returncode == 0
        (run / "summary_earlier.json").unlink()
        assert outcome(run) == kept


def test_torn_configuration_hides_no_longer_run(run_models, short_and_long):
    run, _ = short_and_long
    (run / "config.json").write_bytes(b"")
    before = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()}
    assert_one_line(run_models(f"{LINE} -e 2"), 2, "was trained for 3 epochs already, and -e is 2", "--overwrite")
    assert {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()} == before


def test_fewer_epochs_are_refused(run_models, short_and_long):
    run, _ = short_and_long
    before = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()}
    assert_one_line(run_models(f"{LINE} -e 2"), 2, "epochs was 3 and is 2", "--overwrite")
    assert {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()} == before


def test_epochs_k_verbosity_and_printing_may_change(run_models, short_and_long, tmp_path):
    run, long = short_and_long
    done = run_models(f"{LINE} -e 5 -lls 7 -v 0 -pf 2")
    assert done.returncode == 0
    assert only_run(tmp_path / "results") == run
    assert metrics(run) == long["metrics"]
    # The result of the shorter run is a finished one, and stays.
    assert json.loads((run / "summary_e3.json").read_text())["epochs"] == 3


def test_overwrite_moves_the_old_run_aside(run_models, short_and_long):
    run, _ = short_and_long
    old = {path.relative_to(run): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for number in (1, 2):
        done = run_models(f"{LINE} -e 2 --overwrite")
        assert done.returncode == 0
        assert f"is now {run}.old{number}" in done.stdout
    moved = run.with_name(f"{run.name}.old1")
    assert {path.relative_to(moved): path.read_bytes() for path in moved.rglob("*") if path.is_file()} == old
    assert 'overwrite": true' not in (run / "config.json").read_text()
    assert "complete already" in run_models(f"{LINE} -e 2").stdout

"""The folder of a run: its lock, its files, and what is read from damaged ones."""

import socket
from dataclasses import asdict

import pytest
import torch

from utils.config.command_line import parse
from utils.config.flags import UsageError
from utils.run.checkpoints import Progress
from utils.run.folder import RunDir
from utils.run.identity import Identity


@pytest.fixture
def run(tmp_path):
    return RunDir(Identity(parse(["-ld", str(tmp_path), "-d", "digits"])))


def state(epoch, step=0, restarts=0):
    return {"progress": asdict(Progress(epoch, step, restarts)), "weights": torch.zeros(2)}


@pytest.mark.parametrize(
    ("last", "stopped", "found"),
    [
        (state(3), state(3, 2), state(3, 2)),
        (state(3), state(7, 1), state(7, 1)),
        (state(4), state(3, 2), state(4)),
        (state(3, 0, 1), state(7, 2, 0), state(3, 0, 1)),
    ],
)
def test_resuming_starts_from_the_state_that_came_furthest(run, last, stopped, found):
    with run:
        run.save("last", last)
        run.save("stopped", stopped)
        assert run.load_furthest()["progress"] == found["progress"]
        assert run.load("last")["progress"] == last["progress"]


def test_other_library_of_products_and_other_number_of_threads_are_noted(run, monkeypatch):
    with run:
        assert run.notes_on_machine() == []
        run.write_start("cpu", {})
        assert run.notes_on_machine() == []
        monkeypatch.setattr("hyperspherical_vae.dense.product_library", lambda: "another")
        monkeypatch.setattr("torch.get_num_threads", lambda: 77)
        library, threads = run.notes_on_machine()
        assert "takes them from another on this machine" in library
        assert "and uses 77 (OMP_NUM_THREADS) on this machine: its numbers may be rounded differently" in threads


def test_a_link_to_a_run_that_is_gone_is_no_run_on_other_data(run):
    run.path.parent.mkdir()
    (run.path.parent / "vmf-z10__s1__01234567").symlink_to("moved")
    assert run.note_on_data() is None


def test_state_within_an_epoch_is_gone_after_it(run):
    with run:
        run.save("last", state(3))
        run.save("stopped", state(3, 2))
        run.save("last", state(4))
        assert not run.checkpoint("stopped").exists()


def test_damaged_state_within_an_epoch_costs_that_epoch_only(run, capsys):
    with run:
        run.save("last", state(3))
        run.save("stopped", state(3, 2))
        run.checkpoint("stopped").write_bytes(b"torn")
        assert run.load_furthest()["progress"]["step"] == 0
    error = capsys.readouterr().err
    assert "stopped.pt: is damaged" in error
    assert "using last.pt instead" in error


def test_one_before_is_not_lost_to_the_damaged_one(run, capsys):
    with run:
        run.save("last", state(3))
        run.save("last", state(4))
        run.checkpoint("last").write_bytes(b"torn")
        assert run.load("last")["progress"]["epoch"] == 3
        # From here on the sound one stands under the name itself, and would be the one to be kept.
        assert run.load("last")["progress"]["epoch"] == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_leftovers_of_a_killed_process_are_cleared_away(run):
    for place in (run.path, run.checkpoint("last").parent, run.figures):
        place.mkdir(parents=True, exist_ok=True)
        (place / ".x.pt.123.tmp").write_text("half")
    with run:
        assert not list(run.path.rglob("*.tmp"))


def test_holder_is_named_while_it_lives(run, tmp_path):
    with run:
        with pytest.raises(UsageError, match=rf"process \d+ on {socket.gethostname()}"), RunDir(run.identity):
            pass
        run.lock._note.write_text(f"process {2**22 + 1} on {socket.gethostname()}\n")  # no process has such a number
        with pytest.raises(UsageError, match="another process"), RunDir(run.identity):
            pass
        run.lock._note.write_text("process 7 on elsewhere\n")
        with pytest.raises(UsageError, match="process 7 on elsewhere"), RunDir(run.identity):
            pass
    assert not run.lock._note.exists()
    with RunDir(run.identity):
        pass

"""Sweeps on Ray, for real: on this machine, and on a cluster of two nodes that lie on it."""

import signal
import sys

import pytest

from tests.utils.sweep.conftest import driver, epochs, is_gone, kill, starts, wait_until

pytest.importorskip("ray", reason="Ray: pip install -r requirements-extras.txt")

from utils.sweep.ray_engine import _unusable

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by /proc")]


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two nodes with one core each, where an epoch takes half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("NAP", "0.5")  # runs have the environment of their node, not that of the sweep
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=1)
        nodes.wait_for_nodes()
        yield nodes.address
        nodes.shutdown()


def test_worker_and_driver_are_killed_and_only_what_is_missing_runs_again(cluster, tmp_path):
    line = f"--engine ray --address {cluster} -- -n vmf -rs 1 2 3 4 5 6 -e 10"
    process = driver(tmp_path, line)
    wait_until(lambda: any(2 <= count < 8 for count in epochs(tmp_path)))
    # Ray's own worker, the parent of a run: its run ends with it, and Ray starts both again.
    name = next(name for name, count in zip(starts(tmp_path), epochs(tmp_path)) if 2 <= count < 8)
    (victim,) = starts(tmp_path)[name]
    kill(victim[4])
    wait_until(lambda: is_gone(victim[3]))
    wait_until(lambda: len(starts(tmp_path)[name]) == 2)
    assert int(starts(tmp_path)[name][1][0]) >= 2
    wait_until(lambda: len(starts(tmp_path)) >= 4 and all(count >= 2 for count in epochs(tmp_path)))
    before = starts(tmp_path)
    finished = {path.parent.name for path in (tmp_path / "results").rglob("summary.json")}
    process.send_signal(signal.SIGKILL)
    process.communicate()
    pids = [lines[-1][3] for lines in starts(tmp_path).values()]
    wait_until(lambda: all(is_gone(pid) for pid in pids))
    assert len(finished) >= 2

    again = driver(tmp_path, line)
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert "2 at a time on Ray (2 nodes), 1 core each" in err
    assert all(lines == before[name] for name, lines in starts(tmp_path).items() if name in finished)
    went_on = [lines[-1] for name, lines in starts(tmp_path).items() if name in before and name not in finished]
    assert went_on
    assert all(int(line[0]) > 0 for line in went_on)
    assert err.count("[6/6]") == 1


def test_failure_is_the_same_as_on_this_machine(cluster, tmp_path):
    from tests.utils.sweep.fake_program import FAILS

    process = driver(tmp_path, f"--engine ray --address {cluster} -- -rs {FAILS} 1 -e 1")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "exit code 1: fake_program.py: the data are missing" in err
    assert "1 of 2 runs failed" in err
    assert len(starts(tmp_path)) == 1


def test_more_cards_than_there_are_is_refused(cluster, tmp_path):
    process = driver(tmp_path, f"--engine ray --address {cluster} --gpus 0.5 -- -rs 1")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "--gpus 0.5" in err
    assert err.count("\n") == 1


def test_address_where_nothing_is_is_named(tmp_path):
    process = driver(tmp_path, "--engine ray --address 127.0.0.1:1 -- -rs 1")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "--address 127.0.0.1:1" in err
    assert "Traceback" not in err


def test_ray_starts_here_where_no_address_is_given(tmp_path):
    process = driver(tmp_path, "--engine ray --cores 1 -- -rs 1 2 -e 2", nap="0")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "on Ray (1 node)" in err
    assert {lines[0][1] for lines in starts(tmp_path).values()} == {"1"}


@pytest.mark.parametrize(
    "reason",
    [
        "AuthenticationError: Unauthenticated: InvalidAuthToken: Authentication token is missing or incorrect",
        "Token authentication is enabled but no authentication token was found",
    ],
)
def test_cluster_that_asks_for_a_token_says_what_to_set(reason):
    told = str(_unusable("10.0.0.1:6379", reason))
    assert told.startswith("--address 10.0.0.1:6379: the cluster asks for a token; set RAY_AUTH_MODE=token")

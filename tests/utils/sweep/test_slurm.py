"""Sweeps on Slurm: the real submission of submitit, over stand-ins for sbatch and srun that execute at once."""

import os
import stat
import sys

import pytest

from tests.utils.sweep.conftest import driver, starts
from utils.config.flags import UsageError
from utils.sweep.engines import Request, build_engine

pytest.importorskip("submitit", reason="Slurm: pip install -r requirements-extras.txt")

from submitit import SlurmJob

from utils.sweep import slurm_queue
from utils.sweep.slurm import _word_of
from utils.sweep.slurm_queue import GONE, Queue, State, recorded_states
from utils.sweep.slurm_settings import parse_settings

# Executes each task of the array in turn, as Slurm would: the script is run with the task's number.
SBATCH = r"""
import os, re, subprocess, sys
text = open(sys.argv[-1]).read()
if "--test-only" in text:
    sys.exit("allocation failure: Requested node configuration is not available" if "--cpus-per-task=64" in text else 0)
print("Submitted batch job 7", flush=True)
array = re.search(r"--array=0-(\d+)(%\d+)?", text)
open(os.environ["SUBMITTED"], "w").write(text)
tasks = range(int(array[1]) + 1) if array else [None]
if os.fork():
    os._exit(0)
for stream in (1, 2):
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
for task in tasks:
    named = {"SLURM_JOB_ID": "7" if task is None else str(70 + task), "SLURM_NTASKS": "1", "SLURM_NODEID": "0",
             "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "here"}
    if task is not None:
        named |= {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(task)}
    subprocess.run(["bash", sys.argv[-1]], env={**os.environ, **named})
"""
SRUN = "import os, sys\nos.execv(sys.executable, sys.argv[sys.argv.index(sys.executable):])\n"
SQUEUE = "for task in range(9): print(f'7_{task}|RUNNING|None')\n"


@pytest.fixture
def slurm(tmp_path):
    """The environment of a machine with Slurm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("squeue", SQUEUE), ("scancel", "")):
        path = folder / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{os.environ['PATH']}", "SUBMITTED": str(tmp_path / "submitted.sh")}


def test_sweep_is_one_array(slurm, tmp_path):
    settings = "timeout_min=90,slurm_partition=short slurm_exclude=n1,n2"
    line = f"--engine slurm --workers 2 --cores 3 --slurm {settings} -- -rs 1 2 3 -e 2"
    process = driver(tmp_path, line, nap="0", **slurm)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    assert "3 runs: 0 complete, 3 to do" in err
    assert "[3/3]" in err
    submitted = (tmp_path / "submitted.sh").read_text()
    wanted_lines = ("--array=0-2%2", "--cpus-per-task=3", "--time=90", "--partition=short", "--exclude=n1,n2")
    for wanted in wanted_lines:
        assert wanted in submitted
    assert {lines[0][1] for lines in starts(tmp_path).values()} == {"3"}
    assert len(starts(tmp_path)) == 3


def test_setting_that_submitit_does_not_know_is_named(slurm, monkeypatch, tmp_path):
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"--slurm bogus: is not known"):
        build_engine("slurm", Request(jobs=1, slurm=("bogus=1",), log_dir=tmp_path))
    with pytest.raises(UsageError, match="whole cards"):
        build_engine("slurm", Request(jobs=1, gpus=0.5, log_dir=tmp_path))


def test_job_that_no_node_can_take_is_refused_before_anything_is_submitted(slurm, monkeypatch, tmp_path):
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"refuses jobs with .*cpus_per_task=64: Requested node configuration[^\n]*$"):
        build_engine("slurm", Request(jobs=1, cores=64, log_dir=tmp_path / "results"))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("word", "line", "told"),
    [
        ("FAILED", "slurmstepd-n1: error: Detected 3 oom-kill event(s) in StepId=2.0. Some of", "OUT_OF_MEMORY"),
        ("FAILED", "slurmstepd: error: Detected 1 oom_kill event in StepId=2.0.", "OUT_OF_MEMORY"),
        ("FAILED", "srun: error: n1: task 0: Out Of Memory", "OUT_OF_MEMORY"),
        ("FAILED", "slurmstepd-n1: error: Exceeded job memory limit", "OUT_OF_MEMORY"),
        ("OUT_OF_MEMORY", "", "OUT_OF_MEMORY"),
        ("FAILED", "srun: error: n1: task 0: Killed", "FAILED"),
        ("TIMEOUT", "srun: error: Timed out waiting for job step to complete", "TIMEOUT"),
    ],
)
def test_word_for_a_lost_job_is_that_of_its_step_where_memory_was_short(tmp_path, word, line, told):
    job = SlurmJob(tmp_path, "7")
    job.paths.stderr.write_text(f"submitit INFO - Starting\n{line}\n")
    assert _word_of(job, word) == told


def test_machine_without_slurm_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="no sbatch"):
        build_engine("slurm", Request(jobs=1, log_dir=tmp_path))


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["timeout_min=600,slurm_partition=gpu"], {"timeout_min": 600, "slurm_partition": "gpu"}),
        (["slurm_exclude=n1,n2,mem_gb=1.5"], {"slurm_exclude": "n1,n2", "mem_gb": 1.5}),
        (["slurm_exclusive=true"], {"slurm_exclusive": True}),
        (["slurm_setup=module load x,y", "slurm_setup=export A=1"], {"slurm_setup": ["module load x,y", "export A=1"]}),
        (["slurm_exclusive=false", "nodes=1"], {"slurm_exclusive": None}),
        (["slurm_additional_parameters=reservation=course,timeout_min=5"],
         {"slurm_additional_parameters": {"reservation": "course"}, "timeout_min": 5}),
        (["slurm_additional_parameters=no-requeue"], {"slurm_additional_parameters": {"no-requeue": True}}),
    ],
)
def test_settings_are_read_as_sbatch_takes_them(words, settings):
    assert parse_settings(words) == settings


@pytest.mark.parametrize(
    "word",
    [
        *("timeout_min=abc", "timeout_min=0", "timeout_min=1.5", "timeout_min", "nodes=2", "tasks_per_node=2"),
        *("mem_gb=much", "mem_gb=0", "=3", "slurm_max_num_timeout=-1", "slurm_setup=", "slurm_exclusive=perhaps"),
        *("slurm_nodes=2", "slurm_ntasks_per_node=2", "slurm_time=1-00:00:00", "slurm_mem=16G", "slurm_patition=gpu"),
        *("slurm_additional_parameters=ntasks=2", "slurm_additional_parameters=--qos=low", "timeout_min=1"),
        *("slurm_additional_parameters=cpus-per-task=2", "slurm_signal_delay_s=86400"),
    ],
)
def test_wrong_setting_is_one_line(word):
    with pytest.raises(UsageError, match=r"^--slurm[^\n]*$"):
        parse_settings([word])


def test_cores_follow_the_setting_of_slurm(slurm, monkeypatch, tmp_path):
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    assert build_engine("slurm", Request(jobs=1, slurm=("cpus_per_task=3",), log_dir=tmp_path)).cores == 3
    with pytest.raises(UsageError, match="--cores 2: contradicts --slurm cpus_per_task=3"):
        build_engine("slurm", Request(jobs=1, cores=2, slurm=("cpus_per_task=3",), log_dir=tmp_path))


@pytest.mark.parametrize(
    ("request_", "flag"),
    [
        (Request(jobs=1, workers=2, slurm=("slurm_array_parallelism=3",)), "--workers 2"),
        (Request(jobs=1, gpus=1.0, slurm=("gpus_per_node=2",)), "--gpus 1"),
    ],
)
def test_flag_and_setting_that_disagree_are_refused(slurm, monkeypatch, request_, flag):
    monkeypatch.setenv("PATH", slurm["PATH"])
    with pytest.raises(UsageError, match=f"^{flag}: contradicts --slurm"):
        build_engine("slurm", request_)


class Controller:
    """In place of Slurm's commands: what they print, and how often they are asked."""

    def __init__(self, monkeypatch):
        self.now, self.asked, self.answer = 0.0, 0, ("", "")
        monkeypatch.setattr(slurm_queue, "ask_slurm", self.ask)
        monkeypatch.setattr(slurm_queue.time, "monotonic", lambda: self.now)

    def ask(self, *command):
        self.asked += 1
        return self.answer

    def watch(self, queue, jobs, seconds):
        """Let time pass, with a look each second; returns how often Slurm was asked."""
        before = self.asked
        for _ in range(seconds):
            self.now += 1
            queue.update(jobs)
        return self.asked - before


def test_controller_is_asked_once_for_all_jobs_and_seldom_while_nothing_changes(monkeypatch):
    controller, queue = Controller(monkeypatch), Queue()
    jobs = [f"7_{task}" for task in range(1200)]
    queue.add(jobs)
    assert queue["7_3"] == State("PENDING")
    controller.answer = ("\n".join(f"{job}|PENDING|Priority" for job in jobs), "")
    assert controller.watch(queue, jobs, 3600) <= 3600 / 15 + 15
    assert queue["7_1199"] == State("PENDING", "Priority")
    controller.answer = ("7_3|RUNNING|None\n8_1|RUNNING|None", "")  # the rest is forgotten, 8 is somebody else's
    controller.watch(queue, jobs, 15)
    assert (queue["7_3"], queue["7_4"], queue["8_1"]) == (State("RUNNING"), GONE, GONE)


def test_last_answer_counts_while_the_controller_gives_none(monkeypatch):
    controller, queue = Controller(monkeypatch), Queue()
    queue.add(["7_0"])
    controller.answer = ("", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    controller.watch(queue, ["7_0"], 60)
    assert queue["7_0"] == State("PENDING")
    controller.answer = ("", "slurm_load_jobs error: Invalid job id specified")
    controller.watch(queue, ["7_0"], 20)
    assert queue["7_0"] == GONE


def test_forgotten_jobs_are_looked_up_in_one_question(monkeypatch):
    controller = Controller(monkeypatch)
    controller.answer = ("JobID|State\n7_0|CANCELLED by 0\n7_[2-3%4]|TIMEOUT\n", "")
    assert recorded_states(["7_0", "7_1", "7_2", "7_3"]) == {"7_0": "CANCELLED", "7_2": "TIMEOUT", "7_3": "TIMEOUT"}
    assert controller.asked == 1
    controller.answer = ("", "Slurm accounting storage is disabled")
    assert recorded_states(["7_0"]) == {}

"""Sweeps on Slurm: the real submission of submitit, over stand-ins for sbatch and srun that execute at once."""

import os
import stat
import sys

import pytest

from tests.utils.sweep.conftest import driver, starts
from utils.config.flags import UsageError
from utils.sweep.engines import Request, build_engine

pytest.importorskip("submitit", reason="Slurm: pip install -r requirements-extras.txt")

from utils.sweep.slurm import parse_settings

# Executes each task of the array in turn, as Slurm would: the script is run with the task's number.
SBATCH = r"""
import os, re, subprocess, sys
text = open(sys.argv[-1]).read()
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
SACCT = "print('JobID|State|NodeList')\nfor task in range(9): print(f'7_{task}|COMPLETED|here')\n"


@pytest.fixture
def slurm(tmp_path):
    """The environment of a machine with Slurm."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("sacct", SACCT), ("scancel", "")):
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
    assert "3 runs: 0 complete, 3 to do" in out
    assert "[3/3]" in out
    submitted = (tmp_path / "submitted.sh").read_text()
    wanted_lines = ("--array=0-2%2", "--cpus-per-task=3", "--time=90", "--partition=short", "--exclude=n1,n2")
    for wanted in wanted_lines:
        assert wanted in submitted
    assert {lines[0][1] for lines in starts(tmp_path).values()} == {"3"}
    assert len(starts(tmp_path)) == 3


def test_setting_that_submitit_does_not_know_is_named(slurm, monkeypatch, tmp_path):
    for name, value in slurm.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"--slurm: .*bogus"):
        build_engine("slurm", Request(jobs=1, slurm=("bogus=1",), log_dir=tmp_path))
    with pytest.raises(UsageError, match="whole cards"):
        build_engine("slurm", Request(jobs=1, gpus=0.5, log_dir=tmp_path))


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
        (["nodes=1"], {"nodes": 1}),
    ],
)
def test_settings_are_read_as_sbatch_takes_them(words, settings):
    assert parse_settings(words) == settings


@pytest.mark.parametrize(
    "word",
    [
        *("timeout_min=abc", "timeout_min=0", "timeout_min=1.5", "timeout_min", "nodes=2", "tasks_per_node=2"),
        *("mem_gb=much", "mem_gb=0", "=3", "slurm_max_num_timeout=-1", "slurm_setup="),
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

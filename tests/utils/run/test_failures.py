"""What is said when something outside the program fails: one line, and only then."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from tests.utils.fake_runs import finished
from utils.config.flags import UsageError
from utils.load_data import DataError
from utils.run.failures import explain, guarded
from utils.run.interrupts import Interrupted
from utils.run.stamped import Damaged

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("error", "parts"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/last.pt"), ["/x/last.pt: No space", "bytes are free"]),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/x/last.pt"), ["Disk quota exceeded", "-ld"]),
        (OSError(errno.EROFS, "Read-only file system", "/x"), ["/x: Read-only", "-ld"]),
        (OSError(errno.EACCES, "Permission denied", "/x"), ["/x: Permission denied", "-ld"]),
        (
            OSError(errno.ENOENT, "No such file or directory", "/proc/x"),
            ["/proc/x: No such", "another folder with -ld"],
        ),
        (
            OSError(errno.ENOTDIR, "Not a directory", f"{__file__}/digits/vmf/config.json"),
            [f"{__file__}: is a file, where a folder is needed", "another folder with -ld"],
        ),
        (OSError(errno.ENAMETOOLONG, "File name too long", "xx"), ["xx: File name too long", "-ld"]),
        (OSError(errno.EIO, "Input/output error"), ["input or output: Input/output error"]),
        (OSError(errno.ENOLCK, "No locks available", "/nfs/.lock"), ["/nfs/.lock: No locks", "mounted", "-ld"]),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), ["memory is full", "bytes are free"]),
        (OSError(errno.EMFILE, "Too many open files", "/x"), ["/x: Too many", "ulimit -n"]),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), ["ulimit -u"]),
        (RuntimeError("can't start new thread"), ["ulimit -u"]),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), ["memory is full", "-bs"]),
        (MemoryError(), ["memory is full", "bytes are free", "-bs"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), ["memory is full", "-bs"]),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total\nof 8 GiB"),
            ["GPU's memory", "Tried to allocate 20.00 GiB", "--device cpu"],
        ),
        (ModuleNotFoundError("No module named 'sklearn'", name="sklearn"), ["'sklearn'", "pip install"]),
        (Damaged("last.pt: is damaged"), ["last.pt: is damaged", "--overwrite"]),
        (DataError("mnist: 4 files missing"), ["mnist: 4 files missing"]),
    ],
)
def test_failure_is_explained_in_one_line(error, parts):
    text = explain(error)
    assert "\n" not in text
    for part in parts:
        assert part in text


def test_failure_of_the_compiler_is_told_by_its_cause():
    cause = RuntimeError("C++ compile error\nCommand:\ng++ x.cpp\nx.cpp:1:10: fatal error: Python.h: No such file")
    text = explain(BackendCompilerFailed(torch.compile, cause, None))
    assert "(x.cpp:1:10: fatal error: Python.h: No such file)" in text
    assert "leave --compile out" in text
    full = OSError(errno.ENOSPC, "No space left on device", "/cache/torchinductor_me/x.cpp")
    text = explain(BackendCompilerFailed(torch.compile, full, None))
    assert "/cache/torchinductor_me/x.cpp: No space" in text
    assert "another folder with TORCHINDUCTOR_CACHE_DIR" in text


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), KeyError("x"), TypeError(), ImportError("x")])
def test_fault_of_the_program_is_not_explained_away(error):
    assert explain(error) is None


@pytest.mark.parametrize("place", ["x" * 300, "/a/" * 3000, b"\xff\x1b", "", 3, None, "a\x1b[31m\nb"])
def test_explanation_itself_never_fails(place, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for number in errno.errorcode:
        text = explain(OSError(number, "reason", place))
        assert text.isprintable()
    assert explain(OSError("a message alone\nof two lines")).isprintable()
    assert "-ld" not in explain(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("-z: is wrong"), 2, "prog: -z: is wrong\n"),
        (OSError(errno.EACCES, "Permission denied", "/x"), 1, "prog: /x: Permission denied"),
        (BrokenPipeError(), 1, ""),
        (Interrupted(signal.SIGHUP), 129, "prog: stopped by SIGHUP\n"),
        (UsageError("a\x1b[31mb"), 2, r"prog: a\x1b[31mb"),
        (SystemExit(0), 0, ""),
    ],
)
def test_guarded_command_ends_in_one_line(capsys, error, code, line):
    def command(stop):
        raise error

    assert guarded("prog", command) == code
    found = capsys.readouterr().err
    assert found.startswith(line)
    assert found.count("\n") == bool(line)


def test_guarded_command_returns_its_exit_code_and_lets_faults_through():
    assert guarded("prog", lambda stop: 3) == 3
    with pytest.raises(ZeroDivisionError):
        guarded("prog", lambda stop: 1 // 0)


@pytest.mark.parametrize("error", [Interrupted(signal.SIGTERM), BrokenPipeError()])
def test_what_can_be_resumed_says_how(capsys, error):
    def command(stop):
        raise error

    guarded("prog", command, lambda: "to resume: prog again")
    err = capsys.readouterr().err
    assert err.endswith("; to resume: prog again\n")
    assert err.count("\n") == 1


def test_programs_that_resume_nothing_are_not_told_of_folders_of_runs():
    for number in (errno.ENOSPC, errno.EACCES, errno.ENOENT, errno.ENOLCK):
        text = explain(OSError(number, os.strerror(number), "/x/report.html"), resumes=False)
        assert text.startswith("/x/report.html: ")
        assert "-ld" not in text
        assert "resume" not in text


def test_limit_of_memory_is_named(monkeypatch):
    monkeypatch.setattr("resource.getrlimit", lambda kind: (10**9, 10**9))
    assert "a limit allows 1,000,000,000 bytes; ulimit -v raises it" in explain(MemoryError())


@pytest.mark.parametrize(
    "words", ["run_models.py --help", "run_models.py --version", "-m utils.sweep --help", "-m utils.report --help"]
)
def test_help_on_a_full_output_is_one_line(words):
    command = f"{sys.executable} {words} > /dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{words.split()[-2]}: standard input or output: No space left on device; make")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "> /dev/full", "> /dev/full 2> /dev/full"])
def test_output_that_is_closed_or_full_is_no_traceback(tmp_path, redirect):
    finished(tmp_path, "-n vmf -z 2 -d digits")
    command = f"{sys.executable} -m utils.results {tmp_path} {redirect}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == (1 if "full" in redirect else 0)
    assert "Traceback" not in done.stderr
    if redirect == "> /dev/full":
        assert done.stderr.startswith("utils.results: standard input or output: No space left on device")

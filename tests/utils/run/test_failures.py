"""What is said when something outside the program fails: one line, and only then."""

import errno

import pytest
import torch
from torch._dynamo.exc import BackendCompilerFailed

from utils.load_data import DataError
from utils.run.checkpoints import CheckpointError
from utils.run.failures import explain


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
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), ["closed"]),
        (MemoryError(), ["memory is full", "bytes are free", "-bs"]),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), ["memory is full", "-bs"]),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total\nof 8 GiB"),
            ["GPU's memory", "Tried to allocate 20.00 GiB", "--device cpu"],
        ),
        (ModuleNotFoundError("No module named 'sklearn'", name="sklearn"), ["'sklearn'", "pip install"]),
        (CheckpointError("last.pt: is damaged"), ["last.pt: is damaged", "--overwrite"]),
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

"""What went wrong outside the program, in one line that says where, what is free and what to change."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from utils.config.flags import UsageError, printable
from utils.data.files import DataError
from utils.run.lock import FolderLost
from utils.run.processes import ProcessLost
from utils.run.stamped import Foreign, RunFileError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
_ALLOCATION = ("can't allocate memory", "not enough memory", "bad_alloc", "Cannot allocate memory")


def guarded(program: str, command: Callable[[], int]) -> int:
    """Run a command to its last flush; a mistake of the user or a failure of the machine becomes one line.

    Args:
        program: its name, with which the line begins.
        command: does the work and returns the exit code.

    Returns:
        The exit code: that of the command, 2 for a mistake, 1 for a failure, 130 after Ctrl-C. A fault of the program
        itself still raises.
    """
    prepare_streams()
    try:
        code = command()
        sys.stdout.flush()
        return code
    except UsageError as error:
        code, line = 2, str(error)
    except KeyboardInterrupt:
        code, line = 130, "stopped by SIGINT"
    except BrokenPipeError:
        code, line = 1, ""  # whoever read the output wanted no more of it
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        code, line = 1, explained
    if line:
        with contextlib.suppress(OSError):
            print(f"{program}: {line}", file=sys.stderr)
    flush_output()
    return code


def prepare_streams() -> None:
    """Make standard output and error usable where the shell closed them or their encoding lacks a character."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush_output() -> None:
    """Flush standard output and error; where one is closed or full, Python, which does so again at the end, must not
    fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def explain(error: Exception) -> str | None:
    """The line for the user, or None for an error that only a fault of the program explains."""
    if isinstance(error, RunFileError):
        joint = ", or" if isinstance(error, Foreign) else ";"
        return f"{error}{joint} repeat the command of the run with --overwrite, which moves it aside and trains again"
    if isinstance(error, (DataError, ProcessLost, FolderLost)):
        return str(error)
    if isinstance(error, OSError):
        return printable(_of_the_system(error))
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"the package '{error.name}' is not installed; `pip install -r requirements.txt` installs what is needed"
    # torch is not imported to ask for its exception: where it is not imported, it has raised nothing.
    if type(error).__name__ == "OutOfMemoryError":
        return (
            f"the GPU's memory is full ({_sentence(error)}); give a smaller -bs or -hd, end what else uses the GPU, or "
            "compute with --device cpu"
        )
    if any(kind.__name__ == "BackendCompilerFailed" for kind in type(error).__mro__):
        return printable(_of_the_compiler(getattr(error, "inner_exception", error)))
    if isinstance(error, MemoryError) or any(text in str(error) for text in _ALLOCATION):
        return f"the memory is full{_free_memory()}; give a smaller -bs, -hd or -z, or end what else runs here"
    return None


def _of_the_compiler(error: Exception) -> str:
    if isinstance(error, OSError):
        return _of_the_system(error)
    lines = str(error).splitlines() or [type(error).__name__]
    cause = next((line for line in lines if "error:" in line), lines[0])
    return (
        f"--compile: PyTorch's compiler does not work here ({cause.strip()}); install a C++ compiler such as g++, for "
        "a GPU also Triton, or leave --compile out"
    )


def _of_the_system(error: OSError) -> str:
    if not isinstance(error.filename, (str, bytes)):
        return _of_a_stream(error)
    place = os.fsdecode(error.filename)
    elsewhere = "TORCHINDUCTOR_CACHE_DIR" if "torchinductor" in place else "-ld"
    text = f"{place}: {error.strerror or error}"
    if error.errno in _FULL:
        return (
            f"{text}{_free_bytes(place)}; make room, or choose another folder with {elsewhere}. What was written "
            "before is whole: repeat the command to resume from there"
        )
    if error.errno in _FORBIDDEN:
        if os.path.isfile(place) and not os.access(place, os.R_OK):
            return f"{text}; allow reading it"
        return f"{text}; allow writing there, or choose another folder with {elsewhere}"
    if error.errno in _NO_FOLDER:
        blocking = next((path for path in (Path(place), *Path(place).parents) if os.path.isfile(path)), None)
        if error.errno in (errno.ENOTDIR, errno.EEXIST) and blocking:
            text = f"{blocking}: is a file, where a folder is needed"
        return f"{text}; nothing can be written there: choose another folder with {elsewhere}"
    return text


def _of_a_stream(error: OSError) -> str:
    if error.errno == errno.EPIPE:
        return "the program that read the output has closed it; repeat the command to resume"
    text = f"standard input or output: {error.strerror or error}"
    return f"{text}; make room where the output goes, or send it elsewhere" if error.errno in _FULL else text


def _free_bytes(place: str) -> str:
    try:
        folder = Path(place).absolute()
        while not os.path.exists(folder) and folder != folder.parent:
            folder = folder.parent
        return f" ({shutil.disk_usage(folder).free:,} bytes are free there)"
    except OSError:
        return ""


def _free_memory() -> str:
    try:
        return f" ({os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'):,} bytes are free)"
    except (AttributeError, ValueError, OSError):  # not on every system
        return ""


def _sentence(error: Exception) -> str:
    """What torch says in its first two sentences: how much was asked for, and of which card."""
    return ". ".join(" ".join(str(error).split()).split(". ")[:2])

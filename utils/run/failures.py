"""What went wrong outside the program, in one line that says where, what is free and what to change."""

import contextlib
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from utils.config.flags import UsageError, printable
from utils.data.files import DataError, DataUsageError
from utils.run.interrupts import Interrupted, StopRequest
from utils.run.lock import FolderLost
from utils.run.processes import ProcessLost, is_first
from utils.run.stamped import Foreign, RunFileError

DONE, FAILED, USAGE, DIVERGED = 0, 1, 2, 3

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_TOO_MANY = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)
# torch, numpy, the loader of libraries and C++ each say it in their own words.
_ALLOCATION = (
    "can't allocate memory", "not enough memory", "bad_alloc", "Cannot allocate memory", "failed to map segment",
    "Unable to allocate",
)  # fmt: skip
_THREADS = ("can't start new thread", "Resource temporarily unavailable")


def guarded(
    program: str, command: Callable[[StopRequest], int], again: Callable[[], str] | None = None
) -> int:
    """Run a command to its last flush; a mistake of the user or a failure of the machine becomes one line.

    Args:
        program: its name, with which the line begins.
        command: does the work and returns the exit code; it is given what signals ask for.
        again: says how to continue what was stopped; without it the program leaves nothing to resume.

    Returns:
        The exit code: that of the command, 2 for a mistake, 1 for a failure, 128 + the number of a signal. A fault of
        the program itself still raises.
    """
    prepare_streams()
    try:
        with StopRequest() as stop:
            try:
                code = command(stop)
            except SystemExit as done:  # argparse has printed the help
                code = int(done.code or 0)
            sys.stdout.flush()
        return code
    except (UsageError, DataUsageError) as error:
        code, line = USAGE, str(error)
    except Interrupted as stopped:
        code, line = stopped.exit_code, f"stopped by {stopped}{f'; {again()}' if again else ''}"
    except BrokenPipeError:  # whoever read the output wanted no more of it
        code, line = FAILED, f"the program that read the output has closed it; {again()}" if again else ""
    except Exception as error:
        explained = explain(error, resumes=again is not None)
        if explained is None:
            raise
        code, line = FAILED, explained
    if line and (is_first() or code == FAILED):  # a mistake or a signal concerns every process; a failure may be of one
        with contextlib.suppress(OSError):
            print(*map(printable, f"{program}: {line}".split("\n")), sep="\n", file=sys.stderr)
    flush_output()
    return code


def prepare_streams() -> None:
    """Make standard output and error usable where the shell closed them or their encoding lacks a character."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would get the number, and what is printed would go there
            os.open(os.devnull, os.O_RDWR)
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


def explain(error: Exception, resumes: bool = True) -> str | None:
    """The line for the user, or None for an error that only a fault of the program explains.

    Args:
        error: what went wrong.
        resumes: whether the program writes in folders of runs, which `-ld` names, and resumes them.
    """
    if isinstance(error, RunFileError):
        joint = ", or" if isinstance(error, Foreign) else ";"
        return f"{error}{joint} repeat the command of the run with --overwrite, which moves it aside and trains again"
    if isinstance(error, (DataError, ProcessLost, FolderLost)):
        return str(error)
    if isinstance(error, OSError):
        return printable(_of_the_system(error, resumes))
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
        return _of_memory()
    return _of_threads() if any(text in str(error) for text in _THREADS) else None


def _of_memory() -> str:
    return f"the memory is full ({_memory_left()}); give a smaller -bs, -hd or -z, or end what else runs here"


def _of_threads() -> str:
    return "the system gives no more threads or processes; end what else runs here, or raise the limit (ulimit -u)"


def _of_the_compiler(error: Exception) -> str:
    if isinstance(error, OSError):
        return _of_the_system(error, resumes=True)
    lines = str(error).splitlines() or [type(error).__name__]
    cause = next((line for line in lines if "error:" in line), lines[0])
    return (
        f"--compile: PyTorch's compiler does not work here ({cause.strip()}); install a C++ compiler such as g++, for "
        "a GPU also Triton, or leave --compile out"
    )


def _of_the_system(error: OSError, resumes: bool) -> str:
    if error.errno == errno.ENOMEM:
        return _of_memory()
    if not isinstance(error.filename, (str, bytes)):
        return _of_no_file(error)
    place = os.fsdecode(error.filename)
    flag = "TORCHINDUCTOR_CACHE_DIR" if "torchinductor" in place else "-ld" if resumes else ""
    elsewhere = f", or choose another folder with {flag}" if flag else ""
    text = f"{place}: {error.strerror or error}"
    if error.errno in _FULL:
        whole = ". What was written before is whole: repeat the command to resume from there" if resumes else ""
        return f"{text}{_free_bytes(place)}; make room{elsewhere}{whole}"
    if error.errno in _FORBIDDEN:
        if os.path.isfile(place) and not os.access(place, os.R_OK):
            return f"{text}; allow reading it"
        return f"{text}; allow writing there{elsewhere}"
    if error.errno in _NO_FOLDER:
        blocking = next((path for path in (Path(place), *Path(place).parents) if os.path.isfile(path)), None)
        if error.errno in (errno.ENOTDIR, errno.EEXIST) and blocking:
            text = f"{blocking}: is a file, where a folder is needed"
        return f"{text}; nothing can be written there{elsewhere.replace(', or', ':')}"
    if error.errno in _NO_LOCKS:
        return f"{text}: its file system gives no locks; have it mounted with them{elsewhere}"
    return f"{text}; raise the limit (ulimit -n)" if error.errno in _TOO_MANY else text


def _of_no_file(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in _TOO_MANY:
        return f"{reason}; end what else runs here, or raise the limits (ulimit -n, ulimit -u)"
    if error.errno == errno.ENOENT and not _has_folder():
        return "the folder in which this was started is gone; change to one that exists"
    if error.errno in (*_FULL, errno.EIO, errno.EBADF):
        return f"standard input or output: {reason}; make room where the output goes, or send it elsewhere"
    return reason


def _has_folder() -> bool:
    try:
        return bool(os.getcwd())
    except OSError:
        return False


def _free_bytes(place: str) -> str:
    try:
        path = Path(place).absolute()
        folder = next(filter(os.path.exists, (path, *path.parents)))
        return f" ({shutil.disk_usage(folder).free:,} bytes are free there)"
    except OSError:
        return ""


def _memory_left() -> str:
    try:
        import resource  # not on every system

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            return f"a limit allows {limit:,} bytes; ulimit -v raises it"
        return f"{os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'):,} bytes are free"
    except (ImportError, AttributeError, ValueError, OSError):
        return "how much is free is not known"


def _sentence(error: Exception) -> str:
    """What torch says in its first two sentences: how much was asked for, and of which card."""
    return ". ".join(" ".join(str(error).split()).split(". ")[:2])

"""Writing a file whole or not at all, and keeping what native code writes off the terminal."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def write_atomically(path: Path, content: bytes | memoryview, keep: Path | None = None) -> None:
    """Replace a file by new content, or leave it as it was.

    Args:
        path: the file.
        content: its new content.
        keep: where the old file is kept, if at all.

    Raises:
        OSError: the content could not be written, naming `path`; the temporary file is gone again.
    """
    with replacing(path, keep) as temporary, naming(path):
        temporary.write_bytes(content)


@contextlib.contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[Path]:
    """Give a temporary file in the same folder to write to, which replaces `path` if no error is raised meanwhile.

    It is flushed to the disk before it is renamed, so that a reader sees the old file or the new one and never a part.

    Args:
        path: the file to replace.
        keep: where the old file is kept, if at all.

    Raises:
        OSError: the file could not be replaced, naming `path`; the temporary file is gone again.
    """
    temporary = temporary_of(path)
    try:
        yield temporary
        with naming(path):
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            if keep is not None and path.exists():
                _keep(path, keep)
            os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error of the system name the file that the user knows.

    A failed write names none, and the name of a temporary file says nothing to the user.

    Raises:
        OSError: of the same kind, naming `path`.
    """
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def temporary_of(path: Path) -> Path:
    """The name under which a file is written before it gets its own; a killed process may leave it behind."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def _keep(path: Path, keep: Path) -> None:
    link = temporary_of(keep)
    try:
        # A hard link, so that at no moment is there no file under the name itself.
        os.link(path, link)
        os.replace(link, keep)
    except OSError:  # a file system without links
        os.replace(path, keep)
    finally:
        with contextlib.suppress(OSError):
            link.unlink()  # it stays where both names are links to one file already


@contextlib.contextmanager
def native_errors_to(file: int) -> Iterator[None]:
    """Send what code in C writes to standard error to a file instead.

    Args:
        file: its descriptor.
    """
    try:
        terminal = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    os.dup2(file, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)

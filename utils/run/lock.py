"""One process at a time writes in the folder of a run."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from utils.config.flags import UsageError, printable
from utils.files import naming, write_atomically

if TYPE_CHECKING:
    from filelock import BaseFileLock


class FolderLost(Exception):
    """The folder of a run is no longer the one that this process holds; the text says so in one line."""


class FolderLock:
    """The right to write in a folder, which the system takes back when the process ends.

    Args:
        folder: it has to exist once `acquire` is called.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / ".lock"
        self._note = folder / "held_by.txt"  # for other processes to name the one that holds the lock
        self.is_ours = False
        self._lock: BaseFileLock | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            UsageError: another process has it.
            FolderLost: the folder was replaced meanwhile.
            OSError: the folder cannot be written to, or its file system gives no locks.
        """
        # Open until the end, so that its number is given to no other file.
        with naming(self._file):
            self._handle = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock = self._taken()
            if self._lock is None:
                raise UsageError(
                    f"{printable(self.folder)}: is in use by {self._holder()}; wait for it, or change a flag or the "
                    "seed"
                )
            self.check()
            write_atomically(self._note, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
            self.is_ours = True
        except BaseException:  # a signal, too, which may come when the note is written
            self._give_up() if self._lock is None else self.release()
            raise

    def _taken(self) -> BaseFileLock | None:
        """The lock of the system, taken; None where another process has it.

        Raises:
            OSError: the file system gives none.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self._file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        except NotImplementedError as error:  # how older versions say ENOSYS
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(self._file)) from error
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._file)) from error
        return lock

    def check(self) -> None:
        """Refuse to go on where the folder at this path is another one than was locked.

        Raises:
            FolderLost: it was deleted or replaced.
        """
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(self._file), os.fstat(self._handle)):
                return
        raise FolderLost(f"{printable(self.folder)}: the folder was deleted or replaced; this run stops")

    def release(self) -> None:
        """Let others write."""
        with contextlib.suppress(OSError, FolderLost):  # the lock itself is what counts
            self.check()
            self._note.unlink()
        self._give_up()

    def _give_up(self) -> None:
        self.is_ours = False
        if self._lock is not None:
            self._lock.release()
        os.close(self._handle)

    def move(self, target: Path) -> None:
        """Rename the folder while no other process writes in it, and hold an empty one in its place.

        Raises:
            UsageError: another process does.
            OSError: it cannot be renamed.
        """
        old = FolderLock(self.folder)
        old.acquire()
        try:
            old._note.unlink()
            self.folder.rename(target)
            self.folder.mkdir()
            self.acquire()
        finally:
            old._give_up()

    def is_held(self) -> bool:
        """Whether a process holds it just now, on this machine or one that shares its disk."""
        if not os.path.exists(self._note):
            return False
        holder = self._read_note()
        if holder and not _is_alive(*holder):
            return False  # it was killed; the lock is left alone, for somebody may be about to take it
        lock = self._taken()
        if lock is None:
            return True
        lock.release()
        return False

    def _holder(self) -> str:
        """Who holds the lock; a process that has only just taken it has a second to write its note."""
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            holder = self._read_note()
            if holder and _is_alive(*holder):
                return f"process {holder[0]} on {holder[1]}"
            time.sleep(0.02)
        return "another process"

    def _read_note(self) -> tuple[int, str] | None:
        """Process and machine that hold the lock; None where the note is not written yet."""
        try:
            _, process, _, machine = self._note.read_text().split()
            return int(process), printable(machine)
        except (OSError, ValueError):
            return None


def _is_alive(process: int, machine: str) -> bool:
    """Whether a process lives, as far as can be said from here."""
    if machine != socket.gethostname():
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        return True
    return True

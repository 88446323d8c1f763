"""Fetching data files: to a temporary file, checked against the known size and checksum, then moved into place."""

import contextlib
import io
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from utils.data.files import DataError, DataFile, missing_files, missing_text, writable
from utils.files import replacing


class _Failure(Exception):
    """One address did not give the file. `lasting`: it is of no use to ask it again."""

    def __init__(self, text: str, lasting: bool = False) -> None:
        super().__init__(text)
        self.lasting = lasting


def fetch_missing(
    files: Sequence[DataFile], data_dir: Path, timeout: float = 30.0, attempts: int = 3, pause: float = 0.5
) -> None:
    """Fetch into the data folder what it lacks.

    Args:
        files: Those of a data set, of which the missing ones are fetched.
        data_dir: The data folder; made where it does not exist.
        timeout: Seconds without an answer after which an address counts as dead.
        attempts: Rounds through the addresses of a file.
        pause: Seconds before the second round, doubled before each further one.

    Raises:
        DataError: A file cannot be had; the text names all that are still missing and where each belongs.
    """
    if not writable(data_dir):
        reason = f"{data_dir} cannot be written to" if data_dir.is_dir() else "it cannot be made"
        raise DataError(missing_text(files, data_dir, reason))
    if not data_dir.exists():
        print(f"--data_dir {data_dir}: there is no such folder; making it", file=sys.stderr)
    for file in missing_files(files, data_dir):
        try:
            _fetch(file, data_dir / file.path, timeout, attempts, pause)
        except _Failure as error:
            raise DataError(missing_text(files, data_dir, f"download failed: {error}")) from error
        except OSError as error:
            reason = f"{data_dir / file.path} cannot be written: {error.strerror or error}"
            raise DataError(missing_text(files, data_dir, reason)) from error


def _fetch(file: DataFile, target: Path, timeout: float, attempts: int, pause: float) -> None:
    """Fetch one file from the first address that has it.

    Raises:
        _Failure: None has it.
        OSError: The target's folder cannot be written to.
    """
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        with contextlib.suppress(OSError):
            # A killed process left it; one of the last day may be what another process is just fetching.
            if time.time() - leftover.stat().st_mtime > 24 * 60 * 60:
                leftover.unlink()
    print(f"fetching {file.path}", file=sys.stderr)
    try:
        _try_addresses(file, target, timeout, attempts, pause)
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # another run may have put its files there meanwhile
                folder.rmdir()
        raise


def _try_addresses(file: DataFile, target: Path, timeout: float, attempts: int, pause: float) -> None:
    """Go through the addresses until one has given the file, and move it into place."""
    transfer = _by_torchvision if file.torchvision else _by_stream
    alive = list(file.urls)
    failures: dict[str, str] = {}
    for attempt in range(attempts):
        if attempt and alive:
            time.sleep(pause * 2 ** (attempt - 1))
        for url in list(alive):
            try:
                with replacing(target) as temporary:
                    with _network_errors():
                        transfer(file, url, temporary, timeout)
                    if (size := temporary.stat().st_size) > file.max_size:
                        raise _Failure(f"it sent {size:,} bytes where {file.max_size:,} are due", lasting=True)
                    if not file.is_known(content := temporary.read_bytes()):
                        raise _Failure(f"not the known file: {file.difference(content)}")
                return
            except _Failure as error:
                failures[url] = str(error)
                if error.lasting:
                    alive.remove(url)
    raise _Failure("; ".join(f"{urlsplit(url).netloc}: {text}" for url, text in failures.items()))


@contextlib.contextmanager
def _network_errors() -> Iterator[None]:
    """Turn what the network may raise into `_Failure`; errors of the disk pass."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise _Failure(f"HTTP {error.code} {error.reason}", lasting=400 <= error.code < 500) from error
    except urllib.error.URLError as error:
        raise _Failure(str(getattr(error.reason, "strerror", None) or error.reason)) from error
    except (TimeoutError, ConnectionError, ssl.SSLError, HTTPException) as error:
        raise _Failure(str(error) or type(error).__name__) from error


def _by_stream(file: DataFile, url: str, temporary: Path, timeout: float) -> None:
    """Copy what an address answers into `temporary`, no more than the file may hold."""
    from tqdm import tqdm

    request = urllib.request.Request(url, headers={"User-Agent": "hyperspherical-vae"})
    with urllib.request.urlopen(request, timeout=timeout) as answer, temporary.open("xb") as out:
        if answer.headers.get_content_type() == "text/html":
            raise _Failure("it answers with a web page in place of the file", lasting=True)
        length = answer.length
        if length is not None and file.size not in (None, length):
            raise _Failure(f"it offers {length:,} bytes where {file.size:,} are due")
        received = 0
        # disable=None: a bar on a terminal, nothing elsewhere.
        with tqdm(total=file.size, desc=file.path, unit="B", unit_scale=True, leave=False, disable=None) as bar:
            while chunk := answer.read(1 << 18):
                received += len(chunk)
                if received > file.max_size:
                    raise _Failure(f"it sends more than {file.max_size:,} bytes", lasting=True)
                out.write(chunk)
                bar.update(len(chunk))
    if length is not None and received < length:
        raise _Failure(f"the connection broke after {received:,} of {length:,} bytes")


def _by_torchvision(file: DataFile, url: str, temporary: Path, timeout: float) -> None:
    """Let torchvision fetch one of the files that it knows; what it brings is checked like any other."""
    from torchvision.datasets.utils import download_url

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)  # torchvision sets none and would wait for a dead address for ever
    # Its progress bar does not ask whether there is a terminal.
    bar = contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO())
    try:
        with bar:
            download_url(url, temporary.parent, temporary.name)
    except RecursionError as error:
        raise _Failure("too many redirects", lasting=True) from error
    finally:
        socket.setdefaulttimeout(before)

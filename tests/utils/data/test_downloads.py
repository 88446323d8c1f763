"""Downloads against a server on this machine that misbehaves in every way that servers do."""

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.utils.small_data import write
from utils.data.downloads import fetch_missing
from utils.data.files import DataError, DataFile, checksum

CONTENT = bytes(range(256)) * 40
Answer = Callable[[BaseHTTPRequestHandler], None]


def answer(content: bytes, status: int = 200, claim: int | None = None, kind: str = "application/gzip") -> Answer:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content) if claim is None else claim))
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(content)

    return send


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(bytes(1 << 16))


def hang(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def hang_midway(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    handler.end_headers()
    handler.wfile.write(CONTENT[:100])
    handler.wfile.flush()
    time.sleep(3)


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, name: str, *answers: Answer) -> str:
        """Return an address that gives these answers in turn, the last one for ever."""
        self.answers[f"/{name}"] = list(answers)
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is what several tests are about."""


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        answers = self.server.answers[self.path]
        if self.command == "GET":
            self.server.asked.append(self.path[1:])
        (answers.pop(0) if len(answers) > 1 and self.command == "GET" else answers[0])(self)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=[False, True], ids=["stream", "torchvision"])
def by_torchvision(request: pytest.FixtureRequest) -> bool:
    return request.param


def known_file(*urls: str, torchvision: bool = False) -> DataFile:
    known = checksum(CONTENT, "md5")
    return DataFile("set/raw/file.gz", len(CONTENT), known, lambda data, name: data, urls, torchvision=torchvision)


def fetch(file: DataFile, folder: Path, timeout: float = 0.5, attempts: int = 2) -> None:
    fetch_missing([file], folder, timeout=timeout, attempts=attempts, pause=0.01)


def test_a_file_is_fetched_to_its_place(server, tmp_path, by_torchvision, capsys):
    fetch(known_file(server.url("file.gz", answer(CONTENT)), torchvision=by_torchvision), tmp_path / "data")
    assert (tmp_path / "data/set/raw/file.gz").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "data/set/raw").iterdir()] == ["file.gz"]
    made, *lines = capsys.readouterr().err.splitlines()
    assert made == f"--data_dir {tmp_path / 'data'}: there is no such folder; making it"
    assert lines == ["fetching set/raw/file.gz"], "no progress bar where there is no terminal"


def test_a_file_of_unknown_size_is_fetched(server, tmp_path):
    file = dataclasses.replace(known_file(server.url("x", answer(CONTENT))), size=None)
    fetch(file, tmp_path)
    assert (tmp_path / file.path).read_bytes() == CONTENT


def test_one_failure_is_forgiven(server, tmp_path, by_torchvision):
    url = server.url("file.gz", answer(b"busy", status=503), answer(CONTENT))
    fetch(known_file(url, torchvision=by_torchvision), tmp_path)
    assert (tmp_path / "set/raw/file.gz").read_bytes() == CONTENT


def test_a_mirror_steps_in(server, tmp_path, by_torchvision):
    urls = (server.url("gone", answer(b"", status=404)), server.url("bad", answer(CONTENT[::-1])))
    fetch(known_file(*urls, server.url("mirror", answer(CONTENT)), torchvision=by_torchvision), tmp_path)
    assert (tmp_path / "set/raw/file.gz").read_bytes() == CONTENT


def test_an_address_that_fails_for_good_is_not_asked_again(server, tmp_path):
    urls = (server.url("gone", answer(b"", status=404)), server.url("busy", answer(b"", status=503), answer(CONTENT)))
    fetch(known_file(*urls), tmp_path)
    assert server.asked == ["gone", "busy", "busy"]


BAD_ANSWERS: dict[str, tuple[Answer, str]] = {
    "404": (answer(b"not here", status=404), "HTTP 404"),
    "503": (answer(b"busy", status=503), "HTTP 503"),
    "truncated": (answer(CONTENT[:-7], claim=len(CONTENT)), "the connection broke after 10,233 of 10,240 bytes"),
    "short": (answer(CONTENT[:-7]), "it offers 10,233 bytes where 10,240 are due"),
    "html": (answer(b"<html>sign in</html>", kind="text/html; charset=utf-8"), "a web page in place of the file"),
    "wrong": (answer(CONTENT[::-1]), "not the known file"),
    "endless": (endless, "it sends more than 10,240 bytes"),
    "hangs": (hang, "timed out"),
    "hangs-midway": (hang_midway, "timed out"),
    "no-http": (no_http, "SSH-2.0"),
}


@pytest.mark.parametrize(("bad", "text"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_a_bad_answer_leaves_nothing_behind(server, tmp_path, bad, text):
    file = known_file(server.url("file.gz", bad))
    with pytest.raises(DataError) as error:
        fetch(file, tmp_path, timeout=0.2)
    message = str(error.value)
    for part in (text, str(tmp_path / file.path), file.urls[0], file.checksum):
        assert part in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", ["404", "503", "truncated", "html", "wrong", "hangs", "hangs-midway"])
def test_a_bad_answer_to_torchvision_leaves_nothing_behind(server, tmp_path, bad):
    file = known_file(server.url("file.gz", BAD_ANSWERS[bad][0]), torchvision=True)
    with pytest.raises(DataError) as error:
        fetch(file, tmp_path, timeout=0.2)
    for part in ("download failed", str(tmp_path / file.path), file.urls[0], file.checksum):
        assert part in str(error.value)
    assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() is None, "the time limit is for this download only"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/file.gz", "http://no.such.host.invalid/file.gz"])
def test_a_dead_address_is_named(tmp_path, url, by_torchvision):
    with pytest.raises(DataError, match="download failed") as error:
        fetch(known_file(url, torchvision=by_torchvision), tmp_path)
    assert url in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_still_missing_is_named_and_what_came_stays(server, tmp_path):
    first = known_file(server.url("1", answer(CONTENT)))
    second, third = (
        dataclasses.replace(first, path=f"set/{name}", urls=(server.url(name, answer(b"", status=404)),))
        for name in ("second", "third")
    )
    with pytest.raises(DataError, match="2 files missing") as error:
        fetch_missing([first, second, third], tmp_path, attempts=1)
    assert str(tmp_path / second.path) in str(error.value)
    assert str(tmp_path / third.path) in str(error.value)
    assert server.asked == ["1", "second"], "once a file cannot be had there is no use in the rest"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file.gz"]


def test_a_protected_folder_is_refused_before_anything_is_fetched(server, tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(DataError, match="cannot be written to") as error:
        fetch(known_file(server.url("x", answer(CONTENT))), tmp_path)
    assert str(tmp_path / "set/raw/file.gz") in str(error.value)
    assert server.asked == []


def test_a_file_in_place_of_the_data_folder_is_refused(server, tmp_path):
    with pytest.raises(DataError, match="data: is not a folder; give"):
        fetch(known_file(server.url("x", answer(CONTENT))), write(tmp_path / "data", b"x"))
    assert server.asked == []


def test_a_data_folder_that_is_not_there_is_named_where_the_download_fails(server, tmp_path):
    folder = tmp_path / "nowhere"
    with pytest.raises(DataError, match=r"no such folder; .*\n1 file missing .download failed: "):
        fetch(known_file(server.url("x", answer(b"", status=404))), folder)
    assert list(tmp_path.iterdir()) == []
    tmp_path.chmod(0o555)
    with pytest.raises(DataError, match=r"no such folder; .*\n1 file missing .it cannot be made"):
        fetch(known_file(server.url("x", answer(CONTENT))), folder)


def test_a_full_disk_is_said_to_be_one(server, tmp_path, monkeypatch):
    def full(source: object, to: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("utils.files.os.replace", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        fetch(known_file(server.url("x", answer(CONTENT))), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing_behind(server, tmp_path, monkeypatch, by_torchvision):
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(DataFile, "is_known", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(known_file(server.url("x", answer(CONTENT)), torchvision=by_torchvision), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_after_a_day(server, tmp_path):
    folder = tmp_path / "set" / "raw"
    folder.mkdir(parents=True)
    for name, age in ((".file.gz.0123.tmp", 25), (".file.gz.4567.tmp", 1), (".other.gz.0123.tmp", 25)):
        (folder / name).write_bytes(b"half")
        then = time.time() - 3600 * age
        os.utime(folder / name, (then, then))
    fetch(known_file(server.url("file.gz", answer(CONTENT))), tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "file.gz", ".file.gz.4567.tmp", ".other.gz.0123.tmp",
    }  # fmt: skip

"""Files of runs: plain data in, the same data out, of the run that is asked for, and no surprise in between."""

import math
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from hyperspherical_vae import __version__
from tests.utils.small_data import colliding_keys
from utils.config.command_line import parse_run
from utils.measure.log_px import PartialResult
from utils.run import stamped
from utils.run.folder import RunDir
from utils.run.identity import Identity
from utils.run.stamped import Damaged, Foreign, digest, previous, read

STAMP = {"format": 2, "hash": "0123abcd", "seed": 1, "data": "ef" * 32}


def write(path, content, keep=False):
    stamped.write(path, content, STAMP, previous(path) if keep else None)


def state(number=1.0):
    return {
        "weights": {"a": torch.full((3, 2), number), "empty": torch.zeros(0), "step": torch.tensor(7)},
        "numbers": [1, 2.5, None, True, (3, 4)],
        "text": "vmf",
        "bits": torch.arange(5, dtype=torch.uint8),
    }


def test_what_is_saved_is_loaded(tmp_path):
    write(tmp_path / "last.pt", state())
    loaded = read(tmp_path / "last.pt", STAMP)
    assert digest(loaded) == digest(state())
    assert torch.equal(loaded["weights"]["a"], torch.ones(3, 2))
    assert sorted(os.listdir(tmp_path)) == ["last.pt"]


def test_plain_torch_can_read_it_without_running_anything(tmp_path):
    write(tmp_path / "last.pt", state())
    assert torch.load(tmp_path / "last.pt", weights_only=True)["state"]["text"] == "vmf"


def test_digest_sees_every_change():
    variants = [state(), state(2.0), {**state(), "text": "vmg"}, {**state(), "numbers": [1, 2.5, None, 1, (3, 4)]}]
    variants.append({**state(), "bits": torch.arange(5, dtype=torch.int16)})
    variants.append({**state(), "bits": torch.arange(5, dtype=torch.uint8).view(5, 1)})
    assert len({digest(variant) for variant in variants}) == len(variants)


def test_the_one_before_is_kept(tmp_path):
    path = tmp_path / "last.pt"
    for number in (1.0, 2.0, 3.0):
        write(path, state(number), keep=True)
    assert read(path, STAMP)["weights"]["a"][0, 0] == 3
    assert read(previous(path), STAMP)["weights"]["a"][0, 0] == 2
    assert sorted(os.listdir(tmp_path)) == ["last.previous.pt", "last.pt"]


@pytest.mark.parametrize("name", ["last.pt", "summary.json", "log_px_k5.npz"])
def test_every_changed_byte_of_the_content_is_noticed(tmp_path, name):
    path, content = tmp_path / name, CONTENTS[name]
    write(path, content)
    expected = told(read(path, STAMP))
    whole, noticed = path.read_bytes(), 0
    for place in range(0, len(whole), max(len(whole) // 200, 1)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
        try:
            # Padding between the parts of an archive may change without harm; the content may not.
            assert told(read(path, STAMP)) == expected
        except Damaged:
            noticed += 1
    assert noticed > 20


CONTENTS = {
    "last.pt": state(),
    "summary.json": {"status": "complete", "test": {"elbo": -1.25, "kappa": [1.5, None]}},
    "log_px_k5.npz": {"log_px": np.linspace(-3.0, -1.0, 7), "best_epoch": np.array(3)},
}


def told(content):
    return digest({key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in content.items()})


@pytest.mark.parametrize("name", list(CONTENTS))
def test_file_of_another_run_is_foreign_and_one_without_a_stamp_is_damaged(tmp_path, name):
    path = tmp_path / name
    write(path, CONTENTS[name])
    for key, value in (("hash", "ffff0000"), ("seed", 2), ("format", 3), ("data", "00" * 32)):
        with pytest.raises(Foreign, match=r"is of another run \(seed 1, 0123abcd\)"):
            read(path, {**STAMP, key: value})
    assert told(read(path, {key: value for key, value in STAMP.items() if key != "data"})) == told(read(path, STAMP))
    with pytest.raises(Foreign):
        read(path, None)
    stamped.write(path, CONTENTS[name], None)
    assert told(read(path, None)) == told(CONTENTS[name])
    with pytest.raises(Damaged, match="does not say which run"):
        read(path, STAMP)


@pytest.mark.parametrize("name", list(CONTENTS))
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"<html>not found</html>", b"[1]", b'{"a": ', b"PK\x03\x04"])
def test_torn_file_is_an_error_of_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Damaged) as caught:
        read(path, STAMP)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_is_an_error_of_the_system(tmp_path):
    (tmp_path / "last.pt").mkdir()
    os.mkfifo(tmp_path / "summary.json")
    (tmp_path / "log_px_k5.npz").symlink_to("nowhere")
    for name in CONTENTS:
        with pytest.raises(OSError, match="not a regular file"):
            read(tmp_path / name, STAMP)
    with pytest.raises(Damaged, match="no such file"):
        read(tmp_path / "absent.pt", STAMP)


def test_numbers_that_json_cannot_hold_become_null():
    assert stamped.finite({"a": [1.0, math.nan], "b": (math.inf, 2), "c": "nan"}) == {
        "a": [1.0, None],
        "b": [None, 2],
        "c": "nan",
    }


class Canary:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_malicious_pickle_is_not_executed(tmp_path):
    canary = tmp_path / "executed"
    for name, writer in (
        ("torch.pt", torch.save),
        ("plain.pt", lambda value, path: path.write_bytes(pickle.dumps(value))),
    ):
        path = tmp_path / name
        writer({"layout": 1, "sha256": "", "state": Canary(canary)}, path)
        with pytest.raises(Damaged):
            read(path, STAMP)
    assert not canary.exists()


@pytest.mark.parametrize(("layout", "version"), [(0, "0.9.1"), (99, "7.0"), (99, "unknown")])
def test_other_layout_says_which_version_wrote_it(tmp_path, layout, version):
    written = {"layout": layout, "sha256": "", "state": {}}
    torch.save(written if version == "unknown" else {**written, "version": version}, tmp_path / "last.pt")
    with pytest.raises(Damaged) as caught:
        read(tmp_path / "last.pt", STAMP)
    assert f"has layout {layout}, written by version {version} of this program" in str(caught.value)
    assert f"version {__version__} reads layout 1" in str(caught.value)


def test_version_is_recorded(tmp_path):
    write(tmp_path / "last.pt", state())
    assert torch.load(tmp_path / "last.pt", weights_only=True)["version"] == __version__


def test_the_one_before_is_kept_without_hard_links_too(tmp_path, monkeypatch):
    def refused(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    for number in (1.0, 2.0):
        write(tmp_path / "last.pt", state(number), keep=True)
    assert read(previous(tmp_path / "last.pt"), STAMP)["weights"]["a"][0, 0] == 1
    assert sorted(os.listdir(tmp_path)) == ["last.previous.pt", "last.pt"]


def test_nothing_is_left_where_both_names_are_links_to_one_file(tmp_path):
    # So a process leaves them that is killed between renaming the old file and renaming the new one.
    path = tmp_path / "last.pt"
    write(path, state(1.0))
    os.link(path, previous(path))
    write(path, state(2.0), keep=True)
    assert read(previous(path), STAMP)["weights"]["a"][0, 0] == 1
    assert sorted(os.listdir(tmp_path)) == ["last.previous.pt", "last.pt"]


def test_partial_result_is_found_by_its_key_alone(tmp_path):
    with RunDir(Identity(parse_run(["-d", "digits"])), tmp_path) as run:
        partial = PartialResult(run, {"k": 5, "model": "abc"})
        assert partial.load() is None
        partial.save({"values": torch.arange(3.0)})
        assert torch.equal(partial.load()["values"], torch.arange(3.0))
        assert PartialResult(run, {"k": 6, "model": "abc"}).load() is None
        run.checkpoint("log_px").write_bytes(b"torn")
        assert partial.load() is None
        partial.remove()
        partial.remove()
        assert not run.checkpoint("log_px").exists()


def test_failed_write_leaves_the_old_one_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    write(path, state(1.0))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write(path, state(2.0), keep=True)
    assert caught.value.filename == str(path)
    assert read(path, STAMP)["weights"]["a"][0, 0] == 1
    assert os.listdir(tmp_path) == ["last.pt"]


def _cyclic():
    state = []
    state.append(state)
    return state


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.empty(3, device="meta"),
        lambda: torch.zeros(1).expand(10**12),
        lambda: torch.zeros(1).as_strided((10**6, 10**6), (0, 0)),
        lambda: torch.ones(2, dtype=torch.complex64).conj(),
        _cyclic,
        lambda: {1.5: {None: [()]}},
    ],
)
def test_crafted_state_is_refused_or_read_but_never_a_traceback(tmp_path, make):
    path = tmp_path / "crafted.pt"
    torch.save({"layout": 1, "sha256": "", "state": {"model": make()}}, path)
    with pytest.raises(Damaged, match=r"crafted\.pt: is (damaged|no file)"):
        read(path, STAMP)


def with_pickle(path, content):
    """Put another pickle into the archive of a state."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, content if name.endswith(".pkl") else part)


@pytest.mark.parametrize(
    "content",
    [
        colliding_keys(100_000, b"d."),
        b"\x80\x02}(" + b"K\1K\2\x86N" + b"u.",
        b"\x80\x02ccollections\nOrderedDict\n](K\1N\x86e\x85R.",
        b"\x80\x02ccollections\nOrderedDict\n)R](K\1N\x86eb.",
        b"\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\nK\1X\3\0\0\0cpuK\1tQ.",
        b"\x80\x02ctorch\nFloatStorage\nK\1\x85R.",
    ],
    ids=["numbers", "tuples", "pairs", "attributes", "storages", "new storage"],
)
def test_keys_that_could_have_equal_hashes_are_refused(tmp_path, content):
    path = tmp_path / "last.pt"
    write(path, state())
    with_pickle(path, content)
    with pytest.raises(Damaged, match=r"last\.pt: is (damaged|no file)") as caught:
        read(path, STAMP)
    assert "layout" not in str(caught.value)
    assert str(caught.value).count("\n") == 0


def test_what_stands_before_an_archive_is_not_read(tmp_path):
    path, other = tmp_path / "last.pt", tmp_path / "other.pt"
    write(path, state())
    torch.save({"names": torch.Size((3,))}, other, _use_new_zipfile_serialization=False)
    path.write_bytes(other.read_bytes() + path.read_bytes())
    assert "names" in torch.load(path, weights_only=True)  # it would be read, and nobody would have checked it
    assert read(path, STAMP)["text"] == "vmf"


def test_compressed_parts_are_refused_before_they_are_read(tmp_path):
    plain, packed = tmp_path / "plain.pt", tmp_path / "packed.pt"
    torch.save({"layout": 1, "sha256": "", "state": {"model": torch.zeros(10**6)}}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert packed.stat().st_size < plain.stat().st_size / 100
    with pytest.raises(Damaged, match="compressed"):
        read(packed, STAMP)

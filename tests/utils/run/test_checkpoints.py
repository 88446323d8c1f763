"""Checkpoints: plain data in, the same data out, and no surprise in between."""

import os
import pickle
import zipfile

import pytest
import torch

from hyperspherical_vae import __version__
from utils.run.checkpoints import (
    CheckpointError,
    PartialResult,
    digest,
    load_checkpoint,
    load_newest,
    previous,
    save_checkpoint,
)


def state(number=1.0):
    return {
        "weights": {"a": torch.full((3, 2), number), "empty": torch.zeros(0), "step": torch.tensor(7)},
        "numbers": [1, 2.5, None, True, (3, 4)],
        "text": "vmf",
        "bits": torch.arange(5, dtype=torch.uint8),
    }


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "last.pt", state())
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert digest(loaded) == digest(state())
    assert torch.equal(loaded["weights"]["a"], torch.ones(3, 2))
    assert sorted(os.listdir(tmp_path)) == ["last.pt"]


def test_plain_torch_can_read_it_without_running_anything(tmp_path):
    save_checkpoint(tmp_path / "last.pt", state())
    assert torch.load(tmp_path / "last.pt", weights_only=True)["state"]["text"] == "vmf"


def test_digest_sees_every_change():
    variants = [state(), state(2.0), {**state(), "text": "vmg"}, {**state(), "numbers": [1, 2.5, None, 1, (3, 4)]}]
    variants.append({**state(), "bits": torch.arange(5, dtype=torch.int16)})
    variants.append({**state(), "bits": torch.arange(5, dtype=torch.uint8).view(5, 1)})
    assert len({digest(variant) for variant in variants}) == len(variants)


def test_the_one_before_is_kept(tmp_path):
    path = tmp_path / "last.pt"
    for number in (1.0, 2.0, 3.0):
        save_checkpoint(path, state(number))
    assert load_checkpoint(path)["weights"]["a"][0, 0] == 3
    assert load_checkpoint(previous(path))["weights"]["a"][0, 0] == 2
    assert sorted(os.listdir(tmp_path)) == ["last.previous.pt", "last.pt"]


def test_every_flipped_byte_of_the_content_is_noticed(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, state())
    save_checkpoint(path, state())
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), max(len(whole) // 200, 1)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        loaded, warning = load_newest(path)
        # Padding between the parts of the file may change without harm; the content may not.
        assert digest(loaded) == digest(state())
        noticed += warning is not None
    assert noticed > 20


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_truncated_checkpoint_falls_back_aloud(tmp_path, length):
    path = tmp_path / "last.pt"
    save_checkpoint(path, state(1.0))
    save_checkpoint(path, state(2.0))
    path.write_bytes(path.read_bytes()[:length])
    loaded, warning = load_newest(path)
    assert loaded["weights"]["a"][0, 0] == 1
    assert "last.pt" in warning
    assert "previous" in warning
    assert "\n" not in warning


def test_damaged_checkpoint_without_a_previous_one_is_an_error_of_one_line(tmp_path):
    path = tmp_path / "best.pt"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError) as caught:
        load_newest(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


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
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
    assert not canary.exists()


@pytest.mark.parametrize(("layout", "version"), [(0, "0.9.1"), (99, "7.0"), (99, "unknown")])
def test_other_layout_says_which_version_wrote_it(tmp_path, layout, version):
    written = {"layout": layout, "sha256": "", "state": {}}
    torch.save(written if version == "unknown" else {**written, "version": version}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "last.pt")
    assert f"has layout {layout}, written by version {version} of this program" in str(caught.value)
    assert f"version {__version__} reads layout 1" in str(caught.value)


def test_version_is_recorded(tmp_path):
    save_checkpoint(tmp_path / "last.pt", state())
    assert torch.load(tmp_path / "last.pt", weights_only=True)["version"] == __version__


def test_the_one_before_is_kept_without_hard_links_too(tmp_path, monkeypatch):
    def refused(*args):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    for number in (1.0, 2.0):
        save_checkpoint(tmp_path / "last.pt", state(number))
    assert load_checkpoint(previous(tmp_path / "last.pt"))["weights"]["a"][0, 0] == 1
    assert sorted(os.listdir(tmp_path)) == ["last.previous.pt", "last.pt"]


def test_nothing_is_left_where_both_names_are_links_to_one_file(tmp_path):
    # So a process leaves them that is killed between renaming the old file and renaming the new one.
    path = tmp_path / "last.pt"
    save_checkpoint(path, state(1.0))
    os.link(path, previous(path))
    save_checkpoint(path, state(2.0))
    assert load_checkpoint(previous(path))["weights"]["a"][0, 0] == 1
    assert sorted(os.listdir(tmp_path)) == ["last.previous.pt", "last.pt"]


def test_partial_result_is_found_by_its_key_alone(tmp_path):
    partial = PartialResult(tmp_path / "log_px.pt", {"k": 5, "model": "abc"})
    assert partial.load() is None
    partial.save({"values": torch.arange(3.0)})
    assert torch.equal(partial.load()["values"], torch.arange(3.0))
    assert PartialResult(tmp_path / "log_px.pt", {"k": 6, "model": "abc"}).load() is None
    (tmp_path / "log_px.pt").write_bytes(b"torn")
    assert partial.load() is None
    partial.remove()
    partial.remove()
    assert os.listdir(tmp_path) == []


def test_failed_write_leaves_the_old_one_whole(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, state(1.0))

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        save_checkpoint(path, state(2.0))
    assert caught.value.filename == str(path)
    assert load_checkpoint(path)["weights"]["a"][0, 0] == 1
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
    with pytest.raises(CheckpointError, match=r"crafted\.pt: is (damaged|no checkpoint)"):
        load_checkpoint(path)


def test_compressed_parts_are_refused_before_they_are_read(tmp_path):
    plain, packed = tmp_path / "plain.pt", tmp_path / "packed.pt"
    torch.save({"layout": 1, "sha256": "", "state": {"model": torch.zeros(10**6)}}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert packed.stat().st_size < plain.stat().st_size / 100
    with pytest.raises(CheckpointError, match="compressed"):
        load_checkpoint(packed)

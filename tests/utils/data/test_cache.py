"""The cache gives back what was parsed, for the same source only, and never stands in the way."""

import hashlib
import pickle

import numpy as np
import pytest

from tests.utils.small_data import Canary, random_images
from utils.data.cache import load_bits, store_bits, user_cache

KEY = "ab" * 32
MATRIX = random_images(7, 30, high=1)
DIGEST = hashlib.sha256(np.packbits(MATRIX, axis=1).tobytes()).hexdigest()


def load(source, key=KEY, digest=DIGEST):
    return load_bits(source, key, 30, digest)


def test_what_is_stored_comes_back(tmp_path):
    source = tmp_path / "x.amat"
    assert load(source) is None
    store_bits(source, KEY, MATRIX, DIGEST)
    np.testing.assert_array_equal(load(source), MATRIX)
    assert [path.name for path in tmp_path.iterdir()] == [f"x.amat.{KEY[:16]}.bits"]


def test_another_source_is_not_found(tmp_path):
    source = tmp_path / "x.amat"
    store_bits(source, KEY, MATRIX, DIGEST)
    assert load(source, key="cd" * 32) is None
    assert load(tmp_path / "y.amat") is None


def test_a_matrix_that_is_not_the_known_one_is_neither_kept_nor_given(tmp_path):
    source = tmp_path / "x.amat"
    store_bits(source, KEY, 1 - MATRIX, DIGEST)
    assert list(tmp_path.iterdir()) == []
    store_bits(source, KEY, MATRIX, DIGEST)
    assert load(source, digest="0" * 64) is None


def test_a_protected_folder_is_left_alone_for_the_users_cache(tmp_path, cache_home):
    source = tmp_path / "protected" / "x.amat"
    source.parent.mkdir()
    source.parent.chmod(0o555)
    store_bits(source, KEY, MATRIX, DIGEST)
    assert list(source.parent.iterdir()) == []
    assert [path.name for path in (cache_home / "hyperspherical-vae").iterdir()] == [f"x.amat.{KEY[:16]}.bits"]
    np.testing.assert_array_equal(load(source), MATRIX)


def test_without_any_place_to_write_nothing_is_stored(tmp_path, cache_home):
    for folder in (tmp_path, cache_home):
        folder.chmod(0o555)
    store_bits(tmp_path / "x.amat", KEY, MATRIX, DIGEST)
    assert load(tmp_path / "x.amat") is None
    assert [*tmp_path.iterdir(), *cache_home.iterdir()] == []


def test_the_user_cache_follows_the_specification(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "hyperspherical-vae"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert user_cache() == tmp_path / "home" / ".cache" / "hyperspherical-vae"


DAMAGE = {
    "empty": lambda data: b"",
    "html": lambda data: b"<html>",
    "cut": lambda data: data[:-1],
    "long": lambda data: data + b"x",
    "bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "pickle": lambda data: pickle.dumps(Canary("canary")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_counts_as_none(tmp_path, damage, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "x.amat"
    store_bits(source, KEY, MATRIX, DIGEST)
    (cache,) = tmp_path.iterdir()
    cache.write_bytes(damage(cache.read_bytes()))
    assert load(source) is None
    assert list(tmp_path.iterdir()) == [cache]
    store_bits(source, KEY, MATRIX, DIGEST)
    np.testing.assert_array_equal(load(source), MATRIX)

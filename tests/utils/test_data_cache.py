"""The cache gives back what was parsed, for the same source only, and never stands in the way."""

import numpy as np
import pytest

from tests.utils.small_data import random_images
from utils.data_cache import load_bits, store_bits, user_cache

KEY = "ab" * 32
MATRIX = random_images(7, 30, high=1)


def load(source, key=KEY, columns=30):
    return load_bits(source, key, columns)


def test_what_is_stored_comes_back(tmp_path):
    source = tmp_path / "x.amat"
    assert load(source) is None
    store_bits(source, KEY, MATRIX, "md5:1")
    matrix, text_checksum = load(source)
    np.testing.assert_array_equal(matrix, MATRIX)
    assert text_checksum == "md5:1"
    assert [path.name for path in tmp_path.iterdir()] == [f"x.amat.{KEY[:16]}.npz"]


def test_another_source_or_another_width_is_not_found(tmp_path):
    source = tmp_path / "x.amat"
    store_bits(source, KEY, MATRIX, "md5:1")
    assert load(source, key="cd" * 32) is None
    assert load(source, key=KEY[:16] + "f" * 48) is None
    assert load(source, columns=60) is None
    assert load(tmp_path / "y.amat") is None


def test_a_protected_folder_is_left_alone_for_the_users_cache(tmp_path, cache_home):
    source = tmp_path / "protected" / "x.amat"
    source.parent.mkdir()
    source.parent.chmod(0o555)
    store_bits(source, KEY, MATRIX, "md5:1")
    assert list(source.parent.iterdir()) == []
    assert [path.name for path in (cache_home / "hyperspherical-vae").iterdir()] == [f"x.amat.{KEY[:16]}.npz"]
    np.testing.assert_array_equal(load(source)[0], MATRIX)


def test_without_any_place_to_write_nothing_is_stored(tmp_path, cache_home):
    for folder in (tmp_path, cache_home):
        folder.chmod(0o555)
    store_bits(tmp_path / "x.amat", KEY, MATRIX, "md5:1")
    assert load(tmp_path / "x.amat") is None
    assert [*tmp_path.iterdir(), *cache_home.iterdir()] == []


def test_the_user_cache_follows_the_specification(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "hyperspherical-vae"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert user_cache() == tmp_path / "home" / ".cache" / "hyperspherical-vae"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"<html>",
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    ],
    ids=["empty", "html", "cut", "bit", "bit-later"],
)
def test_a_damaged_cache_counts_as_none(tmp_path, damage):
    source = tmp_path / "x.amat"
    store_bits(source, KEY, MATRIX, "md5:1")
    (cache,) = tmp_path.iterdir()
    cache.write_bytes(damage(cache.read_bytes()))
    assert load(source) is None


def test_a_pickle_in_place_of_a_cache_is_not_executed(tmp_path):
    np.savez(tmp_path / f"x.amat.{KEY[:16]}.npz", bits=np.array([{}], object), text_checksum="md5:1", key=KEY)
    assert load(tmp_path / "x.amat") is None

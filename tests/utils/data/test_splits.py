"""Splits are exact, fair to the classes, and the same everywhere."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.data.splits import fixed_permutation, order_by_hash, stratified_choice, stratified_split


def test_the_permutation_is_the_same_for_ever():
    assert fixed_permutation(10, seed=0).tolist() == [2, 8, 4, 9, 1, 6, 7, 3, 0, 5]
    assert (
        hashlib.sha256(fixed_permutation(24345, seed=0).astype("<i8").tobytes())
        .hexdigest()
        .startswith("44229cb051422982")
    )


def test_the_order_by_hash_does_not_depend_on_the_listing():
    keys = [f"cats/{i}.png" for i in range(50)]
    ordered = [keys[i] for i in order_by_hash(keys)]
    backwards = keys[::-1]
    assert ordered == [backwards[i] for i in order_by_hash(backwards)]
    assert ordered != keys


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.data())
def test_a_choice_gives_every_class_its_share(labels, data):
    labels = np.array(labels)
    n = data.draw(st.integers(0, len(labels)))
    chosen = stratified_choice(labels, fixed_permutation(len(labels), seed=1), n)
    assert chosen.sum() == n
    for label in range(5):
        share = (labels == label).sum() * n / len(labels)
        assert abs(chosen[labels == label].sum() - share) < 1


@given(st.lists(st.integers(0, 3), min_size=10, max_size=60))
def test_the_parts_of_a_split_are_disjoint_and_complete(labels):
    labels = np.array(labels)
    rest, first, second = stratified_split(labels, fixed_permutation(len(labels), seed=1), [3, 4])
    assert (len(first), len(second)) == (3, 4)
    assert sorted([*rest, *first, *second]) == list(range(len(labels)))


@pytest.mark.parametrize("seed", range(3))
def test_the_order_decides_who_goes_where(seed):
    labels = np.repeat([0, 1], 20)
    parts = [stratified_split(labels, fixed_permutation(40, seed=s), [8])[1].tolist() for s in (seed, seed + 1)]
    assert parts[0] != parts[1]

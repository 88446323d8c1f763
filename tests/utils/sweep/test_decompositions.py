"""What `-zd auto:...` stands for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils.config.command_line import parse_run
from utils.config.flags import UsageError
from utils.sweep.decompositions import expand


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5,5", ["5,5"]),
        ("auto:10", ["10", "5,5", "2,2,2,2,2", ",".join("1" * 10)]),
        ("auto:1", ["1"]),
        ("auto:10:intrinsic", ["10", "5,5", "2,2,2,2,2", ",".join("1" * 10)]),
        ("auto:12:ambient", ["s11", "s5,s5", "s3,s3,s3", "s2,s2,s2,s2", "s1,s1,s1,s1,s1,s1"]),
        ("auto:10:2,3", ["3,3,2,2", "2,2,2,2,2"]),
        ("auto:7:ambient:2,3", ["s3,s2"]),
        ("auto:4:4,2,4", ["4", "2,2"]),
    ],
)
def test_words_stand_for_decompositions(text, expected):
    assert expand(text) == expected


def test_many_factors_neither_recurse_nor_hang():
    assert expand("auto:5001:1") == [",".join(["1"] * 5001)]
    with pytest.raises(UsageError, match="more than 1,000 decompositions"):
        expand("auto:9999:2,3")
    for text in ("auto:99999:2,3", f"auto:9999:{','.join(map(str, range(2001, 4001)))}"):
        with pytest.raises(UsageError, match="up to 10,000, of up to 50 dimensions"):
            expand(text)


@settings(deadline=None)
@given(st.integers(1, 300), st.booleans())
def test_parts_add_up_to_the_total_and_a_run_takes_them(total, ambient):
    if total == 1 and ambient:
        return  # S^0 is no sphere that is offered
    found = expand(f"auto:{total}" + (":ambient" if ambient else ""))
    assert len(set(found)) == len(found)
    for word in found[:5]:
        factors = parse_run(["-zd", word]).factors
        assert sum(dim + ambient for _, dim in factors) == total
        assert len({dim for _, dim in factors}) == 1


@pytest.mark.parametrize("text", ["auto", "auto:", "auto:0", "auto:x", "auto:5:4", "auto:1:ambient", "auto:300:1,2,3"])
def test_mistake_is_named(text):
    with pytest.raises(UsageError, match=f"-zd {text}:"):
        expand(text)


def test_single_run_sends_to_the_sweep():
    with pytest.raises(UsageError, match=r"utils\.sweep"):
        parse_run(["-zd", "auto:10"])

"""Nonsense on the command line and in configuration files: a run that is described, or one line and exit code 2."""

import contextlib
import dataclasses
import json
import os
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.utils.fake_runs import in_json
from utils.config.command_line import parse
from utils.config.config import Config
from utils.config.flags import UsageError, flags_of
from utils.config.request import Revisit
from utils.config.rules import resolve
from utils.config.stored import from_values
from utils.run.records import read_identity
from utils.run.stamped import RunFileError

FIELDS = dataclasses.fields(Config)
FLAGS = {flag.names: flag for kind in (Config, Revisit) for flag in flags_of(kind).values()}
SPELLINGS = sorted(name for names in FLAGS for name in names)
VALUES = sorted({choice for flag in FLAGS.values() for choice in flag.choices})

numbers = st.one_of(
    st.integers().map(str),
    st.integers(-2, 300).map(str),
    st.floats().map(str),
    st.sampled_from(["nan", "inf", "-inf", "1e999", "0x10", "1_000", "٣", "9" * 5000, "-0", "+1", "1e3", ".5"]),
)
# What a shell can pass: any characters but NUL, and bytes that are no UTF-8 as lone surrogates.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=20)
lists = st.lists(st.one_of(numbers, st.sampled_from(["s4", "e2", "s0", "x"])), max_size=4).map(",".join)
values = st.one_of(st.sampled_from(VALUES), numbers, lists, texts, st.sampled_from(["../x", "/", "a" * 9000, "\n", ""]))
flags = st.one_of(
    st.sampled_from(SPELLINGS),
    st.sampled_from(SPELLINGS),
    st.sampled_from(SPELLINGS).map(lambda name: name[:-1]),
    st.builds(str.__add__, st.sampled_from(SPELLINGS), st.text(string.printable, max_size=3)),
    texts,
)
pairs = st.one_of(
    st.tuples(flags, values),
    st.tuples(flags),
    st.tuples(values),
    st.builds(lambda name, value: (f"{name}={value}",), flags, values),
)
# Flags with values that suit them, so that many lines are accepted, or refused for what contradicts what.
SUITED = {
    "int": ("0", "1", "2", "5", "30"),
    "float": ("0", "0.5", "1", "2e1"),
    "int, commas": ("8", "64,32"),
    "str, commas": ("4,4", "s4,e2"),
    "str": ("a", "b/c"),
    "str, words": ("a", "b/c"),
    "str, either": ("a", "b,c"),
    "float, commas": ("1", "0.5,1e3"),
}


def suited(flag):
    kind = flag.value_type.__name__ + (f", {flag.many}" if flag.many else "")
    return [()] if flag.value_type is bool else zip(flag.choices or SUITED[kind])


suitable = st.sampled_from(
    [
        (name, *value)
        for flag in FLAGS.values()
        for name in flag.names
        for value in suited(flag)
    ]
)
lines = st.one_of(st.lists(pairs, max_size=5), st.lists(suitable, max_size=5)).map(
    lambda parts: [word for part in parts for word in part if word not in ("-h", "--help")]
)
seeded = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=1300
)


def check(describe):
    """Call what should either give a description that survives being written, or a mistake in one readable line."""
    try:
        described = describe()
    except UsageError as error:
        text = str(error)
        assert text.strip()
        assert "\n" not in text
        assert "\r" not in text
        assert len(text) < 600
    else:
        if isinstance(described, Config):
            assert from_values(in_json(described)) == described


@pytest.fixture(scope="module", autouse=True)
def nothing_is_created(tmp_path_factory):
    """All of this in an empty folder, which stays empty."""
    folder, before = tmp_path_factory.mktemp("empty"), os.getcwd()
    os.chdir(folder)
    yield
    os.chdir(before)
    assert list(folder.iterdir()) == []


@seeded
@given(lines)
def test_any_command_line_is_a_run_or_one_line(words):
    check(lambda: parse(words))


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from(VALUES)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
names = st.one_of(st.sampled_from([field.name for field in FIELDS]), texts)
plain = in_json(resolve(Config()))
# A sound file but for one value, which may be as good as the one it replaces.
changes = st.tuples(st.sampled_from(FIELDS), st.one_of(st.none(), st.integers(0, 3), st.floats(0, 3), values)).map(
    lambda change: json.dumps({**plain, change[0].name: change[1]})
)


def written(parts):
    """The file of the run that a line describes, or else of the plain one."""
    try:
        described = parse([word for part in parts for word in part])
    except UsageError:
        described = None
    return json.dumps(in_json(described) if isinstance(described, Config) else plain)


files = st.one_of(
    st.lists(suitable, max_size=4).map(written),
    changes,
    st.text(max_size=50),
    json_values.map(json.dumps),
    st.dictionaries(names, json_values, max_size=4).map(json.dumps),
    st.dictionaries(names, json_values, max_size=2).map(lambda changed: json.dumps({**plain, **changed})),
    st.integers(0, 700).map(lambda length: json.dumps(plain)[:length]),
    st.sampled_from(["[" * 100_000, '{"a":' * 100_000, "1" * 5000, '{"epochs": ' + "1" * 5000 + "}"]),
)


@settings(seeded, max_examples=700)
@given(files)
def test_any_configuration_file_is_a_run_or_one_line(text):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(text, errors="surrogatepass")
        with contextlib.suppress(RunFileError):
            read_identity(Path(folder))


@settings(seeded, max_examples=100)
@given(lines)
def test_refused_line_leaves_the_program_with_2(words):
    from run_models import main

    try:
        parse(words)
    except UsageError:
        assert main(words) == 2

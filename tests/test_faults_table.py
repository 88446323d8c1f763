"""The table of faults names tests that there are, and every test of a fault is in it."""

import ast
import functools
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", (HERE / "README.md").read_text())


@functools.cache
def functions(path):
    """The test functions of a file by name."""
    tree = ast.parse(path.read_text())
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test")}


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_named_test_exists(file, name):
    assert name in functions(HERE / file)


def test_every_row_names_a_test():
    rows = [line for line in (HERE / "README.md").read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| fault |")]
    assert len(rows) > 40
    for row in rows:
        assert "::test_" in row, row


def test_every_test_of_a_fault_is_in_the_table():
    for path in (HERE / "faults").glob("test_*.py"):
        for name in functions(path):
            assert (f"faults/{path.name}", name) in NAMED, f"{path.name}::{name} is not in README.md"

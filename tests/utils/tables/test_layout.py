"""The formats of a comparison."""

import csv
import io
import re
import shutil
import subprocess

import pytest

from tests.utils.fake_runs import comparable, finished
from utils.tables.comparison import compare
from utils.tables.comparison_table import write
from utils.tables.layout import FORMATS, Bold, Table, as_text, fitted


@pytest.fixture
def comparison(tmp_path):
    for seed in (1, 2):
        finished(tmp_path, f"-n normal -z 10 -d mnist -rs {seed}", log_px=-94.0 - seed / 10)
        finished(tmp_path, f"-n vmf -z 10 -d mnist -rs {seed}", log_px=-93.0 - seed / 50)
    finished(tmp_path, "-zd 5,5 -d mnist", log_px=None, log_px_nonfinite=3)
    finished(tmp_path, "-zd 5,5 -d mnist -rs 2", diverged=True)
    records, notes = comparable(tmp_path)
    return compare(records, ["log_px"], against=["name=normal"], notes=notes)


def test_text(comparison):
    facts, *lines = write(comparison, "text").splitlines()
    assert facts == "all: data mnist, -dis vmf (productspace)"
    assert lines[0].split("  ")[0] == "model"
    assert "-94.15 ± 0.07" in lines[2]
    assert "-93.84 ± 0.30 (-0.31, reproduced)" in lines[2]
    assert "2, 1 diverged" in lines[3]
    assert "not finite (1 of 1)" in lines[3]
    assert "* -93.03 ± 0.01" in lines[4]
    assert "+1.12, p = 0." in lines[4]
    assert any("K = 500" in line for line in lines[5:])


def test_markdown_has_equal_columns(comparison):
    above, table, *_ = write(comparison, "markdown").split("\n\n")
    assert above == "all: data mnist, -dis vmf (productspace)"
    lines = table.splitlines()
    assert {line.count("|") for line in lines} == {7}
    assert "**-93.03 ± 0.01**" in lines[-1]


def test_latex_is_escaped_and_has_equal_columns(comparison):
    text = write(comparison, "latex")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in body} == {5}
    assert r"\textbf{$-$93.03 $\pm$ 0.01}" in text
    assert r"$S^{10}$ in $\mathbb{R}^{11}$" in text
    assert "S-VAE" in text.split(r"\begin")[0]
    assert r"\usepackage{booktabs,amssymb}" in text.split(r"\begin")[0]


def test_csv_holds_plain_numbers(comparison):
    rows = list(csv.DictReader(io.StringIO(write(comparison, "csv"))))
    assert float(rows[0]["log_px"]) == pytest.approx(-94.15)
    assert float(rows[2]["log_px_difference"]) == pytest.approx(1.12)
    assert float(rows[2]["log_px_published"]) == -93.16
    assert rows[1]["log_px"] == ""
    assert (rows[1]["runs"], rows[1]["diverged"], rows[1]["log_px_not_finite"]) == ("2", "1", "1")


HOSTILE = [
    "\\input{/etc/passwd}", "=HYPERLINK(1)", "<script>", "a|b_c*d`e", "^^5cinput{x}", "x\x1b[31m\ny", "{}", "%", "-2+3",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_cells_are_escaped_for_their_format(text):
    table = Table([["name", "value"], [Bold(text), "-1.5"]], notes=[text])
    written = {name: form(table) for name, form in FORMATS.items()}
    assert all("\x1b" not in one for one in written.values())
    body = "\n".join(line for line in written["latex"].splitlines() if not line.startswith("%"))
    assert "\\input" not in body
    assert "^^" not in body
    assert len(written["latex"].splitlines()) == 9
    assert "<" not in written["markdown"]
    row = written["markdown"].splitlines()[2]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    ((_, _), (name, number)) = csv.reader(io.StringIO(written["csv"]))
    assert name[0] not in "=+-@"
    assert number == "-1.5"


def test_plain_cells_are_left_alone():
    rows = [["space", "log p(x)"], ["S^10 in R^11", "-1.50 ± 0.25"]]
    assert as_text(Table(rows)).splitlines()[2] == "S^10 in R^11  -1.50 ± 0.25"
    assert FORMATS["markdown"](Table(rows)).splitlines()[2] == "| S^10 in R^11 | -1.50 ± 0.25 |"


WIDE = Table([["model", "a heading of words", "log p(x)"], ["vmf", "1", "-1.50 ± 0.25"], ["normal", "20", "-2.00"]])


@pytest.mark.parametrize(
    ("width", "head"),
    [
        (40, ["model   a heading of words      log p(x)"]),
        (39, ["               a", "         heading", "model   of words      log p(x)"]),
    ],
)
def test_headings_are_broken_where_the_table_is_too_wide(width, head):
    lines = fitted([WIDE], width).splitlines()
    assert max(map(len, lines)) <= width
    assert lines[: len(head)] == head


def test_table_of_few_rows_and_many_columns_is_turned():
    names = [f"metric{number}" for number in range(20)]
    table = Table([["model", *names], ["vmf", *"1" * 20], ["normal", *"2" * 20]], notes=["a note"])
    head, rule, first, *_, last, note = fitted([table], 40).splitlines()
    assert head.split() == ["model", "vmf", "normal"]
    assert set(rule) == {"-"}
    assert first.split() == ["metric0", "1", "2"]
    assert last.split() == ["metric19", "1", "2"]
    assert note == "a note"


def test_table_that_fits_in_no_way_is_cut_into_parts_with_numbered_rows():
    names = [f"metric{number}" for number in range(20)]
    rows = [[f"model{number}", *(str(number * 100) for _ in names)] for number in range(30)]
    rows[4][-1] = ""
    lines = fitted([Table([["model", *names], *rows])], 60).splitlines()
    assert max(map(len, lines)) <= 60
    parts = "\n".join(lines).split("\n\n")
    assert [word for part in parts for word in part.splitlines()[0].split() if word != "#"] == ["model", *names]
    assert all(part.splitlines()[2].split()[0] == "1" for part in parts)
    assert all(len(part.splitlines()) == 32 for part in parts)


def test_row_without_a_value_in_a_part_is_not_in_it():
    head = ["model", *(f"metric{number}" for number in range(9))]
    rows = [[f"m{number}", *["1"] * 4, *["1" if number == 7 else ""] * 5] for number in range(20)]
    last = fitted([Table([head, *rows])], 50).split("\n\n")[-1].splitlines()
    assert [line.split()[0] for line in last[2:]] == ["8"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path, comparison):
    table = write(comparison, "latex", "name")
    packages = re.search(r"\\usepackage{.*}", table)[0]
    lines = [r"\documentclass{article}", packages, r"\begin{document}", table, r"\end{document}"]
    (tmp_path / "table.tex").write_text("\n".join(lines))
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")

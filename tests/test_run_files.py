"""The scripts that make published tables: each runs, at tiny sizes, and ends in its table."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TINY = {
    "EPOCHS": "1", "WARMUP": "0", "SEEDS": "1", "SAMPLES": "5", "HIDDEN": "8", "DATASET": "digits", "FIGURES": "none"
}  # fmt: skip


@pytest.fixture
def script(tmp_path):
    """Run a script: `script("table1_svae.sh", "--dry_run", SEEDS="1 2")` is its standard output."""
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("scripts: there is no .venv to reuse; run_files/test.sh makes one")

    def run(name, *arguments, **environment):
        done = subprocess.run(
            ["bash", str(ROOT / "run_files" / name), *arguments],
            cwd=tmp_path, env={**os.environ, "LOG_DIR": str(tmp_path / "results"), **environment},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def dry_run(script, name, **environment):
    """The commands that a script would run."""
    return [line for line in script(name, "--dry_run", **environment).splitlines() if line.startswith("python ")]


def test_table_1_is_the_published_protocol(script):
    commands = dry_run(script, "table1_svae.sh")
    assert len(commands) == 2 * 5 * 10
    for part in ("-e 500", "-klw 100", "-bs 64", "-lls 500", "-d mnist"):
        assert all(part in command for command in commands)
    assert len(dry_run(script, "table1_svae.sh", SEEDS="1 2", DIMENSIONS="2")) == 4


def test_table_1_gives_the_start_of_the_concentration_to_spheres_alone(script):
    normal, vmf = dry_run(script, "table1_svae.sh", SEEDS="1", DIMENSIONS="40", KAPPA_START="1.7")
    assert "-n normal" in normal
    assert "--kappa_start" not in normal
    assert "-n vmf --kappa_start 1.7" in vmf


def test_reproduction_names_scripts_that_are_there():
    text = (ROOT / "run_files" / "reproduction.sh").read_text()
    for name in re.findall(r"run_files/(\w+\.sh)", text):
        assert (ROOT / "run_files" / name).exists()


def test_results_are_named_in_full_wherever_the_script_is_called(script):
    one = {"SEEDS": "1", "DIMENSIONS": "2"}
    for given, folder in (("", "results/table1_svae"), ("elsewhere", "elsewhere"), ("/elsewhere", "/elsewhere")):
        for command in dry_run(script, "table1_svae.sh", **one, LOG_DIR=given):
            assert f"-ld {ROOT / folder} " in f"{command} "


@pytest.mark.slow
def test_quickstart_ends_in_its_table_and_pictures(script, tmp_path):
    table, listed = script("quickstart.sh", EPOCHS="2").split(">> both models")[1].split(">> the pictures\n")
    assert "R^5" in table
    assert "S^5 in R^6" in table
    pictures = [Path(line) for line in listed.splitlines()]
    assert {path.name for path in pictures} >= {"samples.png", "learning_curves.png"}
    assert all(path.is_absolute() and path.is_file() and tmp_path in path.parents for path in pictures)


def test_product_spaces_cover_three_data_sets(script):
    assert len(dry_run(script, "product_spaces.sh")) == 4 * 3 * 3
    assert len(dry_run(script, "product_spaces.sh", DECOMPOSITIONS="auto:40", SEEDS="1")) == 8 * 3


@pytest.mark.slow
def test_table_1_ends_in_its_table(script):
    out = script("table1_svae.sh", **TINY, DIMENSIONS="2")
    table = out[out.index("all: data digits, z 2") :]
    for part in ("normal", "vmf", "against name=normal", "kNN, 100 labels"):
        assert part in table


@pytest.mark.slow
def test_product_spaces_end_in_their_table(script):
    out = script("product_spaces.sh", **TINY, DATASETS="digits", DECOMPOSITIONS="auto:4:1,4", SINGLE="s4")
    table = out[out.index("all: data digits") :]
    assert "s1,s1,s1,s1" in table
    assert "against z_dims=s4" in table


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "environment", "found"),
    [
        ("cifar10.sh", {"CHANNELS": "4"}, ["no_bias", "mse", "codes in use %"]),
        ("classifier.sh", {"DIMENSIONS": "2", "LABELS": "20"}, ["accuracy %", "kNN, 100 labels %"]),
        ("fixed_concentration.sh", {"KAPPAS": "5 9", "Z": "2"}, ["kappa", "R^2"]),
        ("gumbel_vq.sh", {}, ["straight_through", "perplexity", "log p(x, codes)"]),
        ("knn_probe.sh", {"DIMENSIONS": "2"}, ["kNN, 100 labels %", "kNN, 1000 labels %"]),
    ],
)
def test_script_ends_in_its_table(script, name, environment, found):
    out = script(name, **TINY, **environment)
    table = out[out.rindex("all: ") :]
    for word in " ".join(found).split():  # a narrow table breaks its headings
        assert word in table


@pytest.mark.slow
@pytest.mark.parametrize(
    ("claim", "environment", "found"),
    [
        ("concentration", {"KAPPAS": "5"}, ["score.kappas.0.1.fid", "score.kappas.100.sharpness"]),
        ("classes", {"KAPPAS": "5", "LENGTHS": "1"}, ["radius", "accuracy %"]),
        ("codes", {}, ["autoregressive", "label agreement %", "log p(x, codes)"]),
        ("bits", {}, ["gumbel", "FID", "reconstruction"]),
        ("labels", {}, ["1000", "diversity within classes", "accuracy %"]),
    ],
)
def test_claims_end_in_their_tables(script, claim, environment, found):
    out = script("claims.sh", claim, **TINY, SCORED="100", **environment)
    table = out[out.index(">> mean and standard deviation") :]
    for word in found:
        assert word in table

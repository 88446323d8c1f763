"""The command line: what is understood, what is refused, and with which line."""

import subprocess
import sys
from pathlib import Path

import pytest

from utils.config.command_line import parse
from utils.config.flags import UsageError

ROOT = Path(__file__).parents[3]


def words(line: str) -> list[str]:
    return line.split()


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("-n normal", "name", "normal"),
        ("--name vmf", "name", "vmf"),
        ("-dis powerspherical", "name", "powerspherical"),
        ("-zd 5,5", "name", "productspace"),
        ("-z 3", "z", 3),
        ("--z 3", "z", 3),
        ("--h 64,32", "h_dims", (64, 32)),
        ("-hd 64", "h_dims", (64,)),
        ("--h_dims=64,32", "h_dims", (64, 32)),
        ("-zd 4,4 -dis vmf", "z_dims", ("s4", "s4")),
        ("-n productspace -zd s4,4,e2", "z_dims", ("s4", "s4", "e2")),
        ("-n productspace -dis normal -zd 2,3", "z_dims", ("e2", "e3")),
        ("-b 0.5", "beta", 0.5),
        ("-b 2", "beta", 2.0),
        ("-e 7", "epochs", 7),
        ("-klw 0", "kl_warmup", 0),
        ("-klf 2", "kl_freeze", 2),
        ("-klt 1e1", "kl_target", 10.0),
        ("-cvm full -n normal", "covariance_matrix", "full"),
        ("-bnz", "binarize", True),
        ("-vll", "val_nll", True),
        ("-e 5 -e 7", "epochs", 7),
        ("--kappa 50", "kappa", 50.0),
        ("-lls 5000", "ll_sample", 5000),
    ],
)
def test_flag_fills_its_field(line, field, value):
    assert getattr(parse(words(line)), field) == value


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("-di vmf", ["-di", "unknown flag", "-dis"]),
        ("-zd5", ["-zd5", "unknown flag", "-zd"]),
        ("--epoch 3", ["--epoch", "unknown flag", "--epochs"]),
        ("--eopchs=3", ["--eopchs", "--epochs"]),
        ("vmf", ["vmf", "belongs to no flag", "did you mean -n vmf?"]),
        ("MNIST", ["MNIST", "did you mean -d mnist?"]),
        ("epochs 5", ["epochs", "did you mean --epochs?"]),
        ("-d MNIST", ["-d", "MNIST", "did you mean mnist?"]),
        ("-epochs 3", ["-epochs", "did you mean --epochs?"]),
        ("-e", ["-e", "missing", "whole numbers"]),
        ("-e -n vmf", ["-e", "missing", "-n"]),
        ("-e 2.5", ["-e", "2.5", "whole number"]),
        ("-e 1e3", ["-e", "1e3", "whole number"]),
        ("-e 0", ["-e", "0 is out of range", "from 1"]),
        ("-e -3", ["-e", "-3 is out of range"]),
        ("-lr nan", ["-lr", "nan", "finite"]),
        ("-lr inf", ["-lr", "inf", "finite"]),
        ("-lr 1e9999", ["-lr", "out of range"]),
        ("-lr 0", ["-lr", "above 0"]),
        ("-n vfm", ["-n", "vfm", "vmf"]),
        ("-n VMF", ["-n", "VMF", "vmf"]),
        ("-bnz=1", ["-bnz", "switch"]),
        ("-hd 256,,128", ["-hd", "256,,128"]),
        ("-hd 0", ["-hd", "out of range"]),
        ("-n vmf -dis normal", ["-dis normal", "-n vmf"]),
        ("-n normal -dis vmf", ["-dis vmf", "-n normal"]),
        ("-n vmf -zd 5,5", ["-zd 5,5", "productspace"]),
        ("-n productspace", ["productspace", "-zd"]),
        ("-n productspace -zd 5,5 -z 10", ["-z 10", "-zd"]),
        ("-zd 5,x", ["-zd", "x", "factor"]),
        ("-zd s0", ["-zd", "s0"]),
        ("-zd s4,e2 -dis normal", ["s4", "-dis normal"]),
        ("-n normal --kappa 5", ["--kappa", "sphere"]),
        ("-n normal --radius 2", ["--radius", "sphere"]),
        ("-n vmf -cvm full", ["-cvm full", "normal"]),
        ("-e 5 -bi 5", ["-bi 5", "below 5"]),
        ("-e 5 -vf 6", ["-vf 6", "-e 5"]),
        ("-la 2 -vf 3", ["-la 2", "-vf"]),
        ("-e 5 -klf 5", ["-klf 5", "-e"]),
        ("-en ../x", ["-en", "../x"]),
        ("-rs -1", ["-rs", "-1"]),
        ("-v 3", ["-v", "3"]),
    ],
)
def test_mistake_is_refused_in_one_line_that_names_it(line, parts):
    with pytest.raises(UsageError) as caught:
        parse(words(line))
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def test_mistake_exits_with_2_and_creates_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "run_models.py", "-n", "vfm", "-ld", "made"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_flag_and_imports_nothing_heavy():
    script = (
        "import sys; sys.argv=['run_models.py','--help']; import run_models\n"
        "try: run_models.main()\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'torch','torchvision','numpy','scipy','matplotlib','sklearn'} & set(sys.modules)\n"
        "print('HEAVY', heavy, 'CODE', code)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "HEAVY set() CODE 0" in done.stdout
    short = "-n -dis -z -zd -hd -et -dt -cvm -lf -b -e -klw -klf -klt -bi -la -mi -lr -bs -mr -lls -vll -vf -sf -pf -en"
    for spelling in f"{short} -ld -d -bnz -rs -v --h --h_dims --kappa --radius --device --data_dir".split():
        assert f" {spelling} " in done.stdout or f" {spelling}\n" in done.stdout or f"{spelling}," in done.stdout, (
            spelling
        )

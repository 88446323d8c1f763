"""The command line: what is understood, what is refused, and with which line."""

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hyperspherical_vae import __version__
from utils.config.command_line import parse, parse_options, parse_run, read_grid
from utils.config.flags import UsageError, flag

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
        ("--score", "score", 10_000),
        ("--score -v 0", "score", 10_000),
        ("--score 500", "score", 500),
        ("--score=500", "score", 500),
        ("-v 0", "score", None),
        ("--figures none", "figures", ("none",)),
        ("--figures latent samples", "figures", ("latent", "samples")),
        ("--figures latent,samples manifold", "figures", ("latent", "samples", "manifold")),
        ("-en a -en=c", "exp_name", "c"),
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
        ("-bnz=v", ["-bnz", "switch"]),
        ("-bnz=", ["-bnz", "switch"]),
        ("-bnzv", ["-bnzv", "unknown flag"]),
        ("-v1", ["-v1", "unknown flag"]),
        ("-e5", ["-e5", "unknown flag"]),
        ("--kappa_start 1", ["--kappa_start", "1.0 is out of range", "above 1", "or dim"]),
        ("--kappa_start dims", ["--kappa_start", "'dims'", "or dim"]),
        ("--kappa_start 5 --kappa 9", ["--kappa_start 5", "--kappa 9"]),
        ("--kappa_start 5 -n normal", ["--kappa_start 5", "vmf"]),
        ("-lr -1e-3", ["-lr", "-1e-3", "above 0"]),
        ("-lr -.5", ["-lr", "-0.5 is out of range"]),
        ("-lr=-1e-3", ["-lr", "-0.001 is out of range"]),
        ("-lr -inf", ["-lr", "missing before '-inf'"]),
        ("-- -n vmf", ["--", "unknown flag"]),
        ("-", ["-", "unknown flag"]),
        ("-en=", ["-en", "letters"]),
        ("--data_dir=", ["--data_dir", "not empty"]),
        ("--vers", ["--vers", "did you mean --version?"]),
        ("--figures", ["--figures", "missing"]),
        ("--figures a,,b", ["--figures", "''"]),
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
        ("-n normal --kappa 5", ["--kappa 5", "-n vmf or powerspherical", "-n is normal (R^10)"]),
        ("-n normal --radius 2", ["--radius 2", "-n vmf or powerspherical"]),
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


def test_words_of_a_grid_are_told_apart_from_flags():
    assert read_grid(words("-n vmf normal --radius=2 -bnz -rs 1 -1 -n powerspherical --figures a,b c")) == {
        "-n": ["powerspherical"], "--radius": ["2"], "-bnz": [], "-rs": ["1", "-1"], "--figures": ["a,b", "c"],
    }  # fmt: skip
    with pytest.raises(UsageError, match="vmf: a value that belongs to no flag"):
        read_grid(["vmf"])


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of some program."""

    by: tuple[str, ...] = flag("--by", str, "table", (), "columns", many="either")
    share: float = flag("--share", float, "table", 0.5, "a number", above=0, high=1)


def test_other_programs_take_words_between_their_flags():
    about = {"usage": "python other.py", "description": "Another program."}
    options, loose = parse_options(words("a b --share 1 c --by x,y z --share=.25 d"), Options, **about)
    assert options == Options(by=("x", "y", "z"), share=0.25)
    assert loose == ["a", "b", "c", "d"]
    with pytest.raises(UsageError, match="a: a value that belongs to no flag"):
        parse_options(["a"], Options, takes_words=False, **about)
    with pytest.raises(UsageError, match="-n: unknown flag"):
        parse_options(["-n", "vmf"], Options, **about)


@pytest.mark.parametrize("module", ["utils.results", "utils.report", "utils.sweep", "benchmarks.bench_distributions"])
def test_every_program_has_help(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: python -m {module}") or "bench_distributions.py" in done.stdout
    assert "--help" in done.stdout
    assert "Exit codes: 0 done" in done.stdout


def test_version(capsys):
    with pytest.raises(SystemExit) as end:
        parse(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"run_models.py {__version__}\n"


def test_help_begins_with_model_data_training_and_ends_with_examples(capsys):
    with pytest.raises(SystemExit):
        parse(["-n", "--help"])
    out = capsys.readouterr().out
    headings = re.findall(r"^([a-z].*):$", out, re.MULTILINE)
    assert headings[:3] == ["model", "data", "training"]
    assert headings[-1] == "examples"
    examples = re.findall(r"^  python run_models.py (.*)$", out[out.index("examples:") :], re.MULTILINE)
    assert len(examples) == 3
    assert out.rstrip().endswith(examples[-1])
    for line in examples:
        parse(shlex.split(line))
    with pytest.raises(UsageError, match="finished runs"):
        parse_run(shlex.split(examples[-1]))


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
        "code = run_models.main()\n"
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

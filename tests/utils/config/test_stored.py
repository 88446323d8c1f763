"""`--config`: what a run stored is run again, and flags beside it override."""

import json
from pathlib import Path

import pytest

from tests.faults.comparing import only_run
from tests.utils.fake_runs import finished
from utils.config.command_line import parse
from utils.config.flags import UsageError

GOLDEN = Path(__file__).parents[2] / "data" / "golden_run"


def stored(folder, line):
    return str(finished(folder, line) / "config.json")


@pytest.mark.parametrize(
    "line",
    [
        "-n vmf -z 2 --kappa 50 -d digits -e 7",
        "-n normal -z 3 -cvm full -hd 64,32 -lr 1e-5",
        "-zd s2,e3 -dis powerspherical --figures latent samples -pf 3",
        "-n vq --positions 5 --vq_prior autoregressive --vq_prior_epochs 2",
        "-d folder --data_dir faces --data_name mine --image_size 8,8 --grey",
        "-rs 7 --classifier --labels 20 -en name --probe",
    ],
)
def test_the_same_run_again(tmp_path, line):
    data = {"digest": "0"} if "folder" in line else None
    file = finished(tmp_path, line, data) / "config.json"
    assert parse(["--config", str(file)]) == parse(["-ld", str(tmp_path), *line.split()])


@pytest.mark.parametrize(
    ("line", "beside"),
    [
        ("-n vmf -z 2", "-e 9 -lr 0.01 -rs 3"),
        ("-n vmf -z 5", "-n normal"),
        ("-e 5", "-zd 2,e3"),
        ("-d digits", "-d mnist"),
        ("-n vq", "-et cnn -dt cnn"),
        ("-n normal -rs 3", "--seeds 4 -ld elsewhere"),
    ],
)
def test_flags_beside_override(tmp_path, line, beside):
    again = ["--config", stored(tmp_path, line)]
    expected = parse(["-ld", str(tmp_path), *line.split(), *beside.split()])
    assert parse([*again, *beside.split()]) == parse([*beside.split(), *again]) == expected


def test_what_was_meant_for_one_call_is_left_out(tmp_path):
    config = parse(["--config", stored(tmp_path, "-v 0 --overwrite")])
    assert (config.verbosity, config.overwrite) == (1, False)


def test_the_rules_of_version_1_are_not_those_of_today(tmp_path):
    said = []
    file = str(only_run(GOLDEN) / "config.json")
    config = parse(["--config", file, "-ld", str(tmp_path)], said.append)
    line = "-d digits -zd s2,e2 -hd 4 -klw 0 -lls 5 -bs 300 -e 2"
    assert config == parse(["-ld", str(tmp_path), *line.split()])
    (line,) = said
    assert "is of format 1; a new run follows the rules of format 2" in line
    parse(["--config", stored(tmp_path, "-z 2")], said.append)
    assert said == [line]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:200], ["is no JSON"]),
        (lambda text: "[1]", ["it holds no object"]),
        (lambda text: "[" * 100_000, ["is no JSON"]),
        (lambda text: "\udcff", ["is no JSON"]),
        (lambda text: text.replace('"lr": 0.001', '"lr": 0.002'), ["checksum", "override by flags"]),
        (lambda text: '{"learning_rate": 1}', ["'learning_rate'", "unknown field"]),
        (lambda text: '{"epochz": 1}', ["did you mean epochs?"]),
        (lambda text: '{"epochs": "many"}', ["epochs", "'many'", "allowed"]),
        (lambda text: '{"kappa": 5, "name": "normal"}', ["--kappa 5", "-n vmf"]),
        (lambda text: '{"format": 99}', ["99", "unknown"]),
    ],
)
def test_what_is_no_configuration_is_refused_in_one_line(tmp_path, change, words):
    file = Path(stored(tmp_path, "-z 2"))
    file.write_bytes(change(file.read_text()).encode(errors="surrogateescape"))
    with pytest.raises(UsageError) as error:
        parse(["--config", str(file)])
    assert "\n" not in str(error.value)
    for word in (f"--config {file}", *words):
        assert word in str(error.value)


def test_other_files_and_flags_are_refused(tmp_path):
    file = Path(stored(tmp_path, "-z 2"))
    for line, words in (
        (f"--config {file.parent}", "give the config.json of a run"),
        (f"--config {file.parent / 'nothing.json'}", "there is no such file"),
        (f"--config {file.with_name('summary.json')}", "unknown field"),
        (f"--config {file} --from {file.parent}", "--config: is for training, and --from trains nothing"),
        (f"--config {file} --kappas 3", "--kappas: is for finished runs"),
        (f"--config {file} --kappa 5 -n normal", "--kappa 5"),
    ):
        with pytest.raises(UsageError, match=words):
            parse(line.split())
    values = {name: value for name, value in json.loads(file.read_text()).items() if name not in ("run", "sha256")}
    file.write_text(json.dumps({**values, "z": 3}))
    assert parse(["--config", str(file)]).z == 3, "a file that was made by hand names no run"

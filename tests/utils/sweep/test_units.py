"""Grids, pairs and batch files."""

import pytest

from tests.utils.fake_runs import finished
from utils.config.flags import UsageError
from utils.sweep.units import build_units, read_batch_file


def commands(words, files=(), pairs=False):
    return [" ".join(unit.words) for unit in build_units(words.split(), files, pairs)]


def test_values_span_a_grid():
    units = build_units(["-n", "vmf", "normal", "-z", "2", "5", "-rs", "1", "2", "3", "-d", "digits"], [], False)
    assert len(units) == 12
    assert units[0].words == ("-n", "vmf", "-z", "2", "-rs", "1", "-d", "digits")
    assert units[-1].label == "-n normal -z 5 -rs 3"
    assert {(unit.config.name, unit.config.z, unit.config.rs) for unit in units} == {
        (name, z, rs) for name in ("vmf", "normal") for z in (2, 5) for rs in (1, 2, 3)
    }


def test_every_kind_of_flag_takes_several_values():
    assert len(commands("-hd 256,128 64 -b 0.5 1 --radius=2 -bnz")) == 4
    assert commands("-zd 4,4 2,2,2,2") == ["-zd 4,4", "-zd 2,2,2,2"]
    assert commands("-zd auto:4") == ["-zd 4", "-zd 2,2", "-zd 1,1,1,1"]


def test_pairs():
    assert commands("-z 2 5 -h 8 16 -rs 7".replace("-h", "-hd"), pairs=True) == [
        "-z 2 -hd 8 -rs 7",
        "-z 5 -hd 16 -rs 7",
    ]
    assert commands("-rs 7", pairs=True) == ["-rs 7"]


def test_same_run_is_there_once_and_other_k_is_another_result():
    assert len(commands("-z 5 5 -rs 1 1 2")) == 2
    assert commands("-zd 2,2 s2,s2") == ["-zd 2,2"]
    assert len(commands("-lls 5 500")) == 2


def test_no_command_is_lost_to_a_backslash_in_a_comment_or_at_the_end(tmp_path):
    file = tmp_path / "runs.sh"
    lines = ["# these \\", "run_models.py -z 2 # don't \\", "run_models.py \\", "-z 3 # c", "run_models.py -z 4 \\"]
    file.write_text("\n".join(lines))
    assert commands("", [file]) == ["-z 2", "-z 3", "-z 4"]


def test_a_comment_begins_a_word(tmp_path):
    file = tmp_path / "runs.sh"
    file.write_text("run_models.py -ld a#b -z 2\nrun_models.py -ld 'it is #1' -z 2#\nrun_models.py -ld c\\ #d -z 2")
    assert [words for _, words in read_batch_file(file)] == [
        ("-ld", "a#b", "-z", "2"),
        ("-ld", "it is #1", "-z", "2#"),
        ("-ld", "c #d", "-z", "2"),
    ]


@pytest.mark.parametrize(
    ("words", "pairs", "parts"),
    [
        ("-n vmf normal --kappa 5", False, ["-n normal --kappa 5", "-n vmf or powerspherical"]),
        ("-n vfm vmf", False, ["-n", "vfm", "did you mean vmf"]),
        ("-z 2 x", False, ["-z", "'x'"]),
        ("-e 5 10", False, ["-e 5 and -e 10"]),
        ("-z 2 5 -rs 1 2 3", True, ["--zip", "-z has 2", "-rs has 3"]),
        ("-zd auto:0", False, ["-zd auto:0"]),
        ("--list_datasets", False, ["--list_datasets"]),
        ("--seeds 3", False, ["--seeds 3", "-rs 1 2 3"]),
        ("--overwrite", False, ["--overwrite", "-ld"]),
    ],
)
def test_mistake_is_refused_before_anything_runs(words, pairs, parts):
    with pytest.raises(UsageError) as caught:
        commands(words, pairs=pairs)
    for part in parts:
        assert part in str(caught.value)


def batch(tmp_path, text):
    path = tmp_path / "batch.sh"
    path.write_text(text)
    return path


def test_batch_file_is_read_as_it_is(tmp_path):
    path = batch(
        tmp_path,
        '#!/usr/bin/env bash\nset -euo pipefail\ncd "$(dirname "$0")/.."\n\n# a comment\n'
        "python run_models.py -n vmf -z 5  # the first\n"
        "python3 ./run_models.py -n normal \\\n    -z 5 &\nwait\n"
        "run_models.py -en 'a_b' -z 3\n",
    )
    assert [words for _, words in read_batch_file(path)] == [
        ("-n", "vmf", "-z", "5"), ("-n", "normal", "-z", "5"), ("-en", "a_b", "-z", "3"),
    ]  # fmt: skip
    units = build_units(["-rs", "1", "2", "-z", "7"], [path], False)
    assert len(units) == 6
    assert {unit.config.z for unit in units} == {7}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["holds no line"]),
        ("python run_models.py -z $Z\n", ["line 1", "$Z"]),
        ("for z in 1 2; do\npython run_models.py -z 2\ndone\n", ["line 1", "for z"]),
        ("python run_models.py -z 2 | tee log\n", ["line 1", "tee"]),
        ("python run_models.py -z 2\npython run_models.py -z x\n", ["line 2", "'x'"]),
        ("python run_models.py -z '2\n", ["line 1", "quotation"]),
    ],
)
def test_batch_line_that_needs_a_shell_is_named(tmp_path, text, parts):
    path = batch(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        build_units([], [path], False)
    assert str(path) in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


def test_missing_batch_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        read_batch_file(tmp_path / "nowhere.sh")


def test_state_tells_how_far_a_run_is(tmp_path):
    (unit,) = build_units(["-ld", str(tmp_path), "-d", "digits", "-z", "3"], [], False)
    assert unit.state == "new"
    run = finished(tmp_path, "-d digits -z 3")
    assert unit.state == "complete"
    (run / "summary.json").unlink()
    (run / "checkpoints" / "last.pt").touch()
    (run / "metrics.jsonl").write_text('{"epoch": 7, "train": {}, "val": null, "kl_weight": 1.0}\n')
    assert unit.state == "at epoch 7 of 200"

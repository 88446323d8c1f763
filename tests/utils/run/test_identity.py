"""What makes two runs different ones: settings and data, and nothing else."""

import dataclasses

import pytest

from utils.config.command_line import parse_run
from utils.config.flags import UsageError
from utils.run.identity import Identity, changes

LONG = "productspace-s1.s2.s3.s4.s5.s6.s7.s8.s9.s10.s11.s12.s13.s14"
CONTENTS = {"digest": "ab" * 32, "splits": {}}


def run_of(line, data=None):
    return Identity(parse_run(line.split()), data)


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("-n normal", "-dis normal -z 10"),
        ("-zd 5,5", "-n productspace -zd s5,s5 -dis vmf"),
        ("-n vmf", "-e 300 -lls 10 -v 0 -pf 7 -sf 3 -ld elsewhere --data_dir d -en x"),
        ("-n vq", "-n vq --probe"),
    ],
)
def test_two_ways_of_saying_the_same_are_one_run(line, same):
    assert run_of(line).hash == run_of(same).hash


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-n vmf", "-rs 2"), ("-n vmf", "-z 9"), ("-n vmf", "-b 2"), ("-n vmf", "-bs 64"), ("-n vmf", "-lr 0.01"),
        ("-n vmf", "-klw 3"), ("-n vmf", "-d digits"), ("-n vmf", "-bnz"), ("-n vmf", "--kappa 9"), ("-n vmf", "-vf 2"),
        ("-n vq", "--codes 8"), ("-n vq", "--positions 4"), ("-n vq", "--commitment 1"),
        ("-n vq", "--vq_prior independent"), ("-n vq", "--classifier"), ("-n vq", "--no_bias"),
    ],
)  # fmt: skip
def test_what_defines_a_run_tells_runs_apart(line, words):
    assert run_of(line).hash != run_of(f"{line} {words}").hash


def test_names_of_known_runs_never_change():
    # Runs are found by them; a new flag with a default must not move them.
    run = run_of("-n vmf -z 10 -d mnist -e 20 -klw 10 -rs 1")
    assert run.of_version_1.hash == "b6ac7ec3"
    assert str(run.of_version_1.folder) == "mnist/vmf__s1__b6ac7ec3"
    assert str(run.folder) == "mnist/vmf-z10__s1__e7e6957f"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("-n normal -z 3", "normal-z3"),
        ("-zd s4,4,e2", "productspace-s4.s4.e2"),
        (f"-zd {','.join(['s1'] * 64)},e2", "productspace-s1x64.e2"),
        (f"-zd {','.join(f's{d}' for d in range(1, 60))}", LONG),
        ("-n gumbel", "gumbel-20x10"),
        ("-n vq", "vq-9x64"),
        ("-n vq -et cnn", "vq-64"),
        ("-n vq -en mine", "mine"),
    ],
)
def test_folder_is_named_by_the_latent_space(line, name):
    run = run_of(f"{line} -d digits -rs 3")
    assert run.folder.parts == ("digits", f"{name}__s3__{run.hash}")


@pytest.mark.parametrize("line", ["-d folder --data_dir my/shapes", "-d digits --allow_unverified"])
def test_data_of_unknown_content_are_part_of_the_run(line):
    other = {**CONTENTS, "digest": "cd" * 32}
    assert run_of(line, CONTENTS).hash != run_of(line, other).hash
    assert run_of(line, CONTENTS).hash == run_of(f"{line} -e 3", dict(CONTENTS)).hash
    assert run_of(line, CONTENTS).differs_in_data(run_of(line, other))
    assert not run_of(line, CONTENTS).differs_in_data(run_of(line, CONTENTS))
    assert not run_of(line, CONTENTS).differs_in_data(run_of(f"{line} -rs 2", other))


def test_where_own_data_lie_makes_no_difference_but_their_name_does():
    first, moved = run_of("-d folder --data_dir a/shapes", CONTENTS), run_of("-d folder --data_dir b/shapes/", CONTENTS)
    assert first.folder == moved.folder
    assert first.folder.parts[0] == "shapes"
    assert run_of("-d array --data_dir x/points.npz", CONTENTS).folder.parts[0] == "points"
    assert run_of("-d folder --data_dir a/b --data_name mine", CONTENTS).folder.parts[0] == "mine"
    assert run_of("-d folder --data_dir /", CONTENTS).folder.parts[0] == "own"


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("-d folder --data_name mnist", "--data_name mnist"),
        ("-d folder --data_dir x/mnist", "--data_dir x/mnist"),
        ("-d digits --data_name mine", "is for your own data"),
    ],
)
def test_names_of_built_in_data_sets_are_not_to_be_had(line, part):
    with pytest.raises(UsageError, match=part):
        run_of(line)


def test_changes_are_counted_by_split_and_class():
    def split(digest, **classes):
        return {"digest": digest, "examples": sum(classes.values()), "classes": classes}

    old = {"splits": {"train": split("1", a=10, b=22), "val": split("2", a=4), "test": split("3", a=4)}}
    new = {"splits": {"train": split("4", a=18, b=22), "val": split("5", a=4), "test": split("3", a=4)}}
    assert changes(old, new) == "train 32 -> 40 (class a 10 -> 18), val: 4 as before, of other content"


def test_folder_that_was_copied_or_moved_aside_is_known_by_its_name(tmp_path):
    run = run_of("-d digits")
    name = run.folder.name
    assert run.is_named_by(tmp_path / name)
    assert run.is_named_by(tmp_path / f"{name}.old2")
    assert not run.is_named_by(tmp_path / f"{name}_copy")
    assert not dataclasses.replace(run, config=parse_run(["-d", "digits", "-rs", "2"])).is_named_by(tmp_path / name)

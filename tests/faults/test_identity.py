"""A result says what it is a result of: data that change, files of other runs, edited copies, folders taken away."""

import collections
import json
import os
import random
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import run_models as program
from tests.faults import processes
from tests.faults.comparing import only_run
from tests.faults.conftest import words
from tests.faults.test_together import ENDLESS
from utils import report, results
from utils.run.folder import RunDir
from utils.run.stamped import read

VMF = "-d digits -n vmf -z 2 -e 2 -klw 0 -lls 4 -hd 8 -bs 500"
VQ = "-d digits -n vq --codes 8 --positions 2 -hd 8 -e 2 -klw 0 -bs 500 --vq_prior independent"
FOLDER = "-n normal -z 2 -e 2 -klw 0 -lls 2 -hd 8 -d folder --image_size 8,8 --grey --figures none"


def draw(folder, counts, seed=0):
    """A folder of class folders with so many random images each."""
    generator = np.random.default_rng(seed)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            image = Image.fromarray(generator.integers(0, 256, (8, 8), np.uint8))
            image.save(folder / name / f"{seed}_{number}.png")
    return folder


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_changed_data_are_another_run_said_in_one_line(run_models, tmp_path, capfd):
    data = draw(tmp_path / "shapes", {"a": 20, "b": 20})
    assert run_models(f"{FOLDER} --data_dir {data}").returncode == 0
    first = only_run(tmp_path / "results", "shapes")
    before = files_of(first)
    assert "complete already" in run_models(f"{FOLDER} --data_dir {data}").stdout
    draw(data, {"a": 10}, seed=1)
    for again in (f"{FOLDER} --data_dir {data} --seeds 2", f"{FOLDER.replace('-e 2', '-e 3')} --data_dir {data}"):
        done = run_models(again)
        assert done.returncode == 0, done.stderr
        if "--seeds" in again:
            said = re.findall(r"the data changed since .*", done.stdout)
            assert len(said) == 1
            assert re.search(rf"{first}: train \d+ -> \d+ \(class a \d+ -> \d+\), .*this is another run", said[0])
    assert files_of(first) == before
    # Three runs on the changed data, one on the old ones: no row is a mean over both.
    assert results.main([str(tmp_path / "results")]) == 0
    table = capfd.readouterr().out
    assert len(set(re.findall(r"shapes \([0-9a-f]{6}\)", table))) == 2
    code = program.main(["--from", str(first), "--figures", "samples"])
    assert (code, "the data changed since the run was made" in capfd.readouterr().err) == (2, True)


def test_own_data_of_two_names_are_two_rows_and_have_them_in_the_report(run_models, tmp_path, capfd):
    for seed, name in enumerate(("shapes", "shapes2")):
        data = draw(tmp_path / name, {"a": 20, "b": 20}, seed)
        assert run_models(f"{FOLDER} --data_dir {data}").returncode == 0
    data = draw(tmp_path / "pictures", {"a": 20, "b": 20}, 2)
    assert run_models(f"{FOLDER} --data_dir {data} --data_name mine").returncode == 0
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["mine", "shapes", "shapes2"]
    for by in ([], ["--by", "name"]):
        assert results.main([str(tmp_path / "results"), *by]) == 0
        rows = [line.split()[0] for line in capfd.readouterr().out.splitlines() if line]
        assert sorted(row for row in rows if row in ("shapes", "shapes2", "mine")) == ["mine", "shapes", "shapes2"]
    assert report.main([str(tmp_path / "results")]) == 0
    assert "normal on R^2, mine, seed 1" in (tmp_path / "results" / "report.html").read_text().replace("&#x27;", "'")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two finished runs of each line that differ in their seed, with every kind of file."""
    made = {}
    for line in (VMF, VQ):
        folder = tmp_path_factory.mktemp("pair")
        done = processes.run([*words(folder, line), "--seeds", "2"], folder)
        assert done.returncode == 0, done.stderr
        made[line] = sorted((folder / "results" / "digits").iterdir())
        for run in map(RunDir.at, made[line]):
            with run:
                last = run.load("last")
                run.save("log_px", {"key": {}, "part": {}})
                run.save("diverged", {"epoch": 1})
                run.save("stopped", {**last, "progress": {**last["progress"], "step": 1}})
    return made


def copied(pairs, line, tmp_path):
    shutil.rmtree(tmp_path / "results", ignore_errors=True)
    shutil.copytree(pairs[line][0].parents[1], tmp_path / "results")
    return sorted((tmp_path / "results" / "digits").iterdir())


def stamped_files(run):
    kinds = (".json", ".pt", ".npz")
    return [path.relative_to(run) for path in sorted(run.rglob("*")) if path.suffix in kinds]


READERS = {
    "repeat": lambda run, line: program.main(["-ld", str(run.parents[1]), *line.split()]),
    "more epochs": lambda run, line: program.main(["-ld", str(run.parents[1]), *line.replace("-e 2", "-e 3").split()]),
    "other K": lambda run, line: program.main(["-ld", str(run.parents[1]), *line.split(), "-lls", "3"]),
    "--from": lambda run, line: program.main(["--from", str(run), "-lls", "5", "-v", "0"]),
    "results": lambda run, line: results.main([str(run)]),
    "report": lambda run, line: report.main([str(run)]),
}


def told(out):
    """What a reader prints but for times and places."""
    return re.sub(r"seconds +\d+|/\S+|\d+ s left|\d+ runs?:.*", "", out)


@pytest.fixture
def undisturbed_outputs(pairs, tmp_path, capfd, run_models):
    """What each reader prints of the first run of each pair."""
    outputs = {}
    for line in pairs:
        for name, reader in READERS.items():
            run, _ = copied(pairs, line, tmp_path)
            capfd.readouterr()
            assert reader(run, line) == 0, name
            outputs[line, name] = told(capfd.readouterr().out)
    return outputs


def test_file_of_another_run_is_refused_and_left_or_not_needed(pairs, tmp_path, capfd, undisturbed_outputs):
    outcomes = collections.Counter()
    for line, (first, _) in pairs.items():
        for number, name in enumerate(stamped_files(first)):
            for which in ("repeat", "results", ("more epochs", "other K", "--from")[number % 3]):
                reader = READERS[which]
                run, other = copied(pairs, line, tmp_path)
                shutil.copy(other / name, run / name)
                foreign = (run / name).read_bytes()
                capfd.readouterr()
                code = reader(run, line)
                out, err = capfd.readouterr()
                assert "Traceback" not in err
                assert (run / name).read_bytes() == foreign, (line, name, which)
                if code == 0 and "left out" not in err:
                    assert told(out) == undisturbed_outputs[line, which], (line, name, which)
                    outcomes["not needed"] += 1
                else:
                    assert len(err.splitlines()) <= 2, err
                    assert f"{name}: is of another run" in err, (line, name, which, err)
                    outcomes["refused"] += 1
    print(f"swaps: {dict(outcomes)}")
    assert outcomes["refused"] > outcomes["not needed"] / 3


def test_changed_byte_is_noticed_or_makes_no_difference(pairs, tmp_path, capfd, undisturbed_outputs):
    generator, outcomes = random.Random(0), collections.Counter()
    for number in range(30):
        line = generator.choice(list(pairs))
        run, _ = copied(pairs, line, tmp_path)
        path = run / generator.choice(stamped_files(run))
        content = bytearray(path.read_bytes())
        content[generator.randrange(len(content))] ^= generator.randrange(1, 256)
        path.write_bytes(content)
        which = list(READERS)[number % len(READERS)]
        capfd.readouterr()
        code = READERS[which](run, line)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        if code == 0 and not err:
            shown = told(out)
            assert shown.endswith(undisturbed_outputs[line, which][-200:]), (path, which)
            outcomes["same"] += 1
        else:
            assert len(err.splitlines()) <= 2
            outcomes["said"] += 1
    print(f"changed bytes: {dict(outcomes)}")
    assert set(outcomes) == {"same", "said"}


def test_copied_and_edited_run_is_no_second_seed(pairs, tmp_path, capfd):
    run, _ = copied(pairs, VMF, tmp_path)
    copy = shutil.copytree(run, run.with_name(run.name.replace("__s1__", "__s3__")))
    assert results.main([str(tmp_path / "results")]) == 0
    out, _ = capfd.readouterr()
    assert "counted once" in out
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"rs": 1', '"rs": 3'))
    for reader in (results, report):
        assert reader.main([str(tmp_path / "results")]) == 0
        assert f"left out: {path}: is damaged" in capfd.readouterr().err
    shutil.rmtree(copy)
    copy = shutil.copytree(run, run.with_name("my_copy"))
    assert results.main([str(tmp_path / "results")]) == 0
    assert f"left out: {copy}/config.json: is of another run than the folder's name says" in capfd.readouterr().err


def test_every_checkpoint_holds_the_digest_of_the_data(pairs):
    run = RunDir.at(pairs[VMF][0])
    digest = read(run.path / "config.json", run.identity.stamp)["data"]["digest"]
    assert run.identity.stamp["data"] == digest
    for name in ("last", "best"):
        assert read(run.checkpoint(name), {**run.identity.stamp, "data": digest})


@pytest.mark.parametrize("replaced", [False, True])
def test_run_whose_folder_is_taken_away_stops_with_one_line(tmp_path, replaced):
    first = processes.start(words(tmp_path, ENDLESS), tmp_path)
    while not (found := list(tmp_path.glob("results/digits/*/metrics.jsonl"))):
        assert first.process.is_alive()
    run = found[0].parent
    run.rename(tmp_path / "taken")
    if replaced:
        shutil.copytree(tmp_path / "taken", run)
    before = files_of(run) if replaced else {}
    done = first.wait(30)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{run}: the folder was deleted or replaced; this run stops" in done.stderr
    assert files_of(run) == before
    assert replaced or not os.path.exists(run)


def test_environment_says_the_commit(pairs):
    assert re.fullmatch(r"[0-9a-f]{40}\+?", json.loads((pairs[VMF][0] / "env.json").read_text())["commit"] or "0" * 40)

"""Looking again at finished runs: `--from`, through the command line."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.utils.small_data import load
from utils.config.command_line import parse
from utils.config.flags import UsageError
from utils.config.request import Revisit
from utils.run.folder import RunDir

SMALL = "-d digits -e 2 -klw 0 -lls 5 -hd 8"


@pytest.fixture
def finished(run_models, tmp_path):
    """A finished run: its folder."""

    def make(line):
        before = set(tmp_path.glob("results/digits/*"))
        assert run_models(f"{SMALL} {line}").returncode == 0
        (run,) = set(tmp_path.glob("results/digits/*")) - before
        return run

    return make


@pytest.fixture
def look(run_models):
    """Give words to the program after `--from`, with every figure there."""
    import run_models as program

    class Look:
        def __call__(self, line, capfd):
            capfd.readouterr()
            code = program.main(["--from", *line.split()])
            return code, *capfd.readouterr()

    return Look()


def figures(run):
    return {path.name for path in (run / "figures").iterdir()}


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("--from a", "runs", ("a",)),
        ("--from a b --pdf", "runs", ("a", "b")),
        ("--from=a", "runs", ("a",)),
        ("--from a --figures latent samples", "figures", ("latent", "samples")),
        ("--figures latent --from a", "figures", ("latent",)),
        ("--from a --kappas 0.1,1,5,15", "kappas", (0.1, 1.0, 5.0, 15.0)),
        ("--from a -lls 50", "ll_sample", 50),
        ("--from a --generate 3 --label 7", "label", "7"),
        ("--from a --generate 3 -rs 0", "rs", 0),
        ("--from a -v 0", "verbosity", 0),
        ("--from a --score", "score", 10_000),
        ("--score 500 --from a", "score", 500),
        ("--from a --score -v 0", "score", 10_000),
        ("--from a --generate 3 --sample_temperature 0.5", "sample_temperature", 0.5),
    ],
)
def test_words_fill_the_request(line, field, value):
    request = parse(line.split())
    assert isinstance(request, Revisit)
    assert getattr(request, field) == value


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--from", ["--from", "missing"]),
        ("--from --pdf", ["--from", "missing", "--pdf"]),
        ("--from a a", ["--from", "a", "twice"]),
        ("--from a -e 5", ["-e", "training", "--figures"]),
        ("--from a -n vmf", ["-n", "training"]),
        ("--from a --kappas 1,,2", ["--kappas", "1,,2"]),
        ("--from a --kappas nan", ["--kappas", "nan"]),
        ("--from a --kappas -1", ["--kappas", "out of range"]),
        ("--from a --kappas 2,1,1.0000001", ["--kappas", "1 is named twice"]),
        ("--from a --generate 0", ["--generate", "out of range"]),
        ("--from a --label 3", ["--label 3", "--generate"]),
        ("--from a -rs 3", ["-rs 3", "--generate", "--score"]),
        ("--from a --sample_temperature 2", ["--sample_temperature 2", "--generate"]),
        ("--from a --score 5", ["--score", "out of range"]),
        ("--from a --figure latent", ["--figure", "--figures"]),
        ("--generate 5 -n vmf", ["--generate", "--from"]),
    ],
)
def test_mistakes_are_one_line(line, parts):
    with pytest.raises(UsageError) as error:
        parse(line.split())
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_what_is_asked_is_what_is_done():
    def asked(line):
        request = parse(f"--from {line}".split())
        return request.draws, request.compares

    assert asked("a") == (True, False)
    assert asked("a b") == (True, True)
    assert asked("a b --pdf") == (True, True)
    assert asked("a b --figures samples") == (True, False)
    assert asked("a -lls 5") == (False, False)
    assert asked("a --generate 5") == (False, False)
    assert asked("a --score") == asked("a b --score") == (False, False)
    assert asked("a --kappas 1") == asked("a b --kappas 1") == (True, False)
    assert asked("a --generate 5 --kappas 1") == asked("a --score --kappas 1") == (False, False)
    assert asked("a --score --figures samples") == (True, False)
    assert asked("a --export --figures none") == asked("a --figures none --pdf") == (False, False)


def test_a_run_is_drawn_again_without_being_trained(finished, look, capfd):
    run = finished("-n vmf -z 2")
    before = {path: path.read_bytes() for path in run.rglob("*.*") if "figures" not in path.parts}
    code, out, err = look(f"{run} --pdf", capfd)
    assert (code, err) == (0, "")
    assert {"latent.png", "latent.pdf", "manifold.png", "concentration.png", "log_px.png"} <= figures(run)
    assert str(run / "figures" / "latent.png") in out
    assert "not drawn" not in out
    assert {path: path.read_bytes() for path in run.rglob("*.*") if "figures" not in path.parts} == before


def test_concentrations_alone_draw_that_figure_only(finished, look, capfd):
    run = finished("-n vmf -z 2")
    before = {path: path.stat().st_mtime_ns for path in (run / "figures").iterdir()}
    code, out, err = look(f"{run} --kappas 1,20", capfd)
    assert (code, out, err) == (0, f"{run / 'figures' / 'concentration.png'}\n", "")
    (run / "figures" / "concentration.png").unlink()
    assert {path: path.stat().st_mtime_ns for path in (run / "figures").iterdir()} == before
    code, _, err = look(f"{run} --kappas 1,20 --figures latent concentration", capfd)
    assert (code, err) == (0, "")
    assert figures(run) - {path.name for path in before} == {"latent.png", "concentration.png"}


def test_a_moved_run_is_drawn_where_it_is(finished, look, capfd, tmp_path):
    run = finished("-n normal -z 2")
    run = shutil.move(run, tmp_path / "moved" / run.name)
    shutil.rmtree(tmp_path / "results")
    code, _, err = look(f"{run} --figures samples", capfd)
    assert (code, err) == (0, "")
    assert not (tmp_path / "results").exists()


def test_new_k_is_written_beside_the_old_result_and_kept(finished, look, capfd):
    run = finished("-n normal -z 2")
    old = (run / "summary.json").read_bytes()
    code, out, err = look(f"{run} -lls 30", capfd)
    assert (code, err) == (0, "")
    assert "(K=30)" in out
    assert out.splitlines()[-1] == str(run / "summary_k30.json")
    assert (run / "summary.json").read_bytes() == old
    summary = json.loads((run / "summary_k30.json").read_text())
    k, values = RunDir.at(run).log_px(summary["best_epoch"])
    assert k == 30
    assert values.mean() == pytest.approx(summary["test"]["log_px"])
    written = (run / "summary_k30.json").stat().st_mtime_ns
    assert "(K=30)" in look(f"{run} -lls 30", capfd)[1]
    assert (run / "summary_k30.json").stat().st_mtime_ns == written


def test_new_k_equals_that_of_the_training_command(finished, run_models, look, capfd):
    run = finished("-n vmf -z 2")
    assert look(f"{run} -lls 30 -v 0", capfd)[0] == 0
    first = json.loads((run / "summary_k30.json").read_text())
    (run / "summary_k30.json").unlink()
    assert run_models(f"{SMALL} -n vmf -z 2 -lls 30").returncode == 0
    assert json.loads((run / "summary_k30.json").read_text()) == first


def test_generated_images_have_the_size_of_the_data_and_follow_the_seed(finished, look, capfd):
    run = finished("-n vmf -z 2")

    def generated(line, stem="generated"):
        code, _, err = look(f"{run} {line}", capfd)
        assert (code, err) == (0, "")
        return [path.read_bytes() for path in sorted((run / "figures").glob(f"{stem}_[0-9]*.png"))]

    first = generated("--generate 12")
    assert len(first) == 12
    assert np.asarray(Image.open(run / "figures" / "generated_0001.png")).shape[:2] == (8, 8)
    assert generated("--generate 12") == first
    assert generated("--generate 12 -rs 9") != first
    assert len(generated("--generate 3")) == 3
    assert len(generated("--generate 4 --label 7", "generated_label7")) == 4
    assert len(generated("--generate 3")) == 3, "images of a class must not replace the others"


def test_images_of_all_classes_are_a_data_set(finished, look, capfd):
    run = finished("-n vmf -z 2 --classifier -e 30")
    code, _, err = look(f"{run} --generate 3 --label all", capfd)
    assert (code, err) == (0, "")
    folder = run / "figures" / "generated"
    assert sorted(path.name for path in folder.iterdir()) == list("0123456789")
    data = load("folder", folder, image_size=(8, 8), grey=True)
    assert (data.shape, data.classes, data.class_names) == ((1, 8, 8), 10, tuple("0123456789"))
    of_class = (folder / "7" / "image_0002.png").read_bytes()
    assert look(f"{run} --generate 3 --label 7", capfd)[0] == 0
    assert (run / "figures" / "generated_label7_0002.png").read_bytes() == of_class
    assert look(f"{run} --generate 2 --label all", capfd)[0] == 0
    assert len(list(folder.rglob("*.png"))) == 20, "earlier ones are replaced"


def test_images_are_generated_at_each_concentration_and_temperature(finished, look, capfd):
    sphere, flat = finished("-n vmf -z 2"), finished("-n normal -z 2")

    def generated(run, line):
        code, _, err = look(f"{run} --generate 4 {line}", capfd)
        assert (code, err) == (0, "")
        return {path.relative_to(run / "figures").as_posix(): path.read_bytes() for path in run.rglob("generated*.png")}

    found = generated(sphere, "--kappas 0.5,1000 --label 3")
    assert set(found) == {f"generated_kappa{k}_label3_000{n}.png" for k in ("0.5", "1000") for n in range(1, 5)}
    assert len(set(found.values())) == 8
    assert generated(flat, "") != generated(flat, "--sample_temperature 3")
    almost_one = generated(flat, "--sample_temperature 0.000001")
    assert len(set(almost_one.values())) == 1, "all are the mean of the prior"


def test_samples_are_scored_and_stand_in_the_result(finished, look, capfd, monkeypatch):
    monkeypatch.setattr("utils.measure.judge.STEPS", 30)
    run = finished("-n vmf -z 2")
    before = json.loads((run / "summary.json").read_text())
    code, out, err = look(f"{run} --score 200 --kappas 0.5,100", capfd)
    assert (code, err) == (0, "")
    assert re.search(r"label agreement % +[0-9.]+ ± [0-9.]+ \(real: [0-9.]+ ± [0-9.]+\)", out)
    assert re.search(r"around test images +kappa 0.5 +kappa 100 +real", out)
    after = json.loads((run / "summary.json").read_text())
    score = after["score"]
    assert after["test"] == before["test"]
    assert (score["n"], score["real"]["n"], list(score["kappas"])) == (200, 200, ["0.5", "100"])
    assert (run.parent / score["judge"]).exists()
    confusions = RunDir.at(run).read("confusions.npz")
    assert {name: counts.sum() for name, counts in confusions.items()} == {
        "samples": 200, "kappa 0.5": 200, "kappa 100": 200,
    }  # fmt: skip
    assert look(f"{run} --score 200", capfd)[0] == 0
    again = json.loads((run / "summary.json").read_text())["score"]
    assert again == {**score, "kappas": {}}, "the seed fixes the samples"
    assert look(f"{run} --score 200 -rs 9 -v 0", capfd)[0] == 0
    assert json.loads((run / "summary.json").read_text())["score"]["fid"] != score["fid"]


def test_score_of_a_run_is_that_of_looking_again(finished, run_models, look, capfd, monkeypatch):
    monkeypatch.setattr("utils.measure.judge.STEPS", 30)
    run = finished("-n normal -z 2")
    assert look(f"{run} --score 150", capfd)[0] == 0
    score = json.loads((run / "summary.json").read_text())["score"]
    (run / "summary.json").unlink()
    assert run_models(f"{SMALL} -n normal -z 2 --score 150").returncode == 0
    assert json.loads((run / "summary.json").read_text())["score"] == score
    written = (run / "summary.json").stat().st_mtime_ns
    assert "label agreement" in run_models(f"{SMALL} -n normal -z 2 --score 150").stdout
    assert (run / "summary.json").stat().st_mtime_ns == written
    assert run_models(f"{SMALL} -n normal -z 2 --score 160").returncode == 0
    assert json.loads((run / "summary.json").read_text())["score"]["n"] == 160


def test_several_runs_are_put_side_by_side(finished, look, capfd):
    first, second = finished("-n vmf -z 2"), finished("-n normal -z 2")
    before = figures(first)
    code, out, err = look(f"{first} {second}", capfd)
    assert (code, err) == (0, "")
    assert figures(first) - before == {"side_by_side.png"}
    assert "side_by_side.png" in out
    code, out, _ = look(f"{first} {second} --figures latent", capfd)
    assert code == 0
    assert "latent.png" in figures(first) & figures(second)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("--figures latnt", ["latnt", "did you mean latent?"]),
        (
            "--figures manifold aggregate",
            ["'aggregate' is none of learning_curves", "did you mean aggregate_posterior?"],
        ),
        ("--figures confusion", ["--figures confusion", "no classifier", "it has learning_curves"]),
        ("--figures kappa", ["--figures kappa", "no sphere"]),
        ("--kappas 5", ["--kappas", "no sphere"]),
        ("--score --kappas 5", ["--kappas", "no sphere"]),
        ("--generate 2 --label 10", ["--label 10", "0 to 9"]),
        ("--generate 2 --label cat", ["--label cat", "0 to 9"]),
        (f"--generate 2 --label {'1' * 5000}", ["--label '1111", "5,002 characters", "0 to 9"]),
    ],
)
def test_what_the_run_lacks_is_one_line_and_writes_nothing(finished, look, capfd, line, parts):
    run = finished("-n normal -z 2")
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
    code, out, err = look(f"{run} {line}", capfd)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


def test_no_run_and_no_finished_run_are_one_line(finished, look, capfd, tmp_path):
    code, _, err = look(str(tmp_path), capfd)
    assert code == 2
    assert re.fullmatch(r".*holds no run \(config.json is missing\)\n", err)
    code, _, err = look("no/such", capfd)
    assert code == 2
    assert f"--from no/such ({Path('no/such').absolute()}): there is no such folder\n" in err
    (tmp_path / "file").touch()
    code, _, err = look(str(tmp_path / "file"), capfd)
    assert code == 2
    assert "is a file, not the folder of a run" in err
    run = finished("-n normal -z 2")
    code, _, err = look(str(run.parent), capfd)
    assert (code, err.count("\n")) == (2, 1)
    assert f"--from {run.parent}: is not the folder of a run; runs in it: {run.name} (1)" in err
    assert f"runs in it: digits/{run.name} (1)" in look(str(run.parents[1]), capfd)[2]
    (run / "summary.json").unlink()
    code, _, err = look(str(run), capfd)
    assert code == 2
    assert re.fullmatch(r".*is not finished; repeat its command.*\n", err)


def test_figure_that_was_asked_for_and_cannot_be_drawn_is_a_failure(finished, look, capfd):
    run = finished("-n normal -z 2")
    for path in run.glob("log_px_k*.npz"):
        path.write_bytes(b"damaged")
    code, out, err = look(f"{run} --figures log_px samples", capfd)
    assert code == 1
    assert err.startswith("log_px is not drawn")
    assert "samples.png" in out


def test_log_px_of_an_earlier_model_is_not_taken(finished):
    run = finished("-n normal -z 2")
    best = json.loads((run / "summary.json").read_text())["best_epoch"]
    assert RunDir.at(run).log_px(best)[0] == 5
    assert RunDir.at(run).log_px(best + 1) is None

"""What --export writes, read back: equal to the posteriors of the model, for every kind of model."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from hyperspherical_vae.distributions import VonMisesFisher
from tests.utils.figures.subjects import line, subject
from utils.export.arrays import writing_arrays
from utils.export.run import curves, latent_coordinates
from utils.figures.maps import latent
from utils.run.folder import RunDir
from utils.runs import load_run

SMALL = "-d digits -e 2 -klw 0 -lls 5 -hd 8 --figures none"
SPLITS = ("train", "val", "test")


def only(folder):
    (found,) = folder.glob("results/*/*")
    return found


def exported(run, split):
    with np.load(run / "export" / f"embeddings_{split}.npz", allow_pickle=False) as stored:
        return dict(stored)


def table(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


KINDS = {
    "-n normal -z 3": {"scale"},
    "-n normal -z 3 -cvm full": {"scale", "covariance"},
    "-n vmf -z 2 --radius 2": {"scale", "concentration"},
    "-n powerspherical -z 4": {"scale", "concentration"},
    "-n spcauchy -z 4": {"scale", "concentration"},
    "-zd s2,e3,s1": {"scale", "concentration"},
    "-n gumbel --variables 4 --categories 5": {"scale", "codes"},
    "-n vq --positions 3 --codes 8": {"scale", "codes"},
}


@pytest.mark.parametrize(("flags", "keys"), KINDS.items(), ids=KINDS)
def test_what_is_exported_is_the_posterior_of_every_example(run_models, tmp_path, flags, keys):
    done = run_models(f"{SMALL} {flags} --export")
    assert done.returncode == 0, done.stderr
    run = load_run(only(tmp_path))
    for split, count in zip(SPLITS, (1297, 200, 300), strict=True):
        found, images = exported(run.folder, split), run.images(split)
        assert found.keys() - {"log_px", "log_px_k"} == {
            "mode", "mean", "label", "index", "run", "best_epoch", "class_names", *keys,
        }  # fmt: skip
        assert found["index"].tolist() == list(range(count))
        np.testing.assert_array_equal(found["label"], run.data.split(split).labels)
        np.testing.assert_allclose(found["mode"], run.model.encode(images), rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            q = run.model.posterior(images)
        for name, expected in (("mean", q.mean), ("scale", q.variance.sqrt())):
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
        if "covariance" in keys:
            np.testing.assert_allclose(found["covariance"], q.covariance_matrix, rtol=1e-5, atol=1e-6)
        if "concentration" in keys:
            np.testing.assert_allclose(found["concentration"], run.model.latent.statistics(q)["kappa"], rtol=1e-5)
        if "codes" in keys:
            np.testing.assert_array_equal(found["codes"], run.model.latent.codes(q))
        assert json.loads(str(found["run"])) == run.identity.stamp
    stored = RunDir.at(run.folder).log_px(run.best_epoch)
    assert ("log_px" in exported(run.folder, "test")) == (stored is not None)
    if stored:
        assert exported(run.folder, "test")["log_px_k"] == stored[0]
        np.testing.assert_array_equal(exported(run.folder, "test")["log_px"], stored[1])
    assert ("latent.csv is not written: this latent space is no product" in done.stdout) == ("codes" in keys)
    assert (run.folder / "export" / "latent.csv").exists() == ("codes" not in keys)


def test_a_posterior_can_be_made_again_of_what_is_exported(run_models, tmp_path):
    for flags in ("-n normal -z 3", "-n vmf -z 2 --radius 2"):
        assert run_models(f"{SMALL} {flags} --export").returncode == 0
    for folder in tmp_path.glob("results/*/*"):
        run = load_run(folder)
        found = {name: torch.from_numpy(value) for name, value in exported(folder, "val").items() if value.ndim > 1}
        with torch.no_grad():
            q = run.model.posterior(run.images("val"))
        z = q.sample()
        if "concentration" in found:
            again = VonMisesFisher(found["mode"] / 2, found["concentration"][:, 0], radius=2).log_prob(z)
        else:
            again = Normal(found["mode"], found["scale"]).log_prob(z).sum(-1)
        torch.testing.assert_close(again, q.log_prob(z), rtol=1e-4, atol=1e-4)


def test_a_finished_run_is_exported_and_once_only(run_models, tmp_path, capfd):
    import run_models as program

    flags = f"{SMALL} -n vmf -z 2"
    assert run_models(flags).returncode == 0
    run = only(tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*.*") if path.is_file()}
    first = run_models(f"{flags} --export")
    assert first.returncode == 0, first.stderr
    assert str(run / "export" / "embeddings_test.npz") in first.stdout
    files = {path: path.read_bytes() for path in (run / "export").iterdir()}
    assert {path.name for path in files} == {
        "embeddings_train.npz", "embeddings_val.npz", "embeddings_test.npz", "latent.csv", "learning_curves.csv",
    }  # fmt: skip
    assert "this run is complete already" in run_models(f"{flags} --export").stdout
    for path in files:
        path.unlink()
    assert program.main(["--from", str(run), "--export", "-v", "0"]) == 0
    assert {path: path.read_bytes() for path in (run / "export").iterdir()} == files, "the same bytes every time"
    (run / "export" / "embeddings_test.npz").write_bytes(b"damaged")
    assert run_models(f"{flags} --export").returncode == 0
    assert {path: path.read_bytes() for path in (run / "export").iterdir()} == files
    assert {path: path.read_bytes() for path in before} == before
    capfd.readouterr()


def test_vectors_are_exported_with_their_rows_in_the_file(run_models, tmp_path):
    x = np.random.default_rng(0).normal(size=(40, 5)).round(3)
    np.savez(tmp_path / "x.npz", x=x, y=np.array(["a", "b"])[np.arange(40) % 2])
    done = run_models(f"-d array --data_dir {tmp_path / 'x.npz'} -n vmf -z 2 -e 1 -klw 0 -lls 5 -hd 8 --export")
    assert done.returncode == 0, done.stderr
    run = load_run(only(tmp_path))
    rows = [exported(run.folder, split)["index"] for split in SPLITS]
    assert sorted(np.concatenate(rows)) == list(range(40))
    for split, which in zip(SPLITS, rows, strict=True):
        np.testing.assert_allclose(run.data.in_units(run.images(split))[:, 0, 0], x[which], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(exported(run.folder, split)["label"], which % 2)
    assert exported(run.folder, "test")["class_names"].tolist() == ["a", "b"]
    assert [row[0] for row in table(run.folder / "export" / "latent.csv")[1:]] == [str(row) for row in rows[2]]


def test_generated_examples_are_an_array_in_the_units_of_the_data(run_models, tmp_path, capfd):
    import run_models as program

    counts = np.random.default_rng(0).poisson(30.0, (60, 6))
    np.save(tmp_path / "counts.npy", counts)
    small = "-n normal -z 2 -e 1 -klw 0 -lls 5 -hd 8 --figures none"
    assert run_models(f"-d array --data_dir {tmp_path / 'counts.npy'} -lf poisson {small}").returncode == 0
    run = load_run(only(tmp_path))
    assert program.main(["--from", str(run.folder), "--generate", "7", "--export", "-v", "1"]) == 0
    with np.load(run.folder / "figures" / "generated.npz") as stored:
        x, z = stored["x"], torch.from_numpy(stored["z"])
    assert x.shape == (7, 1, 1, 6)
    np.testing.assert_allclose(x, run.model.decode(z).detach() * counts.max(), rtol=1e-5)
    assert not list((run.folder / "figures").glob("*.png"))
    assert "7 examples" in capfd.readouterr().out


def test_generated_pictures_are_those_of_the_array(run_models, tmp_path):
    from PIL import Image

    import run_models as program

    assert run_models(f"{SMALL} -n vmf -z 2").returncode == 0
    run = load_run(only(tmp_path))
    assert program.main(["--from", str(run.folder), "--generate", "3", "--label", "7", "--export"]) == 0
    with np.load(run.folder / "figures" / "generated_label7.npz") as stored:
        grey = stored["x"][:, 0] / 16 * 255
    for number, image in enumerate(grey, 1):
        pixels = np.asarray(Image.open(run.folder / "figures" / f"generated_label7_{number:04d}.png").convert("L"))
        np.testing.assert_allclose(pixels, image, atol=1)


def test_generated_examples_of_all_classes_are_one_array_outside_of_the_class_folders(run_models, tmp_path, capfd):
    import run_models as program

    assert run_models(f"{SMALL} -n vmf -z 2").returncode == 0
    run = only(tmp_path)
    flags = ["--from", str(run), "--generate", "3", "--label", "all", "--export", "-v", "1"]
    assert program.main(flags) == 0
    assert f"30 examples: {run / 'figures' / 'generated_label_all.npz'}" in capfd.readouterr().out
    with np.load(run / "figures" / "generated_label_all.npz") as stored:
        assert stored["label"].tolist() == [label for label in range(10) for _ in range(3)]
        assert (stored["x"].shape, stored["z"].shape) == ((30, 1, 8, 8), (30, 3))
        last = stored["x"][-3:]
    folder = run / "figures" / "generated"
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".png"}, "a data set for -d folder"
    assert len(list(folder.rglob("*.png"))) == 30
    assert program.main([*flags[:5], "9", *flags[6:]]) == 0
    with np.load(run / "figures" / "generated_label9.npz") as stored:
        np.testing.assert_array_equal(stored["x"], last)
        assert stored["label"].tolist() == [9, 9, 9]
    assert program.main([*flags[:4], "--kappas", "2,50", *flags[4:]]) == 0
    assert {path.name for path in (run / "figures").glob("*.npz")} == {
        "generated_label_all.npz", "generated_label9.npz",
        "generated_kappa2_label_all.npz", "generated_kappa50_label_all.npz",
    }  # fmt: skip


@pytest.mark.parametrize("space", [{"name": "vmf", "z": 1}, {"name": "normal", "z": 2}, {"name": "normal", "z": 4}])
def test_coordinates_are_those_that_the_figure_shows(space):
    run = subject(classes=0, **space)
    head, *rows = latent_coordinates(run, np.arange(30) * 10)
    with torch.no_grad():
        drawn = latent(run).axes[0].collections[0].get_offsets()
    found = np.array(rows, float)
    assert [row[0] for row in rows] == [str(10 * number) for number in range(30)]
    np.testing.assert_allclose(found[:, 1:], drawn[:, : len(head) - 1], rtol=1e-6)


def test_curves_have_a_column_for_every_number_and_gaps_where_there_was_no_validation():
    head, *rows = curves([line(1), line(2, val=False), line(3)])
    assert head[:2] == ["epoch", "kl_weight"]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert [row[head.index("val.elbo")] for row in rows] == ["-99", "", "-97"]


def test_equal_arrays_make_equal_files_that_are_whole_or_not_there(tmp_path):
    files = [tmp_path / "a.npz", tmp_path / "b.npz"]
    for path in files:
        with writing_arrays(path, 5, {"fact": "ü"}) as add:
            add({"x": np.arange(6.0).reshape(3, 2), "name": np.array(["a", "bb", "c"])})
            add({"x": np.arange(4.0).reshape(2, 2), "name": np.array(["d", "e"], "<U2")})
    assert files[0].read_bytes() == files[1].read_bytes()
    with np.load(files[0], allow_pickle=False) as stored:
        assert stored["x"].tolist() == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]
        assert (stored["name"].tolist(), str(stored["fact"])) == (["a", "bb", "c", "d", "e"], "ü")

    def broken_off():
        with writing_arrays(tmp_path / "c.npz", 5, {}) as add:
            add({"x": np.zeros(2)})
            raise KeyError

    with pytest.raises(KeyError):
        broken_off()
    assert sorted(tmp_path.iterdir()) == files


LARGE = """
import sys
import numpy as np
from pathlib import Path
from utils.export.arrays import writing_arrays
with writing_arrays(Path(sys.argv[1]), 40 * 1250, {}) as add:
    for block in range(40):
        add({"x": np.full((1250, 1000), block, np.float64)})
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_a_file_of_400_megabytes_is_written_within_100(tmp_path):
    command = [sys.executable, "-c", LARGE, str(tmp_path / "large.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (tmp_path / "large.npz").stat().st_size > 400_000_000
    assert int(done.stdout) < 100_000

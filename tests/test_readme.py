"""The README keeps its word: its commands run, and it knows every flag."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
TRAINING = sorted(set(re.findall(r"python run_models\.py(?! --from)[^`\n#]*", README)))
LOOKING = sorted(set(re.findall(r"python run_models\.py --from[^`\n#]*", README)))
SWEEPS = sorted(set(re.findall(r"python -m utils\.sweep ([^`\n#]*-- [^`\n#]*)", README)))
# Appended to each command, where the last of a repeated flag counts: small, and on data that are at hand.
SMALL = "-d digits -e 1 -klw 0 -lls 5 -hd 8"


def make_faces(folder):
    generator = np.random.default_rng(0)
    for kind in ("happy", "sad"):
        (folder / kind).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (20, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")


def test_there_are_commands():
    assert len(TRAINING) > 5
    assert len(LOOKING) > 5
    assert len(SWEEPS) == 3


@pytest.mark.parametrize("command", TRAINING)
def test_command_runs(command, run_models, tmp_path):
    words = shlex.split(command)[2:]
    if "--help" in words:
        done = subprocess.run([sys.executable, str(ROOT / "run_models.py"), "--help"], capture_output=True, text=True)
        assert done.returncode == 0
        return
    small = SMALL
    if "folder" in words:
        make_faces(tmp_path / "faces")
        small = small.replace("-d digits", f"--data_dir {tmp_path / 'faces'}")
    if "autoregressive" in words:
        small += " --vq_prior_epochs 1"
    done = run_models(f"{shlex.join(words)} {small}")
    assert done.returncode == 0, done.stderr


def test_commands_that_look_again_run(run_models, tmp_path, monkeypatch, capfd):
    import run_models as program
    from utils.figures import registry as figures

    folders = []
    for name in ("vmf", "normal"):
        assert run_models(f"-n {name} -z 2 {SMALL}").returncode == 0
        folders += [str(path) for path in tmp_path.glob(f"results/digits/{name}-*")]
    quick = ("latent", "manifold", "concentration")
    monkeypatch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in quick})
    for command in LOOKING:
        line = re.sub(r"results/\S+", folders[1], command).replace("$run", folders[0])
        assert program.main(shlex.split(line)[2:]) == 0, (line, capfd.readouterr().err)


@pytest.mark.parametrize("words", SWEEPS)
def test_sweep_is_understood(words, capsys):
    from utils.sweep.__main__ import main

    assert main(["--dry_run", *shlex.split(words)]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 3


def test_page_of_flags_is_current():
    written = subprocess.run(
        [sys.executable, "-c", "from docs.make_flags import page; print(page(), end='')"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert written.stdout == (ROOT / "docs" / "flags.md").read_text(), "run python docs/make_flags.py"


def test_files_that_are_named_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
    for script in re.findall(r"run_files/\w+\.sh", README):
        assert (ROOT / script).exists(), script

"""The README and the pages in docs/ keep their word: their commands run, and what they point to is there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hyperspherical_vae import __version__
from tests.utils.fake_runs import finished

ROOT = Path(__file__).parents[1]
PAGES = {path: path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
README = PAGES[ROOT / "README.md"]
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)


def in_blocks(page):
    """The commands of the code blocks of a page, each as its words."""
    lines = (line for block in BLOCK.findall(page) for line in block.replace("\\\n", " ").splitlines())
    return [tuple(words) for words in (shlex.split(line, comments=True) for line in lines) if words]


def in_text(page):
    """The commands between the lines: `python` and what follows it."""
    spans = re.findall(r"`(python [^`\n]+)`", BLOCK.sub("", page))
    return [tuple(shlex.split(span)) for span in spans]


IN_BLOCKS = sorted({words for page in PAGES.values() for words in in_blocks(page)})
COMMANDS = sorted({*IN_BLOCKS, *(words for page in PAGES.values() for words in in_text(page))})


def of(*words):
    """The commands that begin with these words."""
    return [command for command in COMMANDS if command[: len(words)] == words]


LOOKING = of("python", "run_models.py", "--from") + of("python", "run_models.py", "--config")
TRAINING = sorted({*of("python", "run_models.py")} - {*LOOKING})
SWEEPS = [words for words in of("python", "-m", "utils.sweep") if "--" in words]
TABLES = of("python", "-m", "utils.results") + of("python", "-m", "utils.report")
SNIPPETS = of("python", "-c")
SCRIPT = "run_files/table1_svae.sh"
# What tests of scripts, examples, benchmarks, distributed training and sweeps run, and what is no command of ours.
ELSEWHERE = re.compile(
    r"(\w+=\S* )*(bash run_files/|python examples/|python -m (tests|benchmarks)\.|torchrun |ray |apt-get |source |run=)"
)
# Appended to each command, where the last of a repeated flag counts: small, and on data that are at hand.
SMALL = "-e 1 -klw 0 -lls 5 -hd 8 --seeds 1"


@pytest.fixture(autouse=True)
def quick_judge(monkeypatch):
    monkeypatch.setattr("utils.measure.judge.STEPS", 5)


def make_faces(folder):
    generator = np.random.default_rng(0)
    for kind in ("happy", "sad"):
        (folder / kind).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (20, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")


def test_every_command_of_a_code_block_is_run_by_a_test():
    here = {*TRAINING, *LOOKING, *SWEEPS, *TABLES, *SNIPPETS}
    for words in IN_BLOCKS:
        assert words in here or ELSEWHERE.match(" ".join(words)), words
    assert min(len(TRAINING) - 15, len(LOOKING) - 5, len(SWEEPS) - 3, len(TABLES) - 3, len(SNIPPETS)) > 0


@pytest.mark.parametrize("words", TRAINING, ids=" ".join)
def test_command_runs(words, run_models, tmp_path):
    if "--help" in words:
        done = subprocess.run([sys.executable, str(ROOT / "run_models.py"), "--help"], capture_output=True, text=True)
        assert done.returncode == 0
        return
    small = f"{SMALL} -d digits"
    if "folder" in words:
        make_faces(tmp_path / "faces")
        small = f"{SMALL} --data_dir {tmp_path / 'faces'}"
    if "array" in words:
        np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 4)))
        small = f"{SMALL} --data_dir {tmp_path / 'rows.npy'}"
    if "autoregressive" in words:
        small += " --vq_prior_epochs 1"
    done = run_models(f"{shlex.join(words[2:])} {small}")
    assert done.returncode == 0, done.stderr


def test_what_looks_at_finished_runs_does(run_models, tmp_path, monkeypatch, capfd):
    """The commands with --from or --config, and the lines of Python that load a run."""
    import run_models as program
    from utils.figures import registry as figures

    folders = []
    for name in ("vmf", "normal"):
        assert run_models(f"-n {name} -z 2 -d digits {SMALL}").returncode == 0
        folders += [str(path) for path in tmp_path.glob(f"results/digits/{name}-*")]
    quick = ("latent", "manifold", "concentration")
    monkeypatch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in quick})
    for words in LOOKING:
        line = re.sub(r"results/[^/]+/[^/ ]+", folders[1], " ".join(words[2:])).replace("$run", folders[0])
        assert program.main(line.split()) == 0, (line, capfd.readouterr().err)
    examples = [code for page in PAGES.values() for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    loading = [code for code in examples if "load_model" in code]
    assert loading
    for code in loading:
        exec(re.sub(r'"results/[^"]+"', repr(folders[0]), code), {})


@pytest.mark.parametrize("words", SWEEPS, ids=" ".join)
def test_sweep_is_understood(words, capsys):
    from utils.sweep.__main__ import main

    assert main(["--dry_run", *words[3:]]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 3


@pytest.mark.parametrize("words", TABLES, ids=" ".join)
def test_table_is_made(words, tmp_path, monkeypatch):
    from utils import report, results

    numbers = {"kappa": {"mean": 5.0}, "score": {"fid": 1.0, "agreement": 0.9}}
    for line in ("-n normal -z 2", "-n vmf -z 2", "-n vmf -z 2 -rs 2"):
        for dataset in ("mnist", "digits"):
            finished(tmp_path / "results", f"{line} -d {dataset}", **numbers)
    monkeypatch.chdir(tmp_path)
    assert {"utils.results": results, "utils.report": report}[words[2]].main(words[3:]) == 0


def test_table_of_a_script_is_understood(capsys):
    from utils.sweep.__main__ import main

    flags = [words[words.index(SCRIPT) + 1 :] for words in IN_BLOCKS if SCRIPT in words]
    assert [main(["--dry_run", *words, "--", "-n", "vmf"]) for words in flags] == [0] * len(flags)


@pytest.mark.parametrize("words", SNIPPETS)
def test_line_of_python_makes_its_file(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(words[2], {})
    assert os.listdir(tmp_path)


@pytest.mark.parametrize(("file", "line"), [("CITATION.cff", "version: {}"), ("README.md", "  version = {{{}}},")])
def test_citation_is_of_this_version(file, line):
    assert line.format(__version__) in (ROOT / file).read_text().splitlines()


def test_page_of_flags_is_current():
    written = subprocess.run(
        [sys.executable, "-c", "from docs.make_flags import page; print(page(), end='')"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert written.stdout == (ROOT / "docs" / "flags.md").read_text(), "run python docs/make_flags.py"


def test_page_of_pictures_explains_every_figure():
    from utils.figures.registry import FIGURES

    page = (ROOT / "docs" / "pictures.md").read_text()
    rows = " ".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert [name for name in FIGURES if f"`{name}`" not in rows] == []


def anchors(page):
    """What a link can name of a page: its headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_and_scripts_exist(path):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", PAGES[path]):
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text()), (target, anchor)
    for script in re.findall(r"run_files/\w+\.sh", PAGES[path]):
        assert (ROOT / script).exists(), script


def test_readme_is_short_and_lists_its_parts_and_the_pages():
    assert len(README.split()) < 2600
    linked = set(re.findall(r"\]\(#([^)]+)\)", README))
    assert {part for part in anchors(README) if f"# {part}" != "# hyperspherical-variational-auto-encoders"} <= linked
    for path in PAGES:
        assert path.name == "README.md" or f"](docs/{path.name})" in README, path.name

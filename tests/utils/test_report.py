"""The page of runs: its content, and in a browser its sorting and filtering."""

import dataclasses
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.utils.fake_runs import edit
from utils.config.config import Config
from utils.config.rules import resolve
from utils.plotting_utils import png
from utils.report import main
from utils.run.folder import RunDir
from utils.run.identity import Identity

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def make_run(folder, place, log_px, **settings):
    config = resolve(Config(dataset="digits", **settings))
    identity = Identity(config)
    run = RunDir(identity, folder / "digits" / place / identity.folder.name)
    figures = {"n": 10, "elbo": -30.5, "log_px_z": -20.0, "kl": 10.5, "log_px": log_px, "log_px_se": 0.5, "k": 5}
    summary = {"status": "complete", "epochs": 3, "best_epoch": 2, "test": figures}
    with run:
        run.write("config.json", dataclasses.asdict(config))
        run.write("summary.json", summary)
    for figure in ("latent", "samples", "generated_0001"):
        (run.figures / f"{figure}.png").write_bytes(png(np.zeros((1, 4, 4))))
    return run.path


@pytest.fixture
def results(tmp_path):
    """Three finished runs, one of which has two results, and one that is not finished."""
    folder = tmp_path / "my <results>"
    make_run(folder, "a run", -9.5, name="vmf", z=2, beta=2.0)
    run = make_run(folder, "b", -100.25, name="normal", z=2)
    test = json.loads((run / "summary.json").read_text())["test"]
    edit(run / "summary.json", run / "summary_k50.json", test={**test, "k": 50, "log_px": -99.75})
    make_run(folder, "c", None, name="vmf", z=10, exp_name="third")
    unfinished = make_run(folder, "d", 0.0, name="normal", z=3)
    (unfinished / "summary.json").unlink()
    return folder


class Content(HTMLParser):
    """Rows of cells, sources of images, addresses."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.addresses, self.open = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        self.open = tag == "td" or (self.open and tag == "a")
        if tag == "td":
            self.rows[-1].append("")
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        self.open = self.open and tag != "td"

    def handle_data(self, data):
        if self.open:
            self.rows[-1][-1] += data


def test_page_shows_numbers_settings_and_figures(results, capsys):
    assert main([str(results)]) == 0
    assert capsys.readouterr().err == ""
    text = (results / "report.html").read_text()
    content = Content(text)
    first, second, third, fourth = content.rows[1:]
    assert first[:4] == ["digits", "vmf", "S^2 in R^3", "1"]
    assert first[4:] == ["-9.50 ± 0.50 (K=5)", "-30.50", "-20.00", "10.50", "2", "complete", "-b 2"]
    assert second[4] == "-99.75 ± 0.50 (K=50)", "of several results the one with most samples is shown"
    assert (third[1], third[4]) == ("third (vmf)", "–")
    assert (fourth[4], fourth[9]) == ("–", "not finished")
    figures = [address for address in content.addresses if address.endswith(".png")]
    assert len(figures) == 16
    assert any(re.fullmatch(r"digits/a%20run/vmf-z2__s1__\w+/figures/latent.png", figure) for figure in figures)
    assert "1 generated images" in text
    assert "<results>" not in text
    assert not re.search(r"(src|href)=\"(https?:)?//", text), "the page must not ask anything of the network"


def test_command_writes_the_page_and_says_where(results, capsys):
    assert main([str(results)]) == 0
    assert capsys.readouterr().out == f"4 runs: {results / 'report.html'}\n"
    assert (results / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_what_cannot_be_read_is_said_and_left_out(results, capsys):
    damaged = [next(results.glob(name)) for name in ("digits/c/*/config.json", "digits/b/*/summary_k50.json")]
    for path in damaged:
        path.write_text("{")
    assert main([str(results)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("2 runs")
    assert captured.err.count("\n") == 2
    assert all(str(path) in captured.err for path in damaged)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [([], 2, "takes one folder"), (["a", "b"], 2, "takes one folder"), (["absent"], 2, "is no folder")],
)
def test_mistakes_are_one_line(arguments, code, line, capsys):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1


def test_folder_without_runs(tmp_path, capsys):
    assert main([str(tmp_path)]) == 1
    assert "holds no runs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
<script>
  const found = {};
  const order = () => [...document.querySelectorAll("tbody tr:not([hidden])")].map(row => row.cells[4].textContent);
  const head = heads.find(other => other.textContent === "log p(x)").firstElementChild;
  head.click();
  found.up = order();
  head.click();
  found.down = order();
  const filter = document.getElementById("filter");
  filter.value = "VMF digits";
  filter.dispatchEvent(new Event("input"));
  found.filtered = order();
  found.count = count.textContent;
  found.sections = document.querySelectorAll("section:not([hidden])").length;
  filter.value = "";
  filter.dispatchEvent(new Event("input"));
  found.all = order().length;
  const picture = new Image();
  const done = loaded => { found.loaded = loaded; document.title = JSON.stringify(found); };
  picture.onload = () => done(picture.naturalWidth);
  picture.onerror = () => done(0);
  picture.src = document.querySelector("img").getAttribute("src");
</script>
"""


def test_page_sorts_and_filters_in_a_browser(results, tmp_path):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"browser: none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install chromium")
    assert main([str(results)]) == 0
    path = results / "probe.html"
    path.write_text((results / "report.html").read_text().replace("</body>", f"{SCRIPT}</body>"))
    words = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=5000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(\{.*\})</title>", done.stdout)
    assert title, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(title[1])
    assert found["up"] == ["-99.75 ± 0.50 (K=50)", "-9.50 ± 0.50 (K=5)", "–", "–"]
    assert found["down"] == ["-9.50 ± 0.50 (K=5)", "-99.75 ± 0.50 (K=50)", "–", "–"]
    assert found["filtered"] == ["-9.50 ± 0.50 (K=5)", "–"]
    assert found["count"] == "2 of 4 runs"
    assert found["sections"] == 2
    assert found["all"] == 4
    assert found["loaded"] == 4

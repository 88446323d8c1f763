"""The page of runs: its content, and in a browser its sorting, filtering, curves and width."""

import dataclasses
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.utils.fake_runs import MIXED, edit, finished
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
    elbo = [{"epoch": epoch, "kl_weight": 1.0, "train": {}, "val": {"elbo": -40.0 + epoch}} for epoch in range(1, 4)]
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in elbo))
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
        self.open = tag == "td" or (self.open and tag in ("a", "b", "span"))
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
    assert "All runs: data digits, seed 1." in text
    assert first == ["vmf", "S^2 in R^3", "-9.50 ± 0.50", "-30.50", "-20.00", "10.50", "2", "complete", "-b 2 -lls 5"]
    assert '<span class="flag">-b 2</span> <span class="flag">-lls 5</span></td>' in text
    assert second[2] == "-99.75 ± 0.50", "of several results the one with most samples is shown"
    assert second[8] == "-lls 50"
    assert (third[0], third[2]) == ("third (vmf)", "–")
    assert (fourth[2], fourth[7]) == ("–", "not finished")
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


def test_page_has_means_over_seeds_effective_sample_size_and_accuracy(tmp_path):
    for seed in (1, 2):
        finished(tmp_path, f"-n vmf -z 2 -d digits -rs {seed}", log_px=-9.0 - seed, ess=3.25, accuracy=0.5 + seed / 10)
    finished(tmp_path, "-n normal -z 2 -d digits", log_px=-20.0)
    assert main([str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text()
    rows = Content(text).rows
    heads, normal, vmf = re.findall(r"<th[^>]*>([^<]+)</th>", text), rows[1], rows[2]
    assert heads[:4] == ["model", "space", "runs", "log p(x)"]
    assert (normal[2], normal[3]) == ("1", "-20.00")
    assert (vmf[2], vmf[3], vmf[7]) == ("2", "-10.50 ± 0.71", "65.00 ± 7.07")
    assert "<b>-10.50 ± 0.71</b>" in text
    buttons = re.findall(r"<button[^>]*>([^<]+)</button>", text)
    first = dict(zip(buttons, rows[5], strict=True))
    assert (first["effective sample size"], first["accuracy %"]) == ("3.2", "60.00")


def test_curves_are_thinned_and_a_run_without_them_is_shown_all_the_same(tmp_path):
    run = make_run(tmp_path, "a", -1.0, name="vmf", z=2)
    lines = [{"epoch": epoch, "kl_weight": 1, "train": {}, "val": {"elbo": -9.0}} for epoch in range(1, 1002)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (make_run(tmp_path, "b", -1.0, name="normal", z=2, exp_name="x").joinpath("metrics.jsonl")).unlink()
    assert main([str(tmp_path)]) == 0
    (data,) = re.findall(r'<script type="application/json"[^>]*>(.*)</script>', (tmp_path / "report.html").read_text())
    first, second = json.loads(data)
    assert len(first["points"]) <= 200
    assert first["points"][-1] == [1001, -9.0]
    assert first["model"] == "vmf, S^2 in R^3"
    assert second["points"] == []


def in_browser(folder, script, tmp_path, fragment=""):
    """What a script at the end of the page leaves in the title, as JSON, at 1280 x 900 pixels."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"browser: none of {', '.join(BROWSERS)} is installed; on Debian: apt-get install chromium")
    assert main([str(folder)]) == 0
    path = folder / "probe.html"
    path.write_text((folder / "report.html").read_text().replace("</body>", f"<script>{script}</script></body>"))
    words = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1280,900", "--virtual-time-budget=5000", "--dump-dom", path.as_uri() + fragment,
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    title = re.search(r"<title>(\{.*\})</title>", done.stdout)
    assert title, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(html.unescape(title[1]))


SCRIPT = """
  const found = {};
  const order = () => [...body.querySelectorAll("tr:not([hidden])")].map(row => row.cells[2].textContent);
  const head = heads.find(other => other.textContent === "log p(x)").firstElementChild;
  found.restored = [filter.value, order()];
  head.click();
  found.up = order();
  head.click();
  found.down = order();
  filter.value = "VMF digits";
  filter.dispatchEvent(new Event("input"));
  found.filtered = order();
  found.count = count.textContent;
  found.sections = document.querySelectorAll("section:not([hidden])").length;
  found.curves = document.querySelectorAll("polyline").length;
  found.address = location.hash;
  filter.value = "";
  filter.dispatchEvent(new Event("input"));
  found.all = order().length;
  found.all_curves = document.querySelectorAll("polyline").length;
  found.legend = document.querySelector("#curves figcaption").innerText.split("\\n");
  body.querySelector("a").click();
  found.after_link = location.hash;
  const picture = new Image();
  const done = loaded => { found.loaded = loaded; document.title = JSON.stringify(found); };
  picture.onload = () => done(picture.naturalWidth);
  picture.onerror = () => done(0);
  picture.src = document.querySelector("img").getAttribute("src");
"""


def test_page_sorts_filters_and_draws_in_a_browser(results, tmp_path):
    found = in_browser(results, SCRIPT, tmp_path, "#filter=normal&descending=log+p%28x%29")
    low, high = "-99.75 ± 0.50", "-9.50 ± 0.50"
    assert found["restored"] == ["normal", [low, "–"]]
    assert found["up"] == [low, "–"]
    assert found["down"] == [low, "–"]
    assert found["filtered"] == [high, "–"]
    assert found["count"] == "2 of 4 runs"
    assert found["sections"] == 2
    assert found["curves"] == 2
    assert found["address"] == "#filter=VMF+digits&descending=log+p%28x%29"
    assert found["all"] == 4
    assert found["all_curves"] == 4
    assert "vmf, S^2 in R^3, -b 2 -lls 5" in found["legend"]
    assert found["after_link"] == "#descending=log+p%28x%29"
    assert found["loaded"] == 4


WIDTH = """
  const wide = [...document.querySelectorAll(".wide")].map(each => [each.scrollWidth, each.clientWidth]);
  document.title = JSON.stringify({page: document.documentElement.scrollWidth, tables: wide, window: innerWidth});
"""


def test_page_of_27_mixed_runs_is_no_wider_than_1280_pixels(tmp_path):
    folder = tmp_path / "results"
    for line in MIXED:
        finished(folder, f"-d digits -e 7 {line}", log_px=-90.25, log_px_se=0.25, elbo=-100.25, elbo_se=0.25, ess=3.5,
                 accuracy=0.5, codes={"usage": 0.25, "perplexity": 3.0})  # fmt: skip
    found = in_browser(folder, WIDTH, tmp_path)
    assert found["window"] == 1280
    assert found["page"] <= 1280
    assert all(needed <= there for needed, there in found["tables"])

"""The example of link prediction: its parts are right, it reads nothing but arrays, and it runs."""

import hashlib
import os
import pickle
import struct
from collections import defaultdict
from functools import partial
from typing import ClassVar

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from scipy import sparse
from sklearn.metrics import roc_auc_score
from torch.nn import functional as F

from examples import link_prediction
from examples.link_prediction import (
    GRAPHS,
    Run,
    Scores,
    against,
    auc,
    best_rows,
    each,
    load_graph,
    main,
    reconstruction_gradient,
    split_links,
    train,
    unpickle,
)

N, WORDS = 120, 40
SMALL = ["--graphs", "cora", "--seeds", "2", "--epochs", "3", "--dims", "2", "--processes", "1"]


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings."""

    def save_string(self, data):
        self.write(b"T" + struct.pack("<i", len(data)) + data)

    dispatch: ClassVar = pickle._Pickler.dispatch | {bytes: save_string}  # type: ignore[assignment]


def python2_pickle(value, path):
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(value)
    data = path.read_bytes().replace(b"numpy._core", b"numpy.core").replace(b"scipy.sparse._csr", b"scipy.sparse.csr")
    path.write_bytes(data)


@pytest.fixture
def planetoid(tmp_path, monkeypatch):
    """Files of a small graph in two parts, the layout and pickles as published, in place of Cora."""
    generator = np.random.default_rng(0)
    part = np.arange(N) % 2
    links = defaultdict(list)
    for i in range(N):
        links[i] += [int(j) for j in generator.permutation(np.flatnonzero(part == part[i]))[:6]]
    shown = generator.random((N, WORDS)) < np.where(part[:, None] == np.arange(WORDS) % 2, 0.3, 0.05)
    words = sparse.csr_matrix(shown.astype(np.float32))
    order = generator.permutation(np.arange(100, N - 1))  # article N - 1 is in neither file, as some of Citeseer
    folder = tmp_path / "Planetoid"
    folder.mkdir()
    python2_pickle(words[:100], folder / "ind.cora.allx")
    python2_pickle(words[order], folder / "ind.cora.tx")
    python2_pickle(links, folder / "ind.cora.graph")
    (folder / "ind.cora.test.index").write_text("\n".join(map(str, order)))
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    monkeypatch.setattr(link_prediction, "SHA256", sums)
    load_graph.cache_clear()
    yield folder, shown, links
    load_graph.cache_clear()


def test_graph_is_read(planetoid):
    folder, shown, neighbours = planetoid
    words, links = load_graph(folder, "cora")
    shown[-1] = False
    assert (words.to_dense().numpy() == shown).all()
    wanted = {frozenset((i, j)) for i in neighbours for j in neighbours[i] if i != j}
    assert {frozenset(pair) for pair in links.tolist()} == wanted
    assert len(links) == len(wanted)


@pytest.mark.parametrize(("graph", "size", "pairs"), [("cora", (2708, 1433), 5278), ("citeseer", (3327, 3703), 4552)])
def test_published_graphs_have_the_published_sizes(graph, size, pairs, real_data):
    words, links = load_graph(real_data / "Planetoid", graph)
    assert words.shape == size
    assert len(links) == pairs


def test_unpickler_refuses_everything_else(tmp_path):
    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    for value in (Canary(), [Canary()], {"a": Canary()}, np.array([Canary()], dtype=object), print, Scores(1, 2, 3)):
        with pytest.raises(pickle.UnpicklingError, match="not allowed"):
            unpickle(pickle.dumps(value, protocol=2))
    assert not (tmp_path / "executed").exists()


def test_split_is_a_partition(planetoid):
    words, links = load_graph(planetoid[0], "cora")
    split = split_links(words, links, seed=3)
    validation, test = len(links) // 20, len(links) // 10
    assert split.validation.shape == (2, 2 * validation)
    assert split.test.shape == (2, 2 * test)
    training = split.adjacency.to_dense().triu(1).nonzero().tolist()
    held_out = split.validation.T[:validation].tolist() + split.test.T[:test].tolist()
    assert sorted(training + held_out) == links.tolist()
    apart = split.validation.T[validation:].tolist() + split.test.T[test:].tolist()
    assert len({*map(tuple, apart)}) == len(apart)
    assert not {*map(tuple, apart)} & {*map(tuple, links.tolist())}
    assert all(i < j for i, j in apart)


def test_split_depends_on_the_seed_alone(planetoid):
    words, links = load_graph(planetoid[0], "cora")
    one, again, other = (split_links(words, links, seed).test for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_adjacency_is_normalised(planetoid):
    adjacency = split_links(*load_graph(planetoid[0], "cora"), seed=0).adjacency.to_dense()
    linked = (adjacency > 0).float()
    degree = linked.sum(1)
    assert torch.equal(adjacency, adjacency.T)
    assert torch.equal(linked.diagonal(), torch.ones(N))
    torch.testing.assert_close(adjacency, linked / (degree[:, None] * degree).sqrt())


@pytest.mark.parametrize("rows", [7, 128])
def test_gradient_is_that_of_the_weighted_cross_entropy(rows, planetoid, monkeypatch):
    monkeypatch.setattr(link_prediction, "ROWS", rows)
    adjacency = split_links(*load_graph(planetoid[0], "cora"), seed=0).adjacency.double()
    linked = (adjacency.to_dense() > 0).double()
    z = torch.randn(N, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    links = linked.sum()
    # The loss as Kipf and Welling wrote it.
    weight, norm = (N**2 - links) / links, N**2 / (2 * (N**2 - links))
    (norm * F.binary_cross_entropy_with_logits(z @ z.T, linked, pos_weight=weight)).backward()
    torch.testing.assert_close(reconstruction_gradient(z.detach(), adjacency), z.grad, rtol=1e-10, atol=1e-14)


def test_auc_counts_ties_half():
    generator = torch.Generator().manual_seed(0)
    links, others = torch.randint(0, 5, (2, 30), generator=generator).float()
    assert auc(links, others) == pytest.approx(roc_auc_score([1] * 30 + [0] * 30, torch.cat([links, others])))


def test_models_are_chosen_on_validation():
    def runs(rate, validation, test):
        return {
            Run("cora", "vmf", 16, rate, 0.0, 200, seed): Scores(validation + seed, test + seed, test - seed)
            for seed in range(3)
        }

    (row,) = best_rows(runs(0.01, 90, 99) | runs(0.001, 91, 80) | runs(0.005, 89, 100))
    assert row.run.rate == 0.001
    assert row.validation == 92
    assert row.auc == (81, 1)
    assert row.ap == (79, 1)


def test_agreement_with_the_paper_counts_both_deviations():
    assert against((92.0, 1.0), (93.0, 0.1), seeds=4) == "93.0 ± 0.1: -1.0, within 1.2"
    assert against((92.0, 1.0), (93.3, 0.1), seeds=4) == "93.3 ± 0.1: -1.3, outside 1.2"


def test_table_picture_and_a_second_time(planetoid, tmp_path, capsys, monkeypatch):
    words = [*SMALL, "--dropouts", "0", "0.3", "--data_dir", str(planetoid[0]), "--output"]
    tables = []
    for name in ("one", "other"):
        assert main([*words, str(tmp_path / name)]) == 0
        tables.append(capsys.readouterr().out.split("picture")[0])
        assert imread(tmp_path / name / "auc.png").std() > 0
    assert tables[0] == tables[1]  # the same seeds, the same numbers
    for latent in link_prediction.LATENTS:
        assert f"| cora | {latent} | 2* | 0.01 |" in tables[0]
    monkeypatch.setattr(link_prediction, "train", pytest.fail)  # nothing is computed twice
    assert main([*words, str(tmp_path / "one")]) == 0
    assert capsys.readouterr().out.split("picture")[0] == tables[0]


def test_link_prediction_learns(planetoid):
    # Articles of the two parts are told apart by their words: chance is 50 % and the best possible is near 75 %.
    for latent in link_prediction.LATENTS:
        _, scores = train(planetoid[0], Run("cora", latent, 2, 0.05, 0.0, 60, 0))
        assert scores.auc > 60, latent


@pytest.mark.parametrize("damage", ["gone", "changed"])
def test_missing_or_other_file_is_one_line(damage, planetoid, tmp_path, capsys):
    path = planetoid[0] / "ind.cora.tx"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b"x")
    assert main([*SMALL, "--data_dir", str(planetoid[0]), "--output", str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(path) in error
    assert "https://github.com/kimiyoung/planetoid/raw/master/data/ind.cora.tx" in error


@pytest.mark.parametrize("line", [b"cora,vmf,16,0.0", b"", b"\xff\xfe", b"cora,vmf,16,0.01,0.0,200,0,\x00,91.0,92.0"])
def test_line_that_is_no_run_is_named(line, planetoid, tmp_path, capsys):
    words = [*SMALL, "--data_dir", str(planetoid[0]), "--output", str(tmp_path)]
    (tmp_path / "runs.csv").write_bytes(b"cora,vmf,16,0.01,0.0,200,0,90.0,91.0,92.0\n" + line + b"\n")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "line 2" in error


@pytest.mark.parametrize(
    "words", ["--graphs pubmed", "--dims 0", "--rates nan", "--dropouts 1", "--seeds 1", "--latents", "--epoch 3"]
)
def test_mistake_is_one_line(words, capsys):
    with pytest.raises(SystemExit) as left:
        main(words.split())
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert error.count("\n") == 1
    assert words.split()[0] in error


@pytest.mark.slow
def test_processes_change_nothing(real_data):
    work = partial(train, real_data / "Planetoid")
    runs = [Run(graph, "vmf", 2, 0.01, 0.2, 1, 0) for graph in GRAPHS]
    assert dict(each(work, runs, 2)) == dict(each(work, runs, 1))

"""Predict missing links of a citation graph with a variational graph auto-encoder.

    python examples/link_prediction.py           # Cora and Citeseer, three latent spaces, d = 16, five seeds
    python examples/link_prediction.py --grid    # the grid of the paper, chosen on validation links

A graph convolutional network turns the words and links of articles into a posterior over a point z for each article; a
link between two of them has probability sigmoid(<z_i, z_j>) (Kipf and Welling 2016, "Variational graph auto-encoders").
The points lie in R^d under a normal prior, or on the sphere S^d in R^(d+1) under a uniform one (Davidson et al. 2018,
"Hyperspherical variational auto-encoders", table 4). Of the links 85 % are for training, 5 % for validation, 10 % for
testing; the last two are joined by as many pairs of articles without a link.
"""

import argparse
import functools
import hashlib
import io
import itertools
import math
import multiprocessing
import os
import pickle
import statistics
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import sparse
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # finds the library where it is not installed
from hyperspherical_vae.latents import Latent, NormalLatent, PowerSphericalLatent, SphericalLatent

warnings.filterwarnings("ignore", "Sparse (invariant checks|CSR tensor support)")
ADDRESS = "https://github.com/kimiyoung/planetoid/raw/master/data"
SHA256 = {
    "ind.cora.allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
    "ind.cora.tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
    "ind.cora.graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
    "ind.cora.test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    "ind.citeseer.allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
    "ind.citeseer.tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
    "ind.citeseer.graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
    "ind.citeseer.test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
}
GRAPHS = ("cora", "citeseer")

HIDDEN = 32
ROWS = 128  # a block of probabilities that stays in the cache
LATENTS: dict[str, Callable[[int, int], Latent]] = {
    "normal": NormalLatent,
    "vmf": SphericalLatent,
    "powerspherical": PowerSphericalLatent,
}

# The grid of the paper, and its table 4: mean and s.d. over five runs in %, of AUC and of average precision.
GRID: dict[str, list[float]] = {"dims": [16, 32, 64], "rates": [0.01, 0.005, 0.001], "dropouts": [0.0, 0.2, 0.4]}
PUBLISHED = {
    ("cora", "normal"): ((92.7, 0.2), (93.2, 0.4)),
    ("cora", "vmf"): ((94.1, 0.1), (94.1, 0.3)),
    ("citeseer", "normal"): ((90.3, 0.5), (91.5, 0.5)),
    ("citeseer", "vmf"): ((94.7, 0.2), (95.2, 0.2)),
}


class DataError(Exception):
    """A file is missing or is not what it should be; the message is one line for the user."""


class _Unpickler(pickle.Unpickler):
    """Admits arrays of numpy and scipy.sparse, dictionaries and lists; any other name is refused and not looked up."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("scipy.sparse.csr", "csr_matrix"): sparse.csr_matrix,
        ("collections", "defaultdict"): lambda kind: {},
        ("__builtin__", "list"): list,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return self.allowed[module, name]


def unpickle(data: bytes) -> Any:
    """What a pickle of Python 2 holds, if that is arrays, dictionaries and lists; else `pickle.UnpicklingError`."""
    return _Unpickler(io.BytesIO(data), encoding="latin1").load()


def read_file(path: Path) -> bytes:
    """The bytes of a data file, which have to be the published ones."""
    address = f"{ADDRESS}/{path.name}"
    if not path.is_file():
        raise DataError(f"{path} is missing; download {address} to {path.parent}, or give its folder with --data_dir")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256[path.name]:
        raise DataError(f"{path} is not the published file (its SHA-256 differs); download {address} again")
    return data


def sparse_tensor(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> Tensor:
    """A torch.sparse matrix in compressed rows, whose products are several times as fast as those of coordinates."""
    matrix = sparse.csr_matrix((values, (rows, columns)), shape, dtype=np.float32)
    starts, places, numbers = map(torch.from_numpy, (matrix.indptr, matrix.indices, matrix.data))
    return torch.sparse_csr_tensor(starts, places, numbers, shape)


class _Average(torch.autograd.Function):
    """adjacency @ features; torch's own derivative does not know that the matrix is symmetric, and sorts it anew."""

    @staticmethod
    def forward(ctx: Any, adjacency: Tensor, features: Tensor) -> Tensor:
        ctx.adjacency = adjacency
        return adjacency @ features

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, ctx.adjacency @ gradient


@functools.cache
def load_graph(folder: Path, graph: str) -> tuple[Tensor, np.ndarray]:
    """Words of the N articles, a sparse tensor (N, F) of 0 and 1, and the links, (E, 2) pairs of articles i < j."""
    allx, tx, index, neighbours = (
        read_file(folder / f"ind.{graph}.{part}") for part in ("allx", "tx", "test.index", "graph")
    )
    linked = unpickle(neighbours)
    known, others = unpickle(allx), unpickle(tx)
    # `tx` has its rows in the order of `test.index`. Articles of Citeseer that are in neither have no words.
    article = np.concatenate([np.arange(known.shape[0]), np.array(index.split(), dtype=np.int64)])
    words = sparse.vstack([known, others]).tocoo()
    pairs = {(min(i, j), max(i, j)) for i, ends in linked.items() for j in ends if i != j}
    shape = (len(linked), words.shape[1])
    return sparse_tensor(article[words.row], words.col, words.data, shape), np.array(sorted(pairs), dtype=np.int64)


class Split(NamedTuple):
    """What a model sees of a graph, and the pairs of articles that it is asked about.

    `words` (N, F) and `adjacency` (N, N) are sparse; the latter is D^(-1/2) (A + I) D^(-1/2) for the training links A.
    `validation` and `test` are (2, P) pairs: links in the first half, none in the second.
    """

    words: Tensor
    adjacency: Tensor
    validation: Tensor
    test: Tensor


def split_links(words: Tensor, links: np.ndarray, seed: int) -> Split:
    """Divide the links by the seed: 85 % for training, 5 % for validation, 10 % for the test."""
    generator = np.random.default_rng(seed)
    n = len(words)
    held_out = (len(links) // 20, len(links) // 10)
    validation, test, training = np.split(generator.permutation(links), np.cumsum(held_out))
    # Four times as many random pairs as are needed: those that repeat, or are links, are few in a sparse graph.
    pairs = np.sort(generator.integers(n, size=(4 * sum(held_out), 2)), axis=1)
    keys, first = np.unique(pairs @ [n, 1], return_index=True)
    fresh = first[~np.isin(keys, links @ [n, 1])]
    apart = pairs[np.sort(fresh)]
    apart = apart[apart[:, 0] < apart[:, 1]]
    validation = np.concatenate([validation, apart[: held_out[0]]])
    test = np.concatenate([test, apart[held_out[0] : sum(held_out)]])

    ends = np.concatenate([training.T, training.T[::-1], np.tile(np.arange(n), (2, 1))], axis=1)
    scale = np.bincount(ends[0]) ** -0.5
    adjacency = sparse_tensor(ends[0], ends[1], scale[ends[0]] * scale[ends[1]], (n, n))
    return Split(words, adjacency, torch.from_numpy(validation.T), torch.from_numpy(test.T))


class GraphEncoder(nn.Module):
    """Two graph convolutions; the second is the latent's linear map of the features averaged over neighbours."""

    def __init__(self, vocabulary: int, latent: Latent, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(vocabulary, HIDDEN)))
        self.latent = latent
        self.dropout = dropout

    def forward(self, split: Split) -> Distribution:
        words = split.words
        values = F.dropout(words.values(), self.dropout, self.training)
        words = torch.sparse_csr_tensor(words.crow_indices(), words.col_indices(), values, words.shape)
        hidden: Tensor = _Average.apply(split.adjacency, words @ self.weight)
        features: Tensor = _Average.apply(split.adjacency, F.dropout(hidden.relu(), self.dropout, self.training))
        return self.latent.posterior(features)


def reconstruction_gradient(z: Tensor, adjacency: Tensor) -> Tensor:
    """Derivative in z (N, D) of the reconstruction loss; linked are the pairs whose entry of `adjacency` is not zero.

    The loss is half the mean of -log p over linked pairs plus half the mean of -log(1 - p) over all others, where p is
    the sigmoid of the inner product. Its value is not computed: the N^2 logarithms would take most of the time.
    """
    n, first, second = len(z), adjacency.crow_indices(), adjacency.col_indices()
    links = len(second)
    others = n * n - links
    p = torch.sigmoid((z.repeat_interleave(first.diff(), 0) * z[second]).sum(-1))
    gradient = torch.sparse_csr_tensor(first, second, (p - 1) / links - p / others, (n, n)) @ z
    for start in range(0, n, ROWS):  # each pair once: the rows of a block with those from it on
        rows, rest = z[start : start + ROWS], z[start:]
        p = (rows @ rest.T).sigmoid_().div_(others)
        gradient[start : start + ROWS] += p @ rest
        gradient[start + ROWS :] += p[:, ROWS:].T @ rows
    return gradient


class Run(NamedTuple):
    """What one training is defined by."""

    graph: str
    latent: str
    dim: int
    rate: float
    dropout: float
    epochs: int
    seed: int


class Scores(NamedTuple):
    """In %: AUC of the validation links in its best epoch, and there AUC and average precision of the test links."""

    validation: float
    auc: float
    ap: float


def auc(links: Tensor, others: Tensor) -> float:
    """Share of (link, other pair) in which the link has the higher value; ties count half."""
    difference = links[:, None] - others
    return ((difference > 0).double().mean() + (difference == 0).double().mean() / 2).item()


def average_precision(links: Tensor, others: Tensor) -> float:
    return float(average_precision_score(torch.arange(2 * len(links)) < len(links), torch.cat([links, others])))


def score(metric: Callable[[Tensor, Tensor], float], z: Tensor, pairs: Tensor) -> float:
    """A metric in % of the inner products of `pairs`, whose first half are links."""
    return 100 * metric(*(z[pairs[0]] * z[pairs[1]]).sum(-1).chunk(2))


def train(folder: Path, run: Run) -> tuple[Run, Scores]:
    """Train one model. The same run gives the same scores, in however many processes the others are."""
    torch.set_num_threads(1)
    torch.manual_seed(run.seed)
    split = split_links(*load_graph(folder, run.graph), run.seed)
    n, vocabulary = split.words.shape
    model = GraphEncoder(vocabulary, LATENTS[run.latent](HIDDEN, run.dim), run.dropout)
    optimizer = torch.optim.Adam(model.parameters(), run.rate)
    best = Scores(0.0, 0.0, 0.0)
    for _ in range(run.epochs):
        model.train()
        q = model(split)
        z = q.rsample()
        kl = model.latent.kl(q, z).sum(-1).mean()
        gradient = reconstruction_gradient(z.detach(), split.adjacency)
        optimizer.zero_grad()
        # The reconstruction is a mean over pairs, of which each article has N.
        torch.autograd.backward([z, kl / n], [gradient, None])
        optimizer.step()
        model.eval()
        with torch.no_grad():
            mean = model(split).mean  # independent points: <mean_i, mean_j> is the expected inner product
        validation = score(auc, mean, split.validation)
        if validation > best.validation:
            test = (score(metric, mean, split.test) for metric in (auc, average_precision))
            best = Scores(validation, *test)
    return run, best


def read_runs(path: Path) -> dict[Run, Scores]:
    """The runs that a file of earlier ones holds."""
    runs: dict[Run, Scores] = {}
    if path.exists():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            try:
                graph, latent, dim, rate, dropout, epochs, seed, *scores = line.split(",")
                run = Run(graph, latent, int(dim), float(rate), float(dropout), int(epochs), int(seed))
                runs[run] = Scores(*map(float, scores))
            except (TypeError, ValueError):
                raise DataError(f"{path}: line {number} is not a run of this program; remove the line") from None
    return runs


def compute(runs: list[Run], data_dir: Path, file: Path, processes: int) -> dict[Run, Scores]:
    """Train what the file does not hold yet, and add each run to it at once, so that nothing is computed twice."""
    done = read_runs(file)
    missing = [run for run in runs if run not in done]
    for graph in {run.graph for run in missing}:
        load_graph(data_dir, graph)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as lines:
        for number, (run, scores) in enumerate(each(functools.partial(train, data_dir), missing, processes), 1):
            done[run] = scores
            lines.write(",".join(map(str, run + scores)) + "\n")
            lines.flush()
            end = "\n" if number == len(missing) else ""
            print(f"\r{number} of {len(missing)} runs", end=end, file=sys.stderr, flush=True)
    return done


def each(work: Callable[[Run], tuple[Run, Scores]], runs: list[Run], processes: int) -> Iterator[tuple[Run, Scores]]:
    """The results of the runs as they come."""
    if processes == 1:
        yield from map(work, runs)
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            yield from pool.imap_unordered(work, runs)


class Row(NamedTuple):
    """Models of one graph, latent, d, learning rate and dropout: mean, and s.d., over the seeds."""

    run: Run
    validation: float
    auc: tuple[float, float]
    ap: tuple[float, float]


def best_rows(scores: dict[Run, Scores]) -> list[Row]:
    """For each graph, latent and d, the learning rate and dropout with the best mean AUC on validation links."""
    models: dict[Run, list[Scores]] = {}
    for run, found in scores.items():
        models.setdefault(run._replace(seed=0), []).append(found)
    best: dict[tuple[Any, ...], Row] = {}
    for run, seeds in models.items():
        validation, *test = zip(*seeds, strict=True)
        row = Row(run, statistics.fmean(validation), *((statistics.fmean(x), statistics.stdev(x)) for x in test))
        rival = best.setdefault(run[:3], row)
        if row.validation > rival.validation:
            best[run[:3]] = row
    return list(best.values())


def against(ours: tuple[float, float], paper: tuple[float, float], seeds: int) -> str:
    """The published mean and s.d., and whether ours is within 2 (s.d. there + s.d. here / sqrt n) of that mean."""
    allowed = 2 * (paper[1] + ours[1] / math.sqrt(seeds))
    difference = ours[0] - paper[0]
    verdict = "within" if abs(difference) <= allowed else "outside"
    return f"{paper[0]:.1f} ± {paper[1]:.1f}: {difference:+.1f}, {verdict} {allowed:.1f}"


def table(rows: list[Row], seeds: int) -> str:
    """All rows as Markdown; a star marks the d that has the best validation AUC of its graph and latent."""
    lines = [
        "| graph | latent | d | rate | dropout | validation AUC | AUC | AP | AUC, paper | AP, paper |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        run = row.run
        chosen = row.validation == max(rival.validation for rival in rows if rival.run[:2] == run[:2])
        cells = [run.graph, run.latent, f"{run.dim}{'*' * chosen}", f"{run.rate:g}", f"{run.dropout:g}"]
        cells += [f"{row.validation:.1f}", "{:.1f} ± {:.1f}".format(*row.auc), "{:.1f} ± {:.1f}".format(*row.ap)]
        paper = PUBLISHED.get(run[:2]) if chosen else None
        cells += [against(row.auc, paper[0], seeds), against(row.ap, paper[1], seeds)] if paper else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(rows: list[Row], path: Path) -> None:
    """Draw test AUC against d, with the published value of each latent as a line."""
    graphs = list(dict.fromkeys(row.run.graph for row in rows))
    figure = Figure(figsize=(4 * len(graphs), 3.2), layout="constrained")
    for axes, graph in zip(figure.subplots(1, len(graphs), squeeze=False)[0], graphs, strict=True):
        for number, latent in enumerate(LATENTS):
            of_latent = [row for row in rows if row.run[:2] == (graph, latent)]
            if not of_latent:
                continue
            places = [math.log2(row.run.dim) + 0.06 * number for row in of_latent]
            means, deviations = zip(*(row.auc for row in of_latent), strict=True)
            axes.errorbar(places, means, deviations, fmt="o-", color=f"C{number}", capsize=3, label=latent)
            if (graph, latent) in PUBLISHED:
                published = PUBLISHED[graph, latent][0][0]
                axes.axhline(published, color=f"C{number}", linestyle=":", label=f"{latent}, paper")
        dims = sorted({row.run.dim for row in rows})
        axes.set_xticks([math.log2(dim) for dim in dims], [str(dim) for dim in dims])
        axes.set(title=graph, xlabel="d", ylabel="test AUC in %")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize="small")
    figure.savefig(path, dpi=120)


class Parser(argparse.ArgumentParser):
    """A mistake is answered in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; --help lists what is allowed\n")


def at_least(least: float, kind: type[int] | type[float], below: float = math.inf) -> Callable[[str], float]:
    """A type for argparse: a number from `least` to below `below`."""

    def number(text: str) -> float:
        value = kind(text)
        if not least <= value < below:
            raise ValueError
        return value

    number.__name__ = f"number from {least:g} {'on' if below == math.inf else f'to below {below:g}'}"
    return number


def parse(words: list[str] | None) -> argparse.Namespace:
    """The settings; `--grid` stands for three of them."""
    parser = Parser(description=(__doc__ or "").split("\n")[0], allow_abbrev=False)
    add = functools.partial(parser.add_argument, nargs="+", metavar="X")
    add("--graphs", choices=GRAPHS, default=list(GRAPHS), help=f"graphs ({', '.join(GRAPHS)})")
    add("--latents", choices=LATENTS, default=list(LATENTS), help=f"latent spaces ({', '.join(LATENTS)})")
    add("--dims", type=at_least(1, int), default=[16], help="dimensions d of the latent space (16)")
    add("--rates", type=at_least(1e-6, float), default=[0.01], help="learning rates (0.01)")
    add("--dropouts", type=at_least(0, float, 1), default=[0.0], help="shares of units that dropout sets to 0 (0)")
    texts = (f"{name} {' '.join(map(str, values))}" for name, values in GRID.items())
    parser.add_argument("--grid", action="store_true", help=f"the grid of the paper: {', '.join(texts)}")
    parser.add_argument("--epochs", type=at_least(1, int), default=200, metavar="N", help="epochs (200)")
    parser.add_argument("--seeds", type=at_least(2, int), default=5, metavar="N", help="runs of each model (5)")
    processes = os.cpu_count() or 1
    parser.add_argument(
        "--processes", type=at_least(1, int), default=processes, metavar="N", help=f"processes ({processes})"
    )
    add = functools.partial(parser.add_argument, type=Path, metavar="FOLDER")
    add("--data_dir", default="data/Planetoid", help="folder of the files ind.* (%(default)s)")
    text = "folder for the picture and the scores of all runs, none of which is computed twice (%(default)s)"
    add("--output", default="results/link_prediction", help=text)
    settings = parser.parse_args(words)
    if settings.grid:
        vars(settings).update(GRID)
    return settings


def main(words: list[str] | None = None) -> int:
    settings = parse(words)
    lists = (settings.graphs, settings.latents, settings.dims, settings.rates, settings.dropouts)
    runs = [
        Run(graph, latent, dim, rate, dropout, settings.epochs, seed)
        for seed in range(settings.seeds)
        for graph, latent, dim, rate, dropout in itertools.product(*map(dict.fromkeys, lists))
    ]
    try:
        done = compute(runs, settings.data_dir, settings.output / "runs.csv", settings.processes)
        rows = best_rows({run: done[run] for run in runs})
        print(table(rows, settings.seeds))
        draw(rows, settings.output / "auc.png")
    except (DataError, OSError) as error:
        print(f"link_prediction.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, DataError) else 1
    except KeyboardInterrupt:
        return 130
    print(f"\npicture: {settings.output / 'auc.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Whether classes whose codes are alike are those that samples confuse: of scored runs with an independent code prior.

python -m benchmarks.code_confusions results/mnist/vq-9x64__s1__0123abcd ...
"""

if __name__ == "__main__":  # before the imports below, which take a while
    from utils.run.interrupts import end_on_ctrl_c

    end_on_ctrl_c()

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hyperspherical_vae.latents.code_priors import IndependentCodePrior
from models import load_best
from utils.config.command_line import parse_options
from utils.config.flags import UsageError
from utils.figures.geometry import jensen_shannon
from utils.run.failures import guarded
from utils.run.folder import RunDir
from utils.tables.layout import Table, as_text


@dataclass(frozen=True)
class Options:
    """The flags of `python -m benchmarks.code_confusions`: it has none."""


def main(arguments: Sequence[str]) -> int:
    """Print the matrices of each run, its share of each class, and the rank correlation of the two matrices."""
    return guarded("benchmarks.code_confusions", lambda stop: _compare(arguments))


def _compare(arguments: Sequence[str]) -> int:
    _, folders = parse_options(
        arguments, Options,
        usage="python -m benchmarks.code_confusions RUN...",
        description="Compare the codes of classes with the confusions of samples, of runs with --score.",
        epilog="Exit codes: 0 done, 1 failed, 2 usage.",
    )
    if not folders:
        raise UsageError("no run is named; give folders of runs of -n vq --vq_prior independent --score")
    from scipy.stats import spearmanr

    rows: list[list[str]] = []
    for folder in folders:
        run = RunDir.at(Path(folder))
        if not (run.path / "confusions.npz").exists():
            raise UsageError(f"{folder}: has no scores of samples; add them: run_models.py --from {folder} --score")
        prior = getattr(load_best(run)[0].latent, "code_prior", None)
        if not isinstance(prior, IndependentCodePrior):
            raise UsageError(f"{folder}: has no independent prior over codes; train with -n vq --vq_prior independent")
        divergence = jensen_shannon(prior.log_probs[:-1].exp().numpy())
        counts = run.read("confusions.npz")["samples"]
        share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
        confusion = (share + share.T) / 2
        pairs = np.triu_indices(len(share), 1)
        print(f"{run.path.name}: divergence of codes (nats) above, % of samples confused below the diagonal")
        print(as_text(_both(divergence, confusion)), end="\n\n")
        found = spearmanr(divergence[pairs], confusion[pairs])
        rows.append([run.path.name, *(f"{value:.0f}" for value in np.diag(share)), f"{found.statistic:.2f}"])
    head = ["% of the class asked for", *map(str, range(len(rows[0]) - 2)), "rank correlation"]
    print(as_text(Table([head, *rows])))
    return 0


def _both(above: NDArray[Any], below: NDArray[Any]) -> Table:
    """Two symmetric matrices in one."""
    labels = [str(label) for label in range(len(above))]
    rows = [["class", *labels]]
    for row, label in enumerate(labels):
        left = [f"{value:.1f}" for value in below[row, :row]]
        right = [f"{value:.2f}" for value in above[row, row + 1 :]]
        rows.append([label, *left, "", *right])
    return Table(rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

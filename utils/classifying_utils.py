"""Classes in the latent space: choice of labelled images, accuracy of the classifier, probes of embeddings.

scikit-learn is imported where it is used.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from models import VAE, point_of
from utils.config.config import Config
from utils.config.flags import UsageError
from utils.config.seeds import derive_seed
from utils.load_data import Data
from utils.model_utils import evaluating

# As in Davidson et al. 2018, Table 3: accuracies are means over this many random choices of labelled images.
DRAWS = 20
LABELLED = (100, 600, 1000)
NEIGHBOURS = 5


def check_labels(config: Config, data: Data) -> None:
    """Refuse what needs labels where there are none, or not enough.

    Raises:
        UsageError: the data set has no labels, or --labels asks for more or fewer images than it can.
    """
    for flag, wanted in (("--classifier", config.classifier), ("--probe", config.probe)):
        if wanted and data.train.labels is None:
            raise UsageError(f"{flag}: the data set {config.data_name} has no labels; leave it out, or take another")
    if config.labels is not None and not data.classes <= config.labels <= len(data.train):
        raise UsageError(
            f"--labels {config.labels}: allowed with -d {config.dataset}: from {data.classes}, one of each class, to "
            f"{len(data.train)}, all training images"
        )


def choose_labelled(labels: Tensor, n: int, seed: int) -> Tensor:
    """A random choice of images with equally many of each class.

    A class that has too few gives all it has, and the others make up for it.

    Args:
        labels: class of each image, (N,).
        n: how many to choose.
        seed: fixes the choice.

    Returns:
        Indices of the chosen images, (n,), in ascending order.

    Raises:
        ValueError: n exceeds the number of images, or is below the number of classes.
    """
    present = labels.unique()
    if not len(present) <= n <= len(labels):
        raise ValueError(f"{n} labelled images; allowed: from {len(present)}, one of each class, to {len(labels)}")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    shuffled = labels.cpu()[order]
    # Rank of each image within its class: those of the lowest ranks make an even choice, ties broken by the shuffle.
    rank = torch.empty_like(order)
    for label in present.tolist():
        where = shuffled == label
        rank[where] = torch.arange(int(where.sum()))
    return order[rank.argsort(stable=True)[:n]].sort().values


def training_labels(labels: Tensor, n: int | None, seed: int) -> Tensor:
    """The labels that training may see: -1 for all but n images, chosen by `choose_labelled`; all if n is None."""
    if n is None:
        return labels
    chosen = choose_labelled(labels, n, derive_seed(seed, "labels"))
    return torch.full_like(labels, -1).index_put((chosen,), labels[chosen])


def note_on_labels(labels: Tensor, n: int) -> str | None:
    """What to tell a user who asks for n labelled images that are no equal share of each class, or None."""
    counts = labels[choose_labelled(labels, n, seed=0)].bincount().tolist()
    if min(counts) == max(counts):
        return None
    return f"--labels {n}: is no equal share; {min(counts)} to {max(counts)} images of each class are labelled"


@torch.no_grad()
def classifier_metrics(
    model: VAE, images: Tensor, labels: Tensor, seed: int, samples: int = 10
) -> dict[str, float]:
    """How well the classifier on the latent does on a split.

    Args:
        model: with a classifier.
        images: (N, C, H, W), floats on the model's device.
        labels: (N,).
        seed: fixes the samples.
        samples: draws of z per image whose class probabilities are averaged.

    Returns:
        `accuracy` from the posterior's mode (on a sphere its mean direction), `accuracy_sampled` from class
        probabilities averaged over samples of z, and `cross_entropy` of the latter in nats.
    """
    classifier = model.classifier
    assert classifier is not None

    def log_probs(q: Distribution) -> Tensor:
        """Log-probabilities of the classes (B, 2, Y): at the mode, and averaged over samples."""
        sampled = F.log_softmax(classifier(q.sample((samples,))), -1).logsumexp(0) - math.log(samples)
        return torch.stack([F.log_softmax(classifier(point_of(q)), -1), sampled], 1)

    torch.manual_seed(derive_seed(seed, "classifier"))
    at_mode, sampled = of_posteriors(model, images, log_probs).unbind(1)
    y = labels.to(images.device)
    accuracy, accuracy_sampled = ((found.argmax(-1) == y).double().mean().item() for found in (at_mode, sampled))
    return {
        "accuracy": accuracy,
        "accuracy_sampled": accuracy_sampled,
        "cross_entropy": F.nll_loss(sampled.double(), y).item(),
    }


@torch.no_grad()
def of_posteriors(
    model: VAE, images: Tensor, what: Callable[[Distribution], Tensor], batch_size: int = 1000
) -> Tensor:
    """What a function gives of the posteriors of many images (N, C, H, W), such as their modes (N, D)."""
    with evaluating(model):
        return torch.cat([what(model.posterior(x)) for x in images.split(batch_size)])


def probe(
    train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, spherical: bool, seed: int
) -> dict[str, Any]:
    """Accuracy of simple classifiers on embeddings, given few labels.

    For 100, 600 and 1000 labelled images, as far as there are so many, equally many of each class: nearest neighbours
    (5, by angle on a sphere, by Euclidean distance elsewhere) and logistic regression on standardised coordinates, both
    of scikit-learn, over 20 random choices of the labelled images (the experiment of Davidson et al. 2018, Table 3).

    Args:
        train: embeddings to learn from, (N, D).
        train_labels: their classes, (N,).
        test: embeddings to classify, (M, D).
        test_labels: their classes, (M,).
        spherical: whether the embeddings lie on one sphere.
        seed: fixes the choices.

    Returns:
        `knn` and `linear`: a list with `labels`, `mean` and `std` (percent of the test images) for each number; and
        `metric`, `neighbours`, `draws`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    metric = "cosine" if spherical else "euclidean"
    found: dict[str, Any] = {"metric": metric, "neighbours": NEIGHBOURS, "draws": DRAWS, "knn": [], "linear": []}
    z, y, z_test, y_test = (part.cpu().numpy() for part in (train, train_labels, test, test_labels))
    classes = len(train_labels.unique())
    for n in LABELLED:
        if not classes <= n <= len(train):
            continue
        correct: dict[str, list[float]] = {"knn": [], "linear": []}
        for draw in range(DRAWS):
            chosen = choose_labelled(train_labels, n, derive_seed(seed, "probe", n, draw)).numpy()
            neighbours = KNeighborsClassifier(min(NEIGHBOURS, n), metric=metric, algorithm="brute")
            linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, tol=1e-3))
            for name, classifier in (("knn", neighbours), ("linear", linear)):
                correct[name].append(100 * float(classifier.fit(z[chosen], y[chosen]).score(z_test, y_test)))
        for name, values in correct.items():
            spread = torch.tensor(values, dtype=torch.float64)
            found[name].append({"labels": n, "mean": spread.mean().item(), "std": spread.std().item()})
    return found

"""The metrics of a run, each defined once: what tables, results, report and docs/metrics.md know of it.

Adding a metric is computing it (under its key in the summary) and adding one entry to `METRICS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

# A number, None where it was not finite, or one such value for each factor of the latent space.
Value = float | None | tuple[float | None, ...]


@dataclass(frozen=True)
class Metric:
    """How a metric is shown.

    Attributes:
        heading: its name in tables.
        meaning: for docs/metrics.md; metrics that follow each other and mean the same share a line there.
        better: 1 if more is better, -1 if less is, 0 if neither.
        digits: after the decimal point.
        scale: factor between the summary and the tables, such as 100 for a share in per cent.
        error: key of its standard error or deviation.
        detail: what the table of one run adds, a template of other numbers such as `of {units:.0f}`.
        reference: key of the same metric of real images, which the table of one run adds; its error ends in `_se`.
        compared: whether tables of several runs show it unless other metrics are asked for.
        depends_on_k: whether only runs with equally many importance samples can be compared by it.
        optional: whether None in a summary means that this run has no such number, rather than that it is not finite.
    """

    heading: str
    meaning: str = ""
    better: int = 0
    digits: int = 2
    scale: float = 1.0
    error: str = ""
    detail: str = ""
    reference: str = ""
    compared: bool = True
    depends_on_k: bool = False
    optional: bool = False

    def text(self, value: float | None, error: float | None = None, sign: str = "") -> str:
        """A value as it is written, with its error where there is one; `sign` is `+` to write that of a gain too."""
        text = number(None if value is None else self.scale * value, self.digits, sign)
        return text if error is None else f"{text} ± {number(self.scale * error, self.digits)}"


_KL = "KL(q(z\\|x) \\|\\| p(z)) in closed form, and for each factor of a product"
_PRIOR = (
    "with a fitted prior over codes: the mean of log p(x, codes) <= log p(x); the bits that it needs for the codes of "
    "an image, and those if the class is known"
)
_CODES = (
    "of a discrete latent: the share of codes that occur; perplexity of their frequencies (for gumbel a mean over "
    "variables); bits per image of uniform codes"
)
_COURSE = (
    "epochs trained, the best of them, and the seconds that training and validation took; `restarts` counts how often "
    "training went back to its last good state, see below"
)
_PROBE = (
    "% of test images classified right from their embeddings, given so many labels: 5 nearest neighbours (by angle on "
    "a sphere, else Euclidean) and logistic regression; mean and standard deviation over 20 choices of labels"
)

_DISTANCES = (
    "distance of the samples to the training images in the features of the judge: Frechet distance of Gaussians (FID; "
    "it falls as `score.n` rises), and 1000 times the unbiased squared kernel distance (KID)"
)


def _of_samples(**metrics: Metric) -> dict[str, Metric]:
    """Metrics of samples, beside each of which stands that of real test images."""
    return {
        f"score.{key}": replace(metric, error=f"score.{key}_se", reference=f"score.real.{key}", optional=True)
        for key, metric in metrics.items()
    }


METRICS: dict[str, Metric] = {
    "log_px": Metric(
        "log p(x)",
        "log p(x), importance sampled with K (`k`) draws from q; it is low on average, and rises with K; "
        "`log_px_se` is its standard error over the test images, `log_px_nonfinite` counts those without a finite one",
        better=1,
        error="log_px_se",
        detail="(K={k:.0f})",
        depends_on_k=True,
        optional=True,
    ),
    "bits_per_dim": Metric(
        "bits/dim",
        "-log p(x) in bits for each pixel and channel, where the likelihood is one of grey levels (`-lf logistic`)",
        better=-1,
        digits=3,
        depends_on_k=True,
    ),
    "elbo": Metric(
        "ELBO",
        "E log p(x\\|z) - KL, a lower bound of log p(x), as a mean over the K samples; `elbo_se` is its standard error "
        "over the test images, `elbo_mc_se` that part of it which more samples make smaller",
        better=1,
        error="elbo_se",
    ),
    "log_px_z": Metric("reconstruction", "the reconstruction term E log p(x\\|z)", better=1),
    "kl": Metric("KL", _KL),
    "kl_factors": Metric("KL per factor", _KL, compared=False),
    "kappa.mean": Metric(
        "kappa, mean ± std",
        "concentration of the posteriors on each sphere; `kappa` also has `std` and quantiles",
        digits=1,
        error="kappa.std",
        compared=False,
    ),
    "ess": Metric(
        "effective sample size",
        "effective sample size of the importance weights, mean over images, from 1 to K. From 10 on log p(x) "
        "is some 1/(2 `ess`) nats too low; near 1 it rests on a single sample and can be many nats too low: raise "
        "`-lls`",
        digits=1,
        detail="of {k:.0f}",
        compared=False,
        depends_on_k=True,
        optional=True,
    ),
    "active_units": Metric(
        "active units",
        "coordinates of z whose posterior mean varies over images by more than 1 % of the prior's variance; "
        "`units` counts all",
        digits=0,
        detail="of {units:.0f}",
        compared=False,
    ),
    "code_prior.log_joint": Metric(
        "log p(x, codes)", _PRIOR, better=1, error="code_prior.log_joint_se", detail="<= log p(x)"
    ),
    "code_prior.bits": Metric("bits of codes", _PRIOR, digits=1, compared=False),
    "code_prior.bits_given_class": Metric("bits given the class", _PRIOR, digits=1, compared=False, optional=True),
    "codes.usage": Metric("codes in use %", _CODES, digits=1, scale=100),
    "codes.perplexity": Metric("perplexity of codes", _CODES, digits=1),
    "codes.bits": Metric("bits of uniform codes", _CODES, digits=1, compared=False),
    "accuracy": Metric(
        "accuracy %",
        "share of images that the classifier gets right at the posterior's mode (on a sphere its mean direction)",
        better=1,
        scale=100,
    ),
    "accuracy_sampled": Metric(
        "accuracy over samples %",
        "the same from class probabilities averaged over 10 samples of z",
        better=1,
        scale=100,
        compared=False,
    ),
    "cross_entropy": Metric(
        "cross-entropy", "of the classifier; in `train` over the labelled images", better=-1, digits=3, compared=False
    ),
    **{
        f"probe.{key}.{labels}.mean": Metric(
            f"{name}, {labels} labels %", _PROBE, 1, digits=1, error=f"probe.{key}.{labels}.std", compared=key == "knn"
        )
        for key, name in (("knn", "kNN"), ("linear", "logistic regression"))
        for labels in (100, 600, 1000)
    },
    **_of_samples(
        agreement=Metric(
            "label agreement %",
            "share of class-conditional samples in which the judge, a small classifier of real images, sees the class "
            "asked for; a model that knows no classes draws them from posteriors of test images",
            better=1,
            scale=100,
        ),
        entropy=Metric("entropy of labels", "entropy in nats of the classes that the judge sees in samples", digits=3),
        fid=Metric("FID", _DISTANCES, better=-1),
        kid=Metric("KID x 1000", _DISTANCES, better=-1, scale=1000),
        diversity=Metric(
            "diversity",
            "root mean square distance between two samples in the features of the judge",
            compared=False,
        ),
        class_diversity=Metric(
            "diversity within classes",
            "the same of two samples of which the same class was asked",
            compared=False,
        ),
        sharpness=Metric(
            "sharpness",
            "root mean square difference of neighbouring pixels, with values from 0 to 1",
            digits=4,
            compared=False,
        ),
        nearest=Metric(
            "distance to training images",
            "Euclidean distance of a sample to the nearest training image, a mean over 2000 samples",
            compared=False,
        ),
    ),
    "score.judge_accuracy": Metric(
        "accuracy of the judge %", "share of all test images that the judge gets right", scale=100, compared=False,
        optional=True,
    ),
    "score.n": Metric("samples", "samples that were scored", digits=0, compared=False),
    "warm_up": Metric(
        "KL weight at the best epoch %",
        "share of its full weight that the KL had in the best epoch; below 1 the run ended within its warm-up (`-klw`)",
        digits=0,
        scale=100,
        compared=False,
    ),
    "n": Metric("test images", "images that the numbers are means over", digits=0, compared=False),
    "epochs": Metric("epochs", _COURSE, digits=0, compared=False),
    "best_epoch": Metric("best epoch", _COURSE, digits=0, compared=False),
    "seconds": Metric("seconds", _COURSE, digits=0, compared=False),
}


def number(value: float | None, digits: int = 2, sign: str = "") -> str:
    """A number for a table; one that was not finite, stored as None, is called so."""
    if value is None:
        return "not finite"
    return f"{value:{sign}.{digits}f}" if abs(value) < 1e10 else f"{value:{sign}.3e}"


def headline(values: Mapping[str, Value]) -> str:
    """The first compared metric that a run has, in a few words."""
    for key, metric in METRICS.items():
        value = values.get(key, ())
        if metric.compared and not isinstance(value, tuple):
            return f"{metric.heading} {metric.text(value)}"
    return ""


def glossary() -> str:
    """The metrics and their meanings as a Markdown table."""
    lines: dict[str, list[str]] = {}
    for key, metric in METRICS.items():
        lines.setdefault(metric.meaning, []).append(f"`{key}`")
    rows = [f"| {', '.join(keys)} | {meaning} |" for meaning, keys in lines.items()]
    return "\n".join(["| metric | meaning |", "|---|---|", *rows])

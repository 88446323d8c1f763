"""What `--from` asks of finished runs, and the flags that say it."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from utils.config.config import NO_FIGURES, Config
from utils.config.flags import UsageError, flag, flags_of

LOOK = (
    "finished runs; with --from go also -lls, --score, --export, --figures, --pdf, --svg, --width, --no_titles, "
    "--data_dir, -rs, --device and -v"
)


def _as_in_training(name: str) -> Any:
    """The flag of a training run of that name; where it is not given, the run's own value counts."""
    return dataclasses.field(default=None, metadata={"flag": flags_of(Config)[name]})


@dataclass(frozen=True)
class Revisit:
    """What to do with finished runs."""

    runs: tuple[str, ...] = flag(
        "--from", str, LOOK, (),
        "folders of finished runs: draw the figures of one, or compare the reconstructions of several",
        many="words",
    )
    figures: tuple[str, ...] | None = _as_in_training("figures")
    kappas: tuple[float, ...] | None = flag(
        "--kappas", float, LOOK, None,
        "concentrations at which posteriors of test images are sampled: for --generate, for --score, or else for the "
        "figure `concentration` (some around the learned one)",
        many="commas", low=0, high=1e8,
    )
    generate: int | None = flag(
        "--generate", int, LOOK, None,
        "write so many new images to figures/generated_*.png, in place of earlier ones",
        low=1, high=100_000,
    )
    label: str | None = flag(
        "--label", str, LOOK, None,
        "class of the generated images, its number or name; all: so many of each, in figures/generated/CLASS/",
    )
    sample_temperature: float | None = flag(
        "--sample_temperature", float, LOOK, None,
        "factor on the standard deviation of normal latents that --generate draws (1)",
        above=0, high=100,
    )
    ll_sample: int | None = _as_in_training("ll_sample")
    score: int | None = _as_in_training("score")
    export: bool | None = _as_in_training("export")
    pdf: bool | None = _as_in_training("pdf")
    svg: bool | None = _as_in_training("svg")
    width: float | None = _as_in_training("width")
    no_titles: bool | None = _as_in_training("no_titles")
    data_dir: str | None = _as_in_training("data_dir")
    rs: int | None = _as_in_training("rs")
    device: str | None = _as_in_training("device")
    verbosity: int | None = _as_in_training("verbosity")

    @property
    def draws(self) -> bool:
        """Whether figures are asked for: by name or by their options, or because nothing else is."""
        options = (self.figures, self.pdf, self.svg, self.width, self.no_titles)
        others = (self.generate, self.ll_sample, self.score, self.export)
        return self.figures != (NO_FIGURES,) and (any(options) or not any(others))

    @property
    def figure_names(self) -> tuple[str, ...] | None:
        """The figures that are asked for, by name or by an option of one figure; else None, for all that fit."""
        return ("concentration",) if self.kappas and not self.figures else self.figures

    @property
    def compares(self) -> bool:
        """Whether several runs are to be put side by side."""
        others = (self.figures, self.kappas, self.generate, self.ll_sample, self.score, self.export)
        return len(self.runs) > 1 and not any(others)


def resolve_revisit(request: Revisit) -> Revisit:
    """Refuse what contradicts itself.

    Raises:
        UsageError: a flag is there without the one that it belongs to, or a run or a concentration is named twice.
    """
    for given, value in (("--label", request.label), ("--sample_temperature", request.sample_temperature)):
        if value is not None and request.generate is None:
            raise UsageError(f"{given} {value}: is for generated images; add --generate N, or leave it out")
    if request.rs is not None and request.generate is None and request.score is None:
        raise UsageError(f"-rs {request.rs}: is for samples; add --generate N or --score, or leave it out")
    # files and scores name a concentration by six digits
    for name, words in (("--from", request.runs), ("--kappas", tuple(f"{kappa:g}" for kappa in request.kappas or ()))):
        if len(set(words)) < len(words):
            raise UsageError(f"{name}: {max(words, key=words.count)} is named twice; name each once")
    return request

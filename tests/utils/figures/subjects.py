"""Small untrained models with made-up images, for the tests of the figures."""

from functools import partial

import numpy as np
import torch

from hyperspherical_vae.kinds import KINDS
from models import Images, build_model
from utils.config.config import Config
from utils.config.rules import resolve
from utils.figures.subject import Subject


def line(epoch, config=None, val=True):
    """A line of `metrics.jsonl`."""
    terms = {"elbo": epoch - 100.0, "log_px_z": -90.0, "kl": 10.0}
    kinds = [KINDS[name] for name, _ in config.factors] if config else []
    spheres = sum(kind.is_sphere for kind in kinds)
    if len(kinds) > 1:
        terms["kl_factors"] = [1.0 + place for place in range(len(kinds))]
    kappa = {q: [float(epoch + place) for place in range(spheres)] for q in ("mean", "std", "q05", "q50", "q95")}
    validated = terms | ({"kappa": kappa} if spheres else {})
    return {"epoch": epoch, "kl_weight": 1.0, "train": terms, "val": validated if val else None}


def subject(count=30, classes=3, shape=(1, 8, 6), **settings):
    torch.manual_seed(0)
    config = resolve(Config(h_dims=(8,), dataset="digits", **settings))
    model = build_model(config, Images(shape, 1, "bce", max(classes, 1))).eval()
    labels = torch.arange(count) % classes if classes else None
    images = torch.rand(count, *shape).round()
    values = np.linspace(-9, -3, count)
    metrics = [line(epoch, config) for epoch in (1, 2)]
    return Subject(model, config, images, labels, tuple("abcdefghij"[:classes]), metrics, 2, (20, values))


def directions(count, dim, seed=0):
    points = np.random.default_rng(seed).normal(size=(count, dim))
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def rendered(figure):
    figure.canvas.draw()
    return figure


def placed(points, classes=0, **settings):
    """A run whose images are placed at these points."""
    found = subject(len(points), classes, **settings)
    found.modes = found.samples = points
    return found


discrete = partial(subject, name="vq", codes=16, positions=2, code_dim=3)

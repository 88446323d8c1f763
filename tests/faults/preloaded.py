"""Everything that a run imports, imported once for all of them; see `processes`."""

import os

os.environ["OMP_NUM_THREADS"] = "1"

import sklearn.datasets  # noqa: F401
import torch

import models  # noqa: F401
import run_models  # noqa: F401
from utils import plotting_utils, training_utils  # noqa: F401

torch.set_num_threads(1)

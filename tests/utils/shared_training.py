"""Started by torchrun: trains a model without noise for an epoch, on batches that cannot be shared evenly."""

import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from models import ELBOTerms
from utils.config.command_line import parse_run
from utils.train import join
from utils.train.batches import Preparation, TrainingImages
from utils.training_utils import Trainer

CONFIG = parse_run(["-d", "digits", "-n", "normal", "-z", "1", "-bs", "7", "-b", "0.5", "-klw", "0"])


class Deterministic(nn.Module):
    """Terms of an ELBO that are plain functions of the images."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3).double()
        self.latent = SimpleNamespace(set_epoch=lambda epoch: None)

    def forward(self, x):
        y = self.layer(x.flatten(1).double())
        return ELBOTerms(-y[:, 0].square(), y[:, 1].square(), y[:, 1:2].square(), {})


def train(peers):
    """(sums over the epoch, weights) after an epoch of batches of 7, 7, 7 and 3 images."""
    torch.manual_seed(0)
    model = Deterministic()
    images = torch.randint(0, 256, (24, 1, 2, 2), dtype=torch.uint8)
    split = SimpleNamespace(images=images)
    preparation = Preparation(255, False, 1, torch.device("cpu"))
    batches = TrainingImages(split, preparation, CONFIG.batch_size, peers=peers)
    step = peers.replica(model)
    trainer = Trainer(model, batches, CONFIG, None, None, None, peers=peers, step=step)
    trainer.train_epoch()
    return trainer.sums, model.state_dict()


if __name__ == "__main__":
    with join() as peers:
        found = peers.gather(train(peers))
    if peers.rank == 0:
        torch.save(found, sys.argv[1])

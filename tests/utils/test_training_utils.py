"""The loop: schedule, early stopping, resume, and what happens when numbers stop being finite."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from hyperspherical_vae.latents import NormalLatent
from hyperspherical_vae.likelihoods import Bernoulli
from models import VAE, ELBOTerms
from utils.config.command_line import parse
from utils.config.schedule import kl_weight
from utils.config.seeds import derive_seed
from utils.load_data import Split
from utils.run.checkpoints import Progress
from utils.run.interrupts import Interrupted
from utils.train.batches import Preparation, TrainingImages, binarize
from utils.training_utils import Trainer, batch_weights, is_trained, loss_weights, note_nonfinite, objective

SHAPE = (1, 3, 3)


class Memory:
    """Keeps in memory what a run keeps on disk, and notes what it is told."""

    def __init__(self):
        self.last, self.best, self.stopped, self.diverged = None, None, None, None
        self.lines, self.restarts = [], []

    def save(self, name, state):
        setattr(self, name, copied(state))
        if name == "last":
            self.stopped = None

    def checkpoint(self, name):
        return Path(f"{name}.pt")

    def load(self, name):
        return copied(getattr(self, name))

    def load_furthest(self):
        return copied(self.stopped or self.last)

    def log(self, line):
        self.lines.append({key: value for key, value in line.items() if key != "seconds"})

    def rewind(self, epoch):
        self.lines = [line for line in self.lines if line["epoch"] <= epoch]

    def begin(self, first_epoch): ...

    def epoch(self, line, progress): ...

    def restart(self, progress):
        self.restarts.append(progress.restarts)


def copied(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def setting(line="", images=None):
    config = parse(f"-n normal -z 2 -bs 10 -e 4 -klw 2 {line}".split())
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.ReLU())
    model = VAE(encoder, NormalLatent(8, 2), nn.Linear(2, 9), Bernoulli(), SHAPE)
    if images is None:
        images = torch.randint(0, 256, (45, *SHAPE), dtype=torch.uint8)
    batches = TrainingImages(Split(images, None), Preparation(255, True, 1, torch.device("cpu")), batch_size=10)
    return config, model, batches


def train(config, model, batches, memory=None, check_stop=lambda: None, state=None, validate=None):
    memory = memory or Memory()
    validate = validate or (lambda: {"elbo": -1.0})
    trainer = Trainer(model, batches, config, memory, memory, validate, check_stop=check_stop)
    diverged = trainer.fit(state)
    return memory, trainer.progress, diverged


@pytest.mark.parametrize(
    ("line", "weights"),
    [
        ("-klw 0", [1, 1, 1, 1, 1]),
        ("-klw 1", [1, 1, 1, 1, 1]),
        ("-klw 4", [0.25, 0.5, 0.75, 1, 1]),
        ("-klw 2 -klf 2", [0, 0, 0.5, 1, 1]),
        ("-klw 0 -klf 1", [0, 1, 1, 1, 1]),
        ("-klw 2 -b 4", [2, 4, 4, 4, 4]),
        ("-b 0", [0, 0, 0, 0, 0]),
    ],
)
def test_kl_weight_by_epoch(line, weights):
    config = parse(f"-e 9 {line}".split())
    assert [kl_weight(config, epoch) for epoch in range(1, 6)] == weights


def test_objective_is_the_weighted_elbo_and_aims_at_a_target():
    terms = ELBOTerms(torch.tensor([-1.0, -3.0]), torch.tensor([2.0, 6.0]), torch.tensor([[2.0], [6.0]]))
    assert objective(terms, 0.5, 0.0).item() == pytest.approx(2 + 0.5 * 4)
    assert objective(terms, 0.5, 3.0).item() == pytest.approx(2 + 0.5 * 1)
    assert objective(terms, 0.5, 6.0).item() == pytest.approx(2 + 0.5 * 2)


def test_extra_losses_are_weighted_and_the_cross_entropy_is_a_mean_over_labelled_images():
    config = parse(["-n", "vq", "--commitment", "0.5", "--classifier", "--classifier_weight", "3"])
    extra = {"commitment": torch.tensor([2.0, 4, 6, 8]), "cross_entropy": torch.tensor([0.0, 1, 0, 2])}
    terms = ELBOTerms(torch.zeros(4), torch.zeros(4), torch.zeros(4, 1), extra)
    labelled = (torch.zeros(4, *SHAPE), torch.tensor([-1, 5, -1, 2]))
    weights = loss_weights(config)
    assert weights == {"commitment": 0.5, "cross_entropy": 3.0}
    assert objective(terms, 1.0, 0.0, batch_weights(weights, labelled)).item() == pytest.approx(0.5 * 5 + 3 * 1.5)
    none = (labelled[0], torch.full((4,), -1))
    terms = terms._replace(extra={**extra, "cross_entropy": torch.zeros(4)})
    assert objective(terms, 1.0, 0.0, batch_weights(weights, none)).item() == pytest.approx(0.5 * 5)
    assert not loss_weights(parse(["-n", "normal"]))


def test_early_stopping_counts_from_the_best_epoch_and_never_in_the_burn_in():
    config = parse(["-la", "3", "-bi", "5", "-e", "50"])
    assert not is_trained(config, Progress(epoch=7, best_epoch=0))
    assert is_trained(config, Progress(epoch=8, best_epoch=0))
    assert not is_trained(config, Progress(epoch=9, best_epoch=7))
    assert is_trained(config, Progress(epoch=10, best_epoch=7))


def test_training_stops_early_and_keeps_the_best():
    elbos = iter([-5.0, -4.0, -3.995, -6.0, -6.0, -6.0, -6.0])
    config, model, batches = setting("-e 40 -la 3 -mi 0.01")
    memory, progress, diverged = train(config, model, batches, validate=lambda: {"elbo": next(elbos)})
    # -3.995 is better than -4 by less than -mi, so epoch 2 stays the best and patience ends at epoch 5.
    assert (progress.epoch, progress.best_epoch, progress.best_elbo, diverged) == (5, 2, -4.0, False)
    assert memory.best["progress"]["epoch"] == 2


def test_models_are_compared_and_patience_counted_once_the_kl_has_its_full_weight():
    elbos = iter([-1.0, -2.0, -3.0, -9.0, -8.0, -8.5, -8.5])
    config, model, batches = setting("-e 40 -klf 1 -klw 3 -la 2")
    memory, progress, _ = train(config, model, batches, validate=lambda: {"elbo": next(elbos)})
    assert (progress.epoch, progress.best_epoch, progress.best_elbo) == (7, 5, -8.0)
    assert memory.best["progress"]["epoch"] == 5


def test_newest_model_is_the_best_until_models_are_compared():
    config, model, batches = setting("-e 4 -klw 9 -vf 3")
    memory, progress, _ = train(config, model, batches)
    assert (progress.epoch, progress.best_epoch, progress.best_elbo) == (4, 3, -math.inf)
    assert memory.best["progress"]["epoch"] == 3


def test_best_model_survives_a_restart_from_before_models_were_compared():
    elbos = iter([-9.0, -8.0, -3.0, -4.0, math.nan, *[-5.0] * 6])
    config, model, batches = setting("-e 6 -sf 10 -klw 3")
    memory, progress, _ = train(config, model, batches, validate=lambda: {"elbo": next(elbos)})
    assert (progress.epoch, progress.best_epoch, progress.best_elbo) == (6, 3, -3.0)
    assert memory.best["progress"]["epoch"] == 3


def test_metrics_have_a_line_per_epoch_over_all_images():
    config, model, batches = setting("-vf 2")
    memory, _, _ = train(config, model, batches)
    assert [line["epoch"] for line in memory.lines] == [1, 2, 3, 4]
    assert [line["kl_weight"] for line in memory.lines] == [0.5, 1, 1, 1]
    assert [line["val"] is None for line in memory.lines] == [True, False, True, False]
    for line in memory.lines:
        train_terms = line["train"]
        assert train_terms["elbo"] == pytest.approx(train_terms["log_px_z"] - train_terms["kl"])


def test_same_seed_gives_the_same_run_and_another_seed_another():
    runs = [train(*setting(line))[0] for line in ("-rs 1", "-rs 1", "-rs 2")]
    assert runs[0].lines == runs[1].lines
    assert runs[0].lines != runs[2].lines
    assert all(torch.equal(a, b) for a, b in zip(runs[0].last["model"].values(), runs[1].last["model"].values()))


def assert_same(left, right):
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            if key != "seconds":
                assert_same(left[key], right[key])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for pair in zip(left, right):
            assert_same(*pair)
    else:
        assert left == right


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 7, 13, 19])
def test_run_stopped_between_any_two_steps_resumes_exactly(steps):
    whole, _, _ = train(*setting())
    config, model, batches = setting()
    memory = Memory()
    count = iter(range(1000))

    def stop():
        if next(count) == steps:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        train(config, model, batches, memory, stop)
    torch.manual_seed(99)
    config, model, batches = setting()
    train(config, model, batches, memory, state=memory.load_furthest())
    assert memory.lines == whole.lines
    assert_same(memory.last, whole.last)


def test_run_given_more_epochs_equals_the_long_run():
    whole, _, _ = train(*setting("-e 6"))
    memory, _, _ = train(*setting("-e 4"))
    config, model, batches = setting("-e 6")
    train(config, model, batches, memory, state=memory.load("last"))
    assert memory.lines == whole.lines
    assert_same(memory.last, whole.last)


def test_learning_rate_is_halved_on_a_plateau_of_the_whole_objective():
    elbos = iter([-9.0] * 4 + [-5.0, -5.0, -5.0, -4.0, -4.0, -4.0, -4.0, -4.0, -4.0])
    memory, progress, _ = train(*setting("-e 13 -klw 5 --lr_plateau 2 -la 9"), validate=lambda: {"elbo": next(elbos)})
    # The weight is 1 from epoch 5 on, the best epochs are 5 and 8, and each halving begins a new count.
    halved = [1e-3 / line["lr"] for line in memory.lines]
    assert halved == [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 4, 4, 8]
    assert (progress.halvings, progress.halved) == (3, 12)
    constant, _, _ = train(*setting("-e 13 -klw 5 -la 9"))
    assert {line["lr"] for line in constant.lines} == {1e-3}
    assert not torch.equal(constant.last["optimizer"]["means"][0], memory.last["optimizer"]["means"][0])


def test_learning_rate_is_not_halved_while_models_are_not_compared():
    _, progress, _ = train(*setting("-e 9 -bi 6 --lr_plateau 2"))
    assert (progress.halvings, progress.halved) == (1, 9)


@pytest.mark.parametrize("steps", [12, 17, 18, 19, 21, 24])
def test_run_stopped_around_a_halving_resumes_exactly(steps):
    line = "-e 7 -klw 0 --lr_plateau 2"  # five steps an epoch; halved after epochs 3, 5 and 7
    whole, progress, _ = train(*setting(line))
    assert (progress.halvings, progress.halved) == (3, 7)
    config, model, batches = setting(line)
    memory, count = Memory(), iter(range(1000))

    def stop():
        if next(count) == steps:
            raise Interrupted(15)

    with pytest.raises(Interrupted):
        train(config, model, batches, memory, stop)
    config, model, batches = setting(line)
    train(config, model, batches, memory, state=memory.load_furthest())
    assert memory.lines == whole.lines
    assert_same(memory.last, whole.last)


@pytest.mark.parametrize("epochs", [2, 3, 4, 5, 6])
def test_run_given_more_epochs_after_a_halving_equals_the_long_run(epochs):
    whole, _, _ = train(*setting("-e 7 -klw 0 --lr_plateau 2"))
    memory, _, _ = train(*setting(f"-e {epochs} -klw 0 --lr_plateau 2"))
    config, model, batches = setting("-e 7 -klw 0 --lr_plateau 2")
    train(config, model, batches, memory, state=memory.load("last"))
    assert memory.lines == whole.lines
    assert_same(memory.last, whole.last)


class Poisoned(VAE):
    """Gives NaN, in the loss or in a gradient alone, at chosen calls."""

    calls = 0

    def forward(self, x):
        terms = super().forward(x)
        self.calls += 1
        if self.calls not in self.bad:
            return terms
        if self.where == "loss":
            return terms._replace(log_px_z=terms.log_px_z * math.nan)
        terms.log_px_z.register_hook(lambda gradient: gradient * math.inf)
        return terms


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_non_finite_step_is_not_taken_and_training_goes_on(where):
    config, model, batches = setting("-mr 2")
    model.__class__, model.bad, model.where = Poisoned, {8}, where
    memory, progress, diverged = train(config, model, batches)
    assert not diverged
    assert progress.restarts == 1
    assert memory.restarts == [1]
    assert [line["epoch"] for line in memory.lines] == [1, 2, 3, 4]
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_run_that_keeps_failing_ends_as_diverged_with_the_last_good_state():
    config, model, batches = setting("-mr 3")
    model.__class__, model.bad, model.where = Poisoned, set(range(8, 1000)), "loss"
    memory, progress, diverged = train(config, model, batches)
    assert diverged
    assert memory.restarts == [1, 2, 3]
    assert progress.epoch == 1
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert memory.last["progress"]["restarts"] == 4


def test_no_restart_is_allowed_with_zero():
    config, model, batches = setting("-mr 0")
    model.__class__, model.bad, model.where = Poisoned, {1}, "loss"
    _, progress, diverged = train(config, model, batches)
    assert diverged
    assert progress.epoch == 0


def test_restart_draws_fresh_noise():
    config, model, batches = setting("-mr 5")
    model.__class__, model.bad, model.where = Poisoned, {3}, "loss"
    restarted, _, _ = train(config, model, batches)
    plain, _, _ = train(*setting("-mr 5"))
    assert restarted.lines[0]["train"] != plain.lines[0]["train"]


@pytest.mark.parametrize("steps", [16, 17, 22])
def test_divergence_goes_back_as_far_whether_the_run_was_interrupted_or_not(steps):
    # Five steps an epoch, a checkpoint every third: the batch that fails in epoch five sends back to the third.
    ends = []
    for stops_after in (None, steps):
        config, model, batches = setting("-e 7 -sf 3")
        model.__class__, model.bad, model.where = Poisoned, {24}, "loss"
        memory = Memory()
        if stops_after is not None:

            def stop(model=model, stops_after=stops_after):
                if model.calls == stops_after:
                    raise Interrupted(15)

            with pytest.raises(Interrupted):
                train(config, model, batches, memory, stop)
            assert memory.last["progress"]["epoch"] == 3
            train(config, model, batches, memory, state=memory.load_furthest())
        else:
            train(config, model, batches, memory)
        assert memory.restarts == [1]
        ends.append(memory)
    assert ends[0].lines == ends[1].lines
    assert_same(ends[0].last, ends[1].last)


def test_best_model_survives_a_restart_from_before_it():
    elbos = iter([-9.0, -8.0, -3.0, math.nan, -5.0, -5.0, -5.0, -5.0])
    config, model, batches = setting("-e 5 -sf 2")
    memory, progress, _ = train(config, model, batches, validate=lambda: {"elbo": next(elbos)})
    # Epoch 3 was the best when epoch 4 failed and sent the run back to epoch 2.
    assert (progress.epoch, progress.best_epoch, progress.best_elbo) == (5, 3, -3.0)
    assert memory.best["progress"]["epoch"] == 3


def test_restarts_are_counted_across_interruptions():
    config, model, batches = setting("-mr 2")
    model.__class__, model.bad, model.where = Poisoned, set(range(8, 1000)), "loss"
    memory, stopped = Memory(), 0
    while True:

        def stop(until=model.calls + 7 if stopped else 13):
            if model.calls >= until:
                raise Interrupted(15)

        try:
            _, progress, diverged = train(
                config, model, batches, memory, stop, memory.load_furthest() if memory.last else None
            )
            break
        except Interrupted:
            stopped += 1
    assert stopped
    assert diverged
    assert progress.restarts == 3
    assert memory.restarts == [1, 2]
    # Given up once is given up for good, whatever is asked later.
    _, progress, diverged = train(config, model, batches, memory, state=memory.load_furthest())
    assert diverged
    assert progress.restarts == 3


def test_diverged_run_leaves_the_batch_that_failed():
    config, model, batches = setting("-mr 0")
    model.__class__, model.bad, model.where = Poisoned, {8}, "loss"
    examined = []
    memory = Memory()
    examine = lambda images: examined.append(images) or {"kappa": 7.0}  # noqa: E731
    Trainer(model, batches, config, memory, memory, lambda: {"elbo": -1.0}, examine).fit()
    found = memory.diverged
    assert (found["where"], found["epoch"], found["step"], found["restarts"]) == ("training", 2, 2, 0)
    assert found["measured"] == {"kappa": 7.0}
    assert torch.equal(found["batch"], examined[0])
    order = torch.randperm(45, generator=torch.Generator().manual_seed(derive_seed(1, "order", 2, 0)))
    torch.manual_seed(derive_seed(1, "diverged"))
    assert torch.equal(found["batch"], binarize(batches.images[order[20:30]], 255))


def test_diverged_validation_is_reported_without_a_batch():
    config, model, batches = setting("-mr 0")
    memory, _, diverged = train(config, model, batches, validate=lambda: {"elbo": math.inf})
    assert diverged
    assert (memory.diverged["where"], memory.diverged["step"], memory.diverged["batch"]) == ("validation", None, None)


def test_stop_in_the_validation_keeps_the_steps():
    whole, _, _ = train(*setting())

    def stopping():
        raise Interrupted(15)

    config, model, batches = setting()
    memory = Memory()
    with pytest.raises(Interrupted):
        train(config, model, batches, memory, validate=stopping)
    assert memory.stopped["progress"]["step"] == 5
    config, model, batches = setting()
    train(config, model, batches, memory, state=memory.load_furthest())
    assert memory.lines == whole.lines
    assert_same(memory.last, whole.last)


def test_validation_that_is_not_finite_sends_the_run_back():
    elbos = iter([-5.0, math.nan, -4.0, -4.0, -4.0])
    config, model, batches = setting()
    memory, progress, diverged = train(config, model, batches, validate=lambda: {"elbo": next(elbos)})
    assert not diverged
    assert progress.restarts == 1
    assert [line["epoch"] for line in memory.lines] == [1, 2, 3, 4]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_one_number_that_is_not_finite_is_noted_for_good(value, place):
    tensors = [torch.tensor(3.0), torch.randn(40, 50)]
    before = [tensor.clone() for tensor in tensors]
    bad = torch.zeros(())
    note_nonfinite(bad, tensors, torch.ones(()))
    assert bad == 0
    assert all(torch.equal(*pair) for pair in zip(tensors, before, strict=True))
    tensors[place].view(-1)[-1] = value
    note_nonfinite(bad, tensors, torch.ones(()))
    assert bad == 1
    note_nonfinite(bad, [torch.tensor(3.0)], torch.ones(()))
    assert bad == 1


def test_infinities_of_both_signs_do_not_cancel():
    bad = torch.zeros(())
    note_nonfinite(bad, [torch.tensor([math.inf, 1.0]), torch.tensor([-math.inf])], torch.ones(()))
    assert bad == 1

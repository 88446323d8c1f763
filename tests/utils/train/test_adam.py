"""The optimizer: PyTorch's Adam to the bit, steps left out, states resumed."""

import math

import pytest
import torch
from torch import nn

from utils.train.adam import Adam


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 5))


def train(model, optimizer, steps, seed=1):
    torch.manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, 20)).square().sum().backward()
        optimizer.step()


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


def test_same_weights_as_torch_to_the_bit():
    ours, theirs = network(), network()
    train(ours, Adam(ours.parameters(), 0.01), 50)
    train(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True), 50)
    assert equal(ours, theirs)
    assert not equal(ours, network())


def test_skipped_step_changes_nothing_and_does_not_count():
    model, plain = network(), network()
    optimizer = Adam(model.parameters(), 0.01)
    train(model, optimizer, 3)
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.skip.fill_(1)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert optimizer.taken == 3
    optimizer.skip.zero_()
    train(model, optimizer, 3, seed=2)
    other = Adam(plain.parameters(), 0.01)
    train(plain, other, 3)
    train(plain, other, 3, seed=2)
    assert equal(model, plain)


def test_state_goes_on_exactly_and_is_a_copy():
    whole, first, second = network(), network(), network(5)
    optimizer = Adam(whole.parameters(), 0.01)
    train(whole, optimizer, 3)
    train(whole, optimizer, 4, seed=2)

    optimizer = Adam(first.parameters(), 0.01)
    train(first, optimizer, 3)
    state = optimizer.state_dict()
    second.load_state_dict(first.state_dict())
    resumed = Adam(second.parameters(), 0.01)
    resumed.load_state_dict(state)
    train(first, optimizer, 1, seed=9)
    train(second, resumed, 4, seed=2)
    assert equal(second, whole)


def test_parameters_without_gradient_stay():
    model = network()
    model[0].requires_grad_(False)
    frozen = model[0].weight.clone()
    used, unused = model[2].weight, nn.Parameter(torch.ones(3))
    before = used.detach().clone()
    train(model, Adam([*model.parameters(), unused], 0.01), 2)
    assert torch.equal(model[0].weight, frozen)
    assert torch.equal(unused, torch.ones(3))
    assert not torch.equal(used, before)


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="no parameter requires a gradient"):
        Adam(network().requires_grad_(False).parameters(), 0.01)

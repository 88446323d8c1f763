"""Categorical codes against enumeration, and their relaxation."""

import itertools
import math

import pytest
import torch
from scipy.stats import chisquare
from torch.distributions import kl_divergence

from hyperspherical_vae.distributions import OneHotCodes, RelaxedCodes

LOGITS = torch.tensor([[0.3, -1.0, 2.0], [0.0, 1.5, -0.5]], dtype=torch.float64)


def all_codes(variables, categories):
    """Every value of the codes, (C^V, V*C)."""
    choices = torch.tensor(list(itertools.product(range(categories), repeat=variables)))
    return torch.nn.functional.one_hot(choices, categories).flatten(-2).double()


def test_probabilities_mean_entropy_and_mode_are_those_of_the_enumeration():
    codes = OneHotCodes(LOGITS, validate_args=True)
    values = all_codes(2, 3)
    probs = codes.log_prob(values).exp()
    assert probs.sum().item() == pytest.approx(1)
    assert torch.allclose((probs[:, None] * values).sum(0), codes.mean)
    second = (probs[:, None] * values.square()).sum(0)
    assert torch.allclose(second - codes.mean.square(), codes.variance)
    assert codes.entropy().item() == pytest.approx(-(probs * probs.log()).sum().item())
    assert torch.equal(codes.mode, values[probs.argmax()])
    assert codes.codes.tolist() == [2, 1]


def test_kl_is_the_enumeration():
    p, q = OneHotCodes(LOGITS), OneHotCodes(LOGITS.flip(-1))
    values = all_codes(2, 3)
    exact = (p.log_prob(values).exp() * (p.log_prob(values) - q.log_prob(values))).sum()
    assert kl_divergence(p, q).item() == pytest.approx(exact.item())
    uniform = OneHotCodes(torch.zeros(2, 3, dtype=torch.float64))
    assert kl_divergence(p, uniform).item() == pytest.approx(2 * math.log(3) - p.entropy().item())
    assert kl_divergence(RelaxedCodes(LOGITS, 0.5), uniform).item() == kl_divergence(p, uniform).item()


def test_certain_codes_have_finite_terms():
    p = OneHotCodes(torch.tensor([[1e4, -1e4]]))
    assert kl_divergence(p, OneHotCodes(torch.zeros(1, 2))).item() == pytest.approx(math.log(2))
    assert p.entropy() == 0
    assert p.log_prob(p.mode) == 0


@pytest.mark.parametrize("kind", [OneHotCodes, lambda logits: RelaxedCodes(logits, 0.7)])
def test_exact_samples_follow_the_probabilities(kind):
    torch.manual_seed(0)
    codes = kind(LOGITS)
    z = codes.sample((20_000,))
    assert set(z.unique().tolist()) == {0.0, 1.0}
    values = all_codes(2, 3)
    counts = torch.stack([(z == value).all(-1).sum() for value in values])
    expected = 20_000 * OneHotCodes(LOGITS).log_prob(values).exp()
    # Fails for one seed in ten thousand.
    assert chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


def test_relaxed_samples_are_on_the_simplex_and_harden_as_it_cools():
    torch.manual_seed(0)
    for temperature, low, high in ((5.0, 0.3, 0.6), (0.05, 0.95, 1.0)):
        z = RelaxedCodes(LOGITS, temperature).rsample((2000,)).unflatten(-1, (2, 3))
        assert torch.allclose(z.sum(-1), torch.ones(2000, 2, dtype=torch.float64))
        assert low < z.amax(-1).mean() < high


def test_straight_through_is_hard_with_the_gradient_of_the_relaxed_sample():
    weights = torch.randn(6, dtype=torch.float64)
    gradients = []
    for straight_through in (False, True):
        logits = LOGITS.clone().requires_grad_()
        torch.manual_seed(1)
        z = RelaxedCodes(logits, 0.7, straight_through).rsample((50,))
        if straight_through:
            assert ((z - z.round()).abs() < 1e-12).all()
            assert torch.equal(z.unflatten(-1, (2, 3)).round().sum(-1), torch.ones(50, 2, dtype=torch.float64))
        gradients.append(torch.autograd.grad((z * weights).sum(), logits)[0])
    assert torch.allclose(*gradients)


def test_relaxed_gradient_approaches_the_exact_one():
    # d/dlogits E[<w, z>] has a closed form; at a low temperature the relaxation's bias is small.
    weights = torch.tensor([1.0, -0.5, 0.3, 0.2, 0.9, -1.0], dtype=torch.float64)
    logits = LOGITS.clone().requires_grad_()
    exact = torch.autograd.grad((OneHotCodes(logits).mean * weights).sum(), logits)[0]
    torch.manual_seed(2)
    z = RelaxedCodes(logits, 0.2).rsample((200_000,))
    found = torch.autograd.grad((z * weights).sum(-1).mean(), logits)[0]
    assert torch.allclose(found, exact, atol=0.02)


def test_relaxed_codes_have_no_density():
    with pytest.raises(NotImplementedError, match="evaluation mode"):
        RelaxedCodes(LOGITS, 0.5).log_prob(torch.zeros(6))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="V, C"):
        OneHotCodes(torch.zeros(3))
    with pytest.raises(ValueError, match="3 x 2"):
        kl_divergence(OneHotCodes(LOGITS), OneHotCodes(torch.zeros(3, 2)))
    with pytest.raises(ValueError, match="logits"):
        OneHotCodes(torch.full((1, 2), math.nan), validate_args=True)


@pytest.mark.parametrize("kind", [OneHotCodes, lambda logits: RelaxedCodes(logits, 0.7, True)])
def test_batches_expand(kind):
    codes = kind(LOGITS).expand((4, 5))
    assert codes.batch_shape == (4, 5)
    assert codes.sample((3,)).shape == (3, 4, 5, 6)
    assert type(codes) is type(kind(LOGITS))


def test_a_category_may_be_impossible() -> None:
    logits = torch.tensor([[0.3, 0.1, -math.inf], [0.0, 0.0, 0.0]], requires_grad=True)
    codes, uniform = OneHotCodes(logits), OneHotCodes(torch.zeros(2, 3))
    reference = [torch.distributions.OneHotCategorical(logits=row) for row in logits.detach()]
    torch.testing.assert_close(codes.entropy(), reference[0].entropy() + reference[1].entropy())
    possible, impossible = torch.tensor([0.0, 1, 0, 0, 0, 1]), torch.tensor([0.0, 0, 1, 0, 0, 1])
    expected = reference[0].log_prob(possible[:3]) + reference[1].log_prob(possible[3:])
    torch.testing.assert_close(codes.log_prob(possible), expected)
    assert codes.log_prob(impossible) == -math.inf
    assert kl_divergence(codes, codes) == 0
    assert kl_divergence(uniform, codes) == math.inf
    torch.testing.assert_close(kl_divergence(codes, uniform), 2 * math.log(3) - codes.entropy())
    for quantity in (codes.entropy(), codes.log_prob(possible), kl_divergence(codes, uniform), codes.variance.sum()):
        assert torch.autograd.grad(quantity, logits, retain_graph=True)[0].isfinite().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OneHotCodes(torch.tensor([[0.0, math.nan]]), True), "logits hold NaN or infinity"),
        (lambda: OneHotCodes(torch.tensor([[0.0, math.inf]]), True), "logits hold NaN or infinity"),
        (lambda: OneHotCodes(torch.tensor([[-math.inf, -math.inf]]), True), "a variable without a possible category"),
        (lambda: OneHotCodes(torch.zeros(2, 2), True).log_prob(torch.tensor([1.0, 1, 0, 1])), "each with a single 1"),
        (lambda: OneHotCodes(torch.zeros(2, 2), True).log_prob(torch.zeros(5)), r"shape \(5,\); its last size"),
        (lambda: RelaxedCodes(torch.zeros(2, 2), 0.0, validate_args=True), "temperature is 0.0; it has to be positive"),
        (lambda: RelaxedCodes(torch.zeros(2, 2), torch.tensor(-1.0), validate_args=True), "temperature is -1.0"),
    ],
)
def test_what_the_docstrings_promise_is_checked(make, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_expand_keeps_subclasses() -> None:
    class Own(RelaxedCodes):
        pass

    wide = Own(torch.zeros(2, 3), 0.5, straight_through=True).expand((4,))
    assert type(wide) is Own
    assert wide.temperature == 0.5
    assert wide.straight_through
    assert wide.rsample().shape == (4, 6)

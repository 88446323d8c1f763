"""Every combination that is offered trains, saves, loads and evaluates; encoding and sampling from Python."""


import pytest
import torch

from hyperspherical_vae.latents import LATENTS
from models import Images, build_model
from utils import model_utils
from utils.config.command_line import parse
from utils.measure.conditions import Conditions
from utils.measure.elbo import evaluate_elbo
from utils.measure.log_px import estimate_log_px
from utils.run import stamped
from utils.train.adam import Adam
from utils.training_utils import batch_weights, loss_weights, objective

SHAPE = (1, 6, 5)
IMAGES = Images(SHAPE, levels=4, likelihood="bce", classes=3)
SPACES = {
    "normal": "-n normal -z 2",
    "normal single": "-n normal -z 2 -cvm single",
    "normal full": "-n normal -z 3 -cvm full",
    "vmf": "-n vmf -z 2",
    "vmf fixed": "-n vmf -z 2 --kappa 20 --radius 2",
    "powerspherical": "-n powerspherical -z 2",
    "spcauchy": "-n spcauchy -z 2",
    "product": "-n productspace -zd s2,e2,s2",
    "gumbel": "-n gumbel --variables 3 --categories 4",
    "gumbel straight-through": "-n gumbel --variables 3 --categories 4 --straight_through",
    "vq": "-n vq --codes 5 --code_dim 3",
}
REST = ["", "--classifier", "--no_bias"]


def pixels(likelihood, n=12):
    grey = torch.randint(0, 5, (n, *SHAPE)).float() / 4
    return grey.round() if likelihood == "bce" else grey


def built(line):
    torch.manual_seed(0)
    config = parse(f"-hd 8,6 {line}".split())
    return config, build_model(config, IMAGES)


def evaluated(model, x):
    conditions = Conditions(1)
    log_px = estimate_log_px(model, x, 3, conditions).summary() if model.latent.has_density else {}
    return {**evaluate_elbo(model, x, conditions).summary(), **log_px}


def test_every_latent_is_covered():
    assert set(LATENTS) == {factor for line in SPACES.values() for factor, _ in parse(line.split()).factors}


@pytest.mark.parametrize("likelihood", ["bce", "mse", "logistic"])
@pytest.mark.parametrize("networks", ["mlp mlp", "cnn cnn", "mlp cnn", "cnn mlp"])
@pytest.mark.parametrize("space", SPACES)
def test_combination_trains_saves_loads_and_evaluates(space, networks, likelihood, tmp_path):
    encode, decode = networks.split()
    rest = REST[(len(space) + len(networks) + len(likelihood)) % 3]
    config, model = built(f"{SPACES[space]} -et {encode} -dt {decode} -lf {likelihood} {rest}")
    x = pixels(likelihood)
    batch = (x, torch.arange(12) % 4 - 1) if config.classifier else (x,)
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = Adam(model.parameters(), 0.01)
    for _ in range(2):
        terms = model(*batch)
        assert terms.elbo.shape == (12,)
        assert all(extra.shape == (12,) for extra in terms.extra.values())
        loss = objective(terms, 1.0, 0.0, batch_weights(loss_weights(config), batch))
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
        optimizer.step()
    assert all(not torch.equal(before[name], value) for name, value in model.named_parameters())
    stamped.write(tmp_path / "model.pt", model.state_dict(), None)
    torch.manual_seed(5)
    fresh = build_model(config, IMAGES)
    fresh.load_state_dict(stamped.read(tmp_path / "model.pt", None))
    found, again = evaluated(model, x), evaluated(fresh, x)
    assert again == found
    assert ("log_px" in found) == (space != "vq")
    assert found["elbo"] == pytest.approx(found["log_px_z"] - found["kl"])


def test_unlabelled_images_give_the_classifier_no_gradient():
    _, model = built("-n vmf -z 2 --classifier")
    x = pixels("bce", 6)
    terms = model(x, torch.tensor([0, -1, 2, -1, -1, 1]))
    entropy = terms.extra["cross_entropy"]
    assert (entropy == 0).tolist() == [False, True, False, True, True, False]
    assert "cross_entropy" not in model(x).extra


@pytest.mark.parametrize("space", SPACES)
def test_encode_decode_and_sample(space):
    _, model = built(f"{SPACES[space]} --classifier")
    model.eval()
    x = pixels("bce")
    z = model.encode(x)
    assert z.shape == (12, model.latent.event_dim)
    assert torch.equal(z, model.encode(x))
    assert not z.requires_grad
    for images in (model.decode(z), model.sample(5), model.sample(5, like=x)):
        assert images.shape[1:] == SHAPE
        assert images.min() >= 0
        assert images.max() <= 1
    assert model.sample(5).shape == (5, *SHAPE)
    if space == "vmf fixed":
        assert torch.allclose(z.norm(dim=-1), torch.full((12,), 2.0))
    if model.latent.code_count:
        codes = model.latent.codes(model.posterior(x))
        assert codes.dtype == torch.int64
        assert codes.shape[0] == 12
        assert codes.max() < model.latent.code_count


@pytest.mark.parametrize("rows", [1, 5, 12, 30, 1000])
@pytest.mark.parametrize("loss", ["bce", "mse", "logistic"])
@pytest.mark.parametrize("batch", [(), (7,), (2, 3)])
def test_decoding_in_parts_changes_nothing_and_holds_no_more_rows_at_once(batch, loss, rows, monkeypatch):
    _, model = built(f"-n vmf -z 2 -lf {loss}")
    numbers = 30 * model.likelihood.params_per_pixel
    x, z = pixels(loss), model.latent.prior().sample((*batch, 12))
    expected, images = model.log_px_z(x, z).detach(), model.decode(z).detach()  # at once, as gradients are recorded
    decoded = []
    model.decoder.register_forward_hook(lambda decoder, given, params: decoded.append(params.numel()))
    monkeypatch.setattr(model_utils, "_CACHED", rows * numbers)
    with torch.no_grad():
        found = model.log_px_z(x, z)
        assert sum(decoded) == z.shape[:-1].numel() * numbers
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(model.decode(z), images)
    assert found.shape == (*batch, 12)
    assert images.shape == (*batch, 12, *SHAPE)
    assert max(decoded) <= rows * numbers


def test_sample_of_a_class_is_what_the_classifier_says():
    _, model = built("-n vmf -z 2 --classifier")
    model.eval()
    torch.manual_seed(0)
    present = model.classifier(model.latent.prior().sample((1000,))).argmax(-1).unique().tolist()
    assert len(present) > 1
    for label in present:
        z = model.sample_latents(50, label)
        assert z.shape == (50, 3)
        assert (model.classifier(z).argmax(-1) == label).all()


def test_sample_like_images_comes_from_their_posteriors():
    _, model = built("-n vmf -z 2 --kappa 1000000")
    x = pixels("bce", 4)
    z, means = model.sample_latents(200, like=x), model.encode(x)
    cosine = z @ means.T
    assert (cosine.amax(-1) > 0.9999).all()
    assert set(cosine.argmax(-1).tolist()) == set(range(4))


def test_latents_are_drawn_at_a_concentration_and_at_a_temperature():
    _, model = built("-n vmf -z 2 --kappa 5")
    torch.manual_seed(0)
    x = pixels("bce", 1)
    cosine = model.sample_latents(500, like=x, kappa=1e6) @ model.encode(x)[0]
    assert (cosine > 0.99).all()
    _, model = built("-n normal -z 2 --classifier")
    assert model.knows_classes
    # 5 standard deviations of that of 4000 normal numbers: by chance once in 10^6 seeds.
    assert model.sample_latents(2000, temperature=0.1).std().item() == pytest.approx(0.1, rel=0.056)


def test_sample_of_a_class_prefers_the_prior_of_the_class():
    _, model = built("-n vq --codes 5 --code_dim 3 --positions 2")
    prior = model.latent.add_code_prior("independent", 3)
    prior.count(torch.tensor([[4, 4]] * 500), torch.full((500,), 2))
    torch.manual_seed(0)
    wanted = model.latent.vectors(torch.tensor([4, 4]))
    assert (model.sample_latents(100, 2) == wanted).all(-1).float().mean() > 0.9


@pytest.mark.parametrize(
    ("line", "asked", "message"),
    [
        ("", {"n": 0}, "n is 0"),
        ("", {"n": 2, "label": 1}, "knows no classes"),
        ("--classifier", {"n": 2, "label": 3}, "allowed: 0 to 2"),
        ("--classifier", {"n": 2, "label": -1}, "allowed: 0 to 2"),
        ("--classifier", {"n": 2, "label": 1, "like": torch.rand(2, *SHAPE)}, "one of the two"),
        ("", {"n": 2, "like": torch.rand(0, *SHAPE)}, "holds no image"),
    ],
)
def test_sample_refuses_what_it_cannot_do(line, asked, message):
    _, model = built(f"-n vmf -z 2 {line}")
    with pytest.raises(ValueError, match=message):
        model.sample(**asked)


def test_class_that_the_prior_never_reaches_is_refused():
    _, model = built("-n vmf -z 2 --classifier")
    with torch.no_grad():
        model.classifier[-1].bias[1] = -1e6
    with pytest.raises(ValueError, match=r"0 of \d+ draws of the prior"):
        model.sample(2, label=1)


def test_images_of_another_shape_are_refused():
    _, model = built("-n vmf -z 2")
    for shape in ((6, 5), (2, 1, 5, 6), (2, 6, 5)):
        with pytest.raises(ValueError, match=r"\(B, 1, 6, 5\)"):
            model.encode(torch.rand(shape))

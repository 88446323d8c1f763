"""Dense layers against `torch.nn.functional.linear`, with both libraries for their products."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from hyperspherical_vae import dense as module
from hyperspherical_vae.dense import _has_wide_units, dense, product_library

WIDTHS = (7, 5, 6, 4)


@pytest.fixture(params=["small", "large"])
def onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """oneDNN is chosen; for the small products of these tests it is used only where they are taken for large ones."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(module, "product_library", lambda: "onednn")
    if request.param == "large":
        monkeypatch.setattr(module, "_WORTH", 1)
    return str(request.param)


def make(bias: bool = True, batch: tuple[int, ...] = (3,)) -> tuple[Tensor, list[Tensor], list[Tensor | None]]:
    torch.manual_seed(0)
    sizes = list(zip(WIDTHS[1:], WIDTHS, strict=False))
    weights = [torch.randn(*size, requires_grad=True) for size in sizes]
    biases = [torch.randn(size[0], requires_grad=True) if bias else None for size in sizes]
    return torch.randn(*batch, WIDTHS[0], requires_grad=True), weights, biases


def expected(x: Tensor, weights: list[Tensor], biases: list[Tensor | None], relu_last: bool) -> Tensor:
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = F.linear(x, weight, bias)
        x = F.relu(x) if relu_last or number < len(weights) - 1 else x
    return x


def leaves(x: Tensor, weights: list[Tensor], biases: list[Tensor | None]) -> list[Tensor]:
    return [tensor for tensor in (x, *weights, *biases) if tensor is not None]


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("batch", [(3,), (2, 3), (2, 1, 3), (0,)])
@pytest.mark.parametrize("relu_last", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_values_and_gradients_are_those_of_linear_layers(bias: bool, relu_last: bool, batch: tuple[int, ...]) -> None:
    given = make(bias, batch)
    found, right = dense(*given, relu_last=relu_last), expected(*given, relu_last)
    assert found.shape == right.shape == (*batch, WIDTHS[-1])
    torch.testing.assert_close(found, right)
    wanted, towards = leaves(*given), torch.randn_like(right)
    torch.testing.assert_close(
        torch.autograd.grad(found, wanted, towards), torch.autograd.grad(right, wanted, towards), rtol=1e-5, atol=1e-5
    )


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("relu_last", [True, False])
def test_second_derivatives_are_those_of_linear_layers(relu_last: bool) -> None:
    given = make()
    towards = torch.randn(3, WIDTHS[-1], requires_grad=True)
    found = []
    for layers in (dense, expected):
        first = torch.autograd.grad(layers(*given, relu_last), leaves(*given), towards, create_graph=True)
        norm = torch.stack([gradient.square().sum() for gradient in first]).sum()
        found.append(torch.autograd.grad(norm, [*leaves(*given), towards], materialize_grads=True))
    for ours, right in zip(*found, strict=True):
        torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-4 * right.abs().max().item())


class Operations(TorchDispatchMode):
    """Notes the names of what is called, backward passes included."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_large_products_are_those_of_onednn_and_small_ones_are_not(onednn: str) -> None:
    with Operations() as called:
        dense(*make()).sum().backward()
    assert called.names.count("_linear_pointwise") == (9 if onednn == "large" else 0)
    assert called.names.count("mm") + called.names.count("addmm") == (0 if onednn == "large" else 9)


@pytest.mark.usefixtures("onednn")
def test_only_what_needs_a_gradient_gets_one() -> None:
    x, weights, biases = make()
    x.requires_grad_(False)
    weights[1].requires_grad_(False)
    dense(x, weights, biases).sum().backward()
    assert x.grad is None
    assert weights[1].grad is None
    assert all(tensor.grad is not None for tensor in (weights[0], weights[2], *biases) if tensor is not None)


@pytest.mark.usefixtures("onednn")
def test_is_repeated_to_the_bit() -> None:
    def once() -> list[Tensor]:
        given = make()
        y = dense(*given)
        return [y, *torch.autograd.grad(y.square().sum(), leaves(*given))]

    assert all(torch.equal(first, second) for first, second in zip(once(), once(), strict=True))


@pytest.mark.usefixtures("onednn")
def test_what_is_no_number_stays_none() -> None:
    x, weights, biases = make()
    with torch.no_grad():
        x[1, 0] = float("nan")
        y = dense(x, weights, biases, relu_last=True)
    assert y[1].isnan().all()
    assert y[0].isfinite().all()


@pytest.mark.usefixtures("onednn")
def test_other_precisions_and_transforms_have_the_functions_of_torch() -> None:
    x, weights, biases = make()

    def loss(z: Tensor) -> Tensor:
        return dense(z, weights, biases).square().sum()

    (right,) = torch.autograd.grad(loss(x), x)
    torch.testing.assert_close(torch.func.grad(loss)(x), right)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(x), right)
    doubles = [[tensor.double() for tensor in tensors if tensor is not None] for tensors in (weights, biases)]
    assert dense(x.double(), doubles[0], [*doubles[1]]).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert dense(x, weights, biases).dtype == torch.bfloat16


def test_compiled_programs_have_the_functions_of_torch() -> None:
    product_library.cache_clear()
    given = make()
    compiled = torch.compile(dense, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*given), dense(*given))


def cpuinfo(vendor: str, family: int, flags: str) -> str:
    one = f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\nflags\t\t: fpu {flags}\n"
    return f"{one}\n{one}"


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        (cpuinfo("AuthenticAMD", 26, "avx2 avx512f"), True),
        (cpuinfo("AuthenticAMD", 26, "avx2"), False),
        (cpuinfo("AuthenticAMD", 25, "avx2 avx512f"), False),
        (cpuinfo("GenuineIntel", 6, "avx2 avx512f"), False),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n", False),
        ("", False),
    ],
)
def test_processors_with_wide_units_are_known(text: str, wide: bool) -> None:
    assert _has_wide_units(text) == wide


def test_the_library_is_named() -> None:
    assert product_library() in ("onednn", "torch")

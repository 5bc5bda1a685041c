"""Autoencoders: what they compute written out, and the linear one against principal components."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from scipy.linalg import subspace_angles
from torch import nn

from lamina.autoencoders.autoencoder import Autoencoder, autoencoder, reading
from lamina.autoencoders.reconstruction import Reconstruction
from lamina.data.batch import Batch
from lamina.errors import ConfigError
from lamina.likelihoods import Bernoulli, Gaussian

G = torch.Generator


def rows(n: int = 7, d: int = 6, seed: int = 1) -> torch.Tensor:
    return torch.rand(n, d, generator=G().manual_seed(seed), dtype=torch.float64)


def with_biases(model: Autoencoder) -> Autoencoder:
    with torch.no_grad():  # biases too, so that a forgotten one is seen
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=G().manual_seed(p.numel()), dtype=p.dtype))
    return model


@pytest.mark.parametrize("tied", [True, False])
def test_U06_mirrors_its_encoder(tied: bool) -> None:
    model = with_biases(autoencoder([6, 5, 3], "tanh", code="identity", tied=tied, inputs="gaussian").double())
    p = dict(model.named_parameters())
    x = rows()
    h = torch.tanh(x @ p["encoder.linear1.weight"].T + p["encoder.linear1.bias"])
    code = h @ p["encoder.linear2.weight"].T + p["encoder.linear2.bias"]
    v2 = p["encoder.linear2.weight"] if tied else p["decoder.linear2.weight"].T
    v1 = p["encoder.linear1.weight"] if tied else p["decoder.linear1.weight"].T
    outputs = torch.tanh(code @ v2 + p["decoder.linear2.bias"]) @ v1 + p["decoder.linear1.bias"]
    torch.testing.assert_close(model.encode(x), code)
    torch.testing.assert_close(model(x), outputs)
    torch.testing.assert_close(model.reconstruct(x), outputs)
    assert [name for name, _ in model.decoder.named_children()] == ["linear2", "tanh1", "linear1"]
    assert sum(q.numel() for q in model.parameters()) == 6 * 5 + 5 * 3 + (0 if tied else 6 * 5 + 5 * 3) + 5 + 3 + 5 + 6


def test_reconstructs_probabilities_in_the_shape_of_the_inputs() -> None:
    model = with_biases(autoencoder([12, 4]).double())
    pictures = Autoencoder(nn.Sequential(nn.Flatten(), model.encoder), model.decoder, Bernoulli(12))
    x = rows(5, 12).reshape(5, 1, 3, 4)
    torch.testing.assert_close(pictures.reconstruct(x), torch.sigmoid(model(x.flatten(1))).reshape(5, 1, 3, 4))


def test_a_tied_weight_is_one_parameter_with_the_gradient_of_both_uses() -> None:
    model = with_biases(autoencoder([6, 4], inputs="gaussian").double())
    weight = model.encoder.get_parameter("linear1.weight")
    assert model.decoder.get_parameter("linear1.weight") is weight
    assert sum(p is weight for p in model.parameters()) == 1
    x = rows()
    Reconstruction(Gaussian(6, scale=1.0))(model, Batch(x)).total.backward()
    c, b = model.encoder.get_parameter("linear1.bias"), model.decoder.get_parameter("linear1.bias")
    h = torch.sigmoid(x @ weight.T + c)
    error = (h @ weight + b - x).detach() / len(x)
    as_encoder = ((error @ weight.T) * h * (1 - h)).T @ x
    as_decoder = h.T @ error
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, (as_encoder + as_decoder).detach())


def test_the_tie_outlives_copies_moves_and_loading() -> None:
    model = autoencoder([6, 4])
    for other in (copy.deepcopy(model), copy.deepcopy(model).double()):
        assert other.decoder.get_parameter("linear1.weight") is other.encoder.get_parameter("linear1.weight")
    other = autoencoder([6, 4], generator=G().manual_seed(9))
    other.load_state_dict(model.state_dict())
    assert other.decoder.get_parameter("linear1.weight") is other.encoder.get_parameter("linear1.weight")
    torch.testing.assert_close(other(rows().float()), model(rows().float()))


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_match_finite_differences(tied: bool) -> None:
    model = with_biases(autoencoder([4, 3, 2], tied=tied).double())
    names, values = zip(*model.named_parameters(), strict=True)
    x = rows(3, 4)

    def loss(*given: torch.Tensor) -> torch.Tensor:
        outputs = torch.func.functional_call(model, dict(zip(names, given, strict=True)), (x,))
        return -Bernoulli(4).log_prob(outputs, x).mean()

    assert torch.autograd.gradcheck(loss, values)


@pytest.mark.parametrize("kind", ["lbfgs", "momentum"])
@pytest.mark.parametrize("tied", [True, False])
def test_U06_the_linear_one_finds_the_principal_subspace(kind: str, tied: bool) -> None:
    scales = torch.tensor([3.0, 2.5, 2.0, 1.0, 0.7, 0.4], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=G().manual_seed(2), dtype=torch.float64)).Q
    x = torch.randn(200, 6, generator=G().manual_seed(3), dtype=torch.float64) * scales @ turn + 1.0
    model = autoencoder([6, 3], "identity", tied=tied, inputs="gaussian", generator=G().manual_seed(0)).double()
    objective = Reconstruction(Gaussian(6, scale=1.0))
    optimizer: Any
    if kind == "lbfgs":
        optimizer, steps = torch.optim.LBFGS(model.parameters(), max_iter=500, tolerance_change=1e-14), 2
    else:
        optimizer, steps = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), 600

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = objective(model, Batch(x)).total
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    leading = torch.linalg.svd(x - x.mean(0)).Vh[:3]
    v = model.decoder.get_parameter("linear1.weight").detach()
    basis = v.T if tied else v
    assert subspace_angles(basis.numpy(), leading.T.numpy()).max() < 1e-3
    left = torch.linalg.svdvals(x - x.mean(0))[3:].square().sum() / 200
    torch.testing.assert_close((model(x) - x).square().sum(1).mean(), left, rtol=1e-5, atol=0.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([6],), "inputs and a code"),
        (([6, 0],), "at least 1"),
        (([6, 4], "sigmoyd"), "sigmoid"),
    ],
)
def test_refuses(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        autoencoder(*arguments)


def test_refuses_unknown_inputs_and_to_reconstruct_without_a_likelihood() -> None:
    with pytest.raises(ConfigError, match="bernoulli"):
        reading("poisson", 6, "autoencoder")
    with pytest.raises(ConfigError, match="outputs mean"):
        Autoencoder(nn.Identity(), nn.Identity()).reconstruct(rows())

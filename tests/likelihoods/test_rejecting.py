"""The rejecting head: its refusals and its accuracy-coverage curve, by counting."""

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from lamina.errors import ConfigError
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.heads import Heads
from lamina.likelihoods.rejecting import REFUSED, Rejecting
from lamina.likelihoods.strings import Strings
from lamina.metrics import coverage_curve


def outputs_of(n: int, width: int) -> torch.Tensor:
    return 2 * torch.randn(n, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_L19_refuses_below_the_threshold_and_not_at_it() -> None:
    outputs = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.8, 0.1, 0.1]], dtype=torch.float64).log()
    head = Rejecting(Categorical(3), 0.55)
    np.testing.assert_allclose(head.confidence(outputs), [0.5, 0.6, 0.8], rtol=1e-14)
    assert head.refused(outputs).tolist() == [True, False, False]
    assert head.predict(outputs).tolist() == [REFUSED, 2, 0]
    exact = Rejecting(Categorical(3), head.confidence(outputs)[0].item())
    assert exact.predict(outputs).tolist() == [0, 2, 0]


def test_L19_curve_is_that_of_counting_at_every_threshold() -> None:
    outputs = outputs_of(300, 4)
    y = torch.multinomial(outputs.softmax(1), 1, generator=torch.Generator().manual_seed(1))[:, 0]
    head = Rejecting(Categorical(4), 0.0)
    sure = head.confidence(outputs)
    curve = coverage_curve((head.predict(outputs) == y).numpy(), sure.numpy())
    for at, coverage, accuracy in zip(curve.threshold, curve.coverage, curve.accuracy, strict=True):
        answered = [
            (a, b)
            for a, b in zip(Rejecting(Categorical(4), float(at)).predict(outputs), y, strict=True)
            if a != REFUSED
        ]
        assert len(answered) / 300 == pytest.approx(coverage)
        assert sum(int(a == b) for a, b in answered) / len(answered) == pytest.approx(accuracy)
    assert curve.accuracy[len(curve.accuracy) // 2] > curve.accuracy[-1]  # refusing pays


def test_L19_a_string_is_refused_by_its_joint_probability() -> None:
    outputs = torch.tensor([[0.8, 0.2, 0.8, 0.2]], dtype=torch.float64).log()  # 0.8 · 0.8 = 0.64
    assert Rejecting(Strings(2, 2), 0.63).predict(outputs).tolist() == [[0, 0]]
    assert Rejecting(Strings(2, 2), 0.65).predict(outputs).tolist() == [[REFUSED, REFUSED]]


def test_L19_yes_or_no_is_sure_on_both_sides() -> None:
    outputs = torch.tensor([[3.0], [-3.0], [0.1]])
    assert Rejecting(Bernoulli(), 0.9).predict(outputs).tolist() == [1, 0, REFUSED]


def test_L19_trains_as_the_likelihood_inside_does() -> None:
    outputs, y = outputs_of(9, 3), torch.arange(9) % 3
    inside = Categorical(3, smoothing=0.1)
    assert torch.equal(Rejecting(inside, 0.9).log_prob(outputs, y), inside.log_prob(outputs, y))
    assert torch.equal(Rejecting(inside, 0.9).nll_gradient(outputs, y), inside.nll_gradient(outputs, y))
    torch.testing.assert_close(Rejecting(inside, 0.9).confidence(outputs), outputs.softmax(1).amax(1))


def test_a_rejecting_head_stands_beside_others() -> None:
    heads = Heads((Rejecting(Categorical(3), 0.9), Gaussian()), ("kind", "size"))
    plain = Heads((Categorical(3), Gaussian()), ("kind", "size"))
    outputs, y = outputs_of(5, 5), torch.tensor([[0.0, 1.0], [1, 0], [2, 0], [0, 0], [1, 1]]).double()
    assert torch.equal(heads.log_prob(outputs, y), plain.log_prob(outputs, y))
    refused = outputs[:, :3].softmax(1).amax(1) < 0.9
    assert refused.any() and torch.equal(heads.predict(outputs)[:, 0] == REFUSED, refused)


def test_strings_of_one_symbol_stand_beside_others() -> None:
    heads = Heads((Strings(1, 3), Gaussian()), ("kind", "size"))
    outputs = outputs_of(5, 5)
    torch.testing.assert_close(heads.mean(outputs)[:, :3], outputs[:, :3].softmax(1))
    assert one_hot(heads.predict(outputs)[:, 0].long(), 3).shape == (5, 3)


def test_numbers_cannot_be_refused() -> None:
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises(ConfigError, match="must be a Categorical, Bernoulli or Strings"):
            Rejecting(Gaussian(), 0.5)  # type: ignore[arg-type]
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)

"""The sequence loss: the product of the conditionals, padding, and any likelihood for a step."""

import math

import jaxtyping
import pytest
import torch

from lamina.errors import ConfigError
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.sequence import sequence_log_prob

G = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(3, 4, 5, generator=G, dtype=torch.float64)
CODES = torch.randint(0, 5, (3, 4), generator=G)
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]).bool()


def test_L17_is_the_log_of_the_product_of_the_conditionals() -> None:
    p = OUTPUTS.exp() / OUTPUTS.exp().sum(2, keepdim=True)
    for n, ours in enumerate(sequence_log_prob(Categorical(5), OUTPUTS, CODES)):
        product = math.prod(p[n, t, CODES[n, t]].item() for t in range(4))
        assert math.isclose(ours.item(), math.log(product), rel_tol=1e-12)


def test_L17_all_sequences_of_a_model_that_conditions_on_its_past_have_probability_one() -> None:
    table = torch.randn(3, 2, generator=G, dtype=torch.float64)  # logits after nothing, after 0, after 1
    total = 0.0
    for code in range(8):
        y = torch.tensor([[code >> 2 & 1, code >> 1 & 1, code & 1]])
        outputs = table[torch.tensor([[0, 1 + y[0, 0], 1 + y[0, 1]]])]
        total += sequence_log_prob(Categorical(2), outputs, y).exp().item()
    assert math.isclose(total, 1.0, rel_tol=1e-12)


def test_L17_padded_steps_are_neither_read_nor_given_a_gradient() -> None:
    outputs, codes = OUTPUTS.clone(), CODES.clone()
    outputs[~MASK], codes[~MASK] = math.nan, -100
    outputs.requires_grad_()
    ours = sequence_log_prob(Categorical(5), outputs, codes, MASK)
    (slope,) = torch.autograd.grad(ours.sum(), outputs)
    short = sequence_log_prob(Categorical(5), OUTPUTS[1:2, :2], CODES[1:2, :2])
    full = sequence_log_prob(Categorical(5), OUTPUTS[:1], CODES[:1])
    torch.testing.assert_close(ours, torch.cat([full, short, torch.zeros(1).double()]), rtol=1e-14, atol=0)
    assert (slope[~MASK] == 0).all() and (slope[MASK] != 0).any(1).all()


@pytest.mark.parametrize("mask", [None, MASK])
def test_L17_two_derivatives_with_any_likelihood(mask: torch.Tensor | None) -> None:
    outputs = OUTPUTS[:, :, :4].clone().requires_grad_()
    y = torch.randn(3, 4, 2, generator=G, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda o: sequence_log_prob(Gaussian(2), o, y, mask), outputs)
    assert torch.autograd.gradgradcheck(lambda o: sequence_log_prob(Gaussian(2), o, y, mask), outputs)


def test_shapes_that_do_not_fit_are_refused() -> None:
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        for outputs, y, mask in (
            (OUTPUTS[0], CODES, None),
            (OUTPUTS, CODES[:, :3], None),
            (OUTPUTS, CODES, MASK[:, :3]),
            (OUTPUTS, CODES, MASK.long()),
        ):
            with pytest.raises(ConfigError) as caught:
                sequence_log_prob(Categorical(5), outputs, y, mask)
            assert caught.value.mend
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)

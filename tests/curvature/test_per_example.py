"""Rows of single examples against passes back through one example at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvature import net
from curvature.test_batch_loss import NETS, batch, explicit, rows
from lamina.curvature.per_example import curvature_rows
from lamina.errors import ConfigError


@pytest.mark.parametrize("name", list(NETS))
@pytest.mark.parametrize("kind", ["fisher", "empirical-fisher"])
def test_O17_rows_have_the_curvature_for_their_product(name: str, kind: str) -> None:
    loss = batch(name, penalty=False)
    loss.model.eval()
    whole = torch.cat(list(curvature_rows(loss, kind, chunk=4)))
    expected = explicit(loss, kind)
    assert (whole.mT @ whole - expected).abs().max() <= 1e-10 * expected.abs().max()


@pytest.mark.parametrize("chunk", [None, 1, 5, 100])
def test_O17_rows_are_the_gradients_of_the_examples(chunk: int | None) -> None:
    loss = batch("convolutional", penalty=False)
    found = torch.cat(list(curvature_rows(loss, chunk=chunk)))
    each = nn.functional.cross_entropy(loss.model(loss.inputs), loss.targets, reduction="none")
    assert loss.weights is not None
    expected = rows(each, list(loss.named.values())) * (loss.weights / 6).sqrt().unsqueeze(1)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-13)


def test_rows_refuse_what_ties_examples_together() -> None:
    for name in ("normalised", "dropping"):
        with pytest.raises(ConfigError, match="training mode"):
            list(curvature_rows(batch(name).rows(0, 2)))
    with pytest.raises(ConfigError, match="chunk"):
        list(curvature_rows(batch("mlp"), chunk=0))


def test_single_precision_of_a_recurrent_net() -> None:
    loss = batch("lstm", penalty=False)
    expected = torch.cat(list(curvature_rows(loss)))
    assert loss.weights is not None
    loss.model.float()
    loss.inputs, loss.weights = loss.inputs.float(), loss.weights.float()
    found = torch.cat(list(curvature_rows(loss)))
    assert (found.double() - expected).norm() <= 1e-5 * expected.norm()
    assert net.flat(loss.parameters).numel() == found.shape[1]

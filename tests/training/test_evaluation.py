"""Outputs and losses of held-out examples, against one pass over all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.likelihoods import Categorical
from lamina.training.evaluation import Validation, outputs_of


@pytest.mark.parametrize("rows", [None, torch.tensor([6, 0, 3, 3, 9, 8, 1])], ids=["all", "some"])
@pytest.mark.parametrize("weighted", [False, True])
def test_loss_of_held_out_examples_is_the_formula(rows: torch.Tensor | None, weighted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(10, 4, generator=generator), torch.randint(3, (10,), generator=generator)
    weights = torch.rand(10, generator=generator) if weighted else None
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).train()
    place = np.arange(10) if rows is None else rows.numpy()
    z = x.numpy()[place] @ model[0].weight.detach().numpy().T + model[0].bias.detach().numpy()  # nothing is dropped
    outputs = outputs_of(model, x, rows=rows, batch_size=3)
    np.testing.assert_allclose(outputs.numpy(), z, rtol=1e-5, atol=1e-6)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    share = np.ones(len(place)) if weights is None else weights.numpy()[place]
    expected = np.mean(-share * np.log(p[np.arange(len(place)), y.numpy()[place]]))
    validation = Validation(Batch(x, y, weights), Categorical(3), rows=rows, batch_size=3)
    assert validation.figures(model) == {"loss": pytest.approx(expected, rel=1e-5)}
    assert model.training and model[1].training

"""Every likelihood trains alike through automatic differentiation and through the written-out back-propagation."""

import pytest
import torch
from torch import nn

from lamina.data.batch import Batch
from lamina.training import BackpropStep, GradientStep, Supervised
from likelihoods.records import RECORDS, seeded


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", list(RECORDS))
def test_C31_both_steps_move_the_weights_alike(name: str, weighted: bool) -> None:
    record, n, moved = RECORDS[name], 16, []
    x, y = torch.randn(n, 5, generator=seeded(0)), record.target(n, seeded(1))
    batch = Batch(
        x, y.float() if y.is_floating_point() else y, torch.rand(n, generator=seeded(2)) if weighted else None
    )
    for written_out in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, record.likelihood.n_outputs))
        objective = Supervised(record.likelihood)
        if written_out:
            step = BackpropStep(net, objective, lambda groups: torch.optim.SGD(groups, lr=0.1))
        else:
            step = GradientStep(net, objective, torch.optim.SGD(net.parameters(), lr=0.1))
        losses = [float(step(batch)["loss"]) for _ in range(3)]
        moved.append(torch.cat([torch.tensor(losses), *(p.detach().flatten() for p in net.parameters())]))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-4, atol=1e-5)
    assert losses[2] < losses[0]

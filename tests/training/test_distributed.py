"""Data and model parallelism are PyTorch's own: two processes give the gradient of the whole batch and network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.multiprocessing.spawn import spawn

from training.parallel_problems import gradient, two_processes
from training.problems import blobs, network


@pytest.mark.slow
def test_O30_two_processes_give_the_gradient_of_the_whole(tmp_path: Path) -> None:
    spawn(two_processes, (str(tmp_path),), nprocs=2)
    model, batch = network().double(), blobs(64)
    nn.functional.cross_entropy(model(batch.inputs.double()), batch.targets).backward()  # type: ignore[arg-type]
    expected = gradient(model)
    halves = [torch.load(tmp_path / f"data{rank}") for rank in range(2)]
    assert torch.equal(*halves)
    torch.testing.assert_close(halves[0], expected, rtol=1e-11, atol=1e-13)
    parts = [torch.load(tmp_path / f"part{rank}") for rank in range(2)]
    torch.testing.assert_close(torch.cat(parts), expected, rtol=1e-12, atol=1e-14)

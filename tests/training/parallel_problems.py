"""What the spawned processes of the parallel tests run: functions that a new process can import."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch import distributed as dist

from lamina.likelihoods import Categorical
from lamina.training import BackpropStep, GradientStep, Supervised
from training.problems import blobs, network


def sgd_step(model: nn.Module) -> GradientStep:
    """Descent with momentum, so that a worker's own state matters."""
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.5)
    return GradientStep(model, Supervised(Categorical(3)), optimizer)


def own_memory(model: nn.Module) -> BackpropStep:
    """A step that moves the parameters away."""
    return BackpropStep(model, Supervised(Categorical(3)), lambda groups: torch.optim.SGD(groups, 0.05))


class Slow(GradientStep):
    """Sleeps between gradient and update, so that another worker's update comes between for certain."""

    def _apply(self) -> None:
        time.sleep(0.002)
        super()._apply()


def slow_step(model: nn.Module) -> GradientStep:
    """A step with a long way between reading and writing."""
    return Slow(model, Supervised(Categorical(3)), torch.optim.SGD(model.parameters(), 0.05))


def two_processes(rank: int, folder: str) -> None:
    """Data parallelism by DistributedDataParallel, then model parallelism in two parts of a chain."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        data_parallel(rank, Path(folder))
        model_parallel(rank, Path(folder))
    finally:
        dist.destroy_process_group()


def data_parallel(rank: int, folder: Path) -> None:
    """Each process has half of the batch; afterwards both hold the same gradient."""
    model = network().double()
    step = GradientStep(
        nn.parallel.DistributedDataParallel(model),
        Supervised(Categorical(3)),
        torch.optim.SGD(model.parameters(), 0.1),
    )
    batch = blobs(64)
    step(batch._replace(inputs=batch.inputs.double()).rows(32 * rank, 32 * (rank + 1)))
    torch.save(gradient(model), folder / f"data{rank}")


def model_parallel(rank: int, folder: Path) -> None:
    """The first process has the first layers, the second the rest: activations go up, their gradients come down."""
    model, batch = network().double(), blobs(64)
    x = batch.inputs.double()
    if rank == 0:
        hidden = model[:2](x)
        dist.send(hidden.detach(), 1)
        down = torch.empty_like(hidden)
        dist.recv(down, 1)
        hidden.backward(down)
        torch.save(gradient(model[:2]), folder / "part0")
    else:
        hidden = torch.empty(64, 16, dtype=torch.float64)
        dist.recv(hidden, 0)
        hidden.requires_grad_()
        nn.functional.cross_entropy(model[2:](hidden), batch.targets).backward()  # type: ignore[arg-type]
        assert hidden.grad is not None
        dist.send(hidden.grad, 0)
        torch.save(gradient(model[2:]), folder / "part1")


def gradient(model: nn.Module) -> Tensor:
    """All gradients as a vector."""
    return torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]

"""Asynchronous stochastic gradient descent: several processes change the same weights, and none waits for another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.errors import ConfigError
from lamina.training.step import Step

MakeStep = Callable[[nn.Module], Step]


def hogwild(
    model: nn.Module,
    make_step: MakeStep,
    data: Batch,
    *,
    workers: int = 2,
    epochs: int = 1,
    batch_size: int = 32,
    seed: int = 0,
) -> Tensor:
    """Train a network in place by lock-free stochastic gradient descent over shared memory ("Hogwild!").

        each worker, over and over:   w ← w - η g(w),   w read and written without a lock

    A gradient is taken at weights that others change meanwhile, and a written sum may overwrite another's. Where
    gradients are sparse the workers seldom meet, and the error is small; where they are dense, the staleness acts like
    more momentum, and large rates diverge sooner. Runs are not reproducible, with one exception: one worker is serial
    descent, to the bit.

    The data are dealt out, every ``workers``-th example to a worker, and each draws its own order; so an epoch is one
    pass over the data by all together. Optimiser states are each worker's own. Weights and buffers are moved to shared
    memory and stay there.

    Not on one GPU (there is one queue of work), nor for small networks whose arithmetic is shorter than the traffic
    between caches. For several machines or GPUs with synchronous steps, which give the gradient of the whole batch,
    take ``torch.nn.parallel.DistributedDataParallel``.

    Processes are spawned: call it under ``if __name__ == "__main__"``, and let ``make_step`` be a function of a module,
    not a lambda.

    Args:
        model: The network, on the CPU.
        make_step: Called in each worker with the shared network. The step must update the network's own parameters:
            ``GradientStep`` or ``ClosureStep``; ``BackpropStep`` moves them to memory of its own.
        data: Examples.
        workers: Processes, at least 1.
        epochs: Passes over the data, at least 1.
        batch_size: Examples an update.
        seed: Decides the orders, and each worker's random numbers (dropout).

    Returns:
        ``(workers, epochs)`` mean loss of each worker's updates.

    Raises:
        ConfigError: If a number is below 1, there are fewer examples than workers, or the network is not on the CPU.
            A worker's own error comes as ``torch.multiprocessing.ProcessRaisedException``.

    Reference: Niu, Recht, Ré & Wright, "Hogwild!: A Lock-Free Approach to Parallelizing Stochastic Gradient Descent",
    NeurIPS 2011.
    """
    if min(workers, epochs, batch_size) < 1:
        raise ConfigError(
            f"workers, epochs and batch_size must be at least 1, got {workers}, {epochs} and {batch_size}",
            where="hogwild",
        )
    if data.size < workers:
        raise ConfigError(
            f"{data.size} examples cannot be dealt to {workers} workers", where="hogwild", mend="use fewer workers"
        )
    if any(p.device.type != "cpu" for p in model.parameters()):
        raise ConfigError("the network is not on the CPU", where="hogwild", mend="use DistributedDataParallel")
    model.share_memory()
    for part in data:
        if part is not None:
            part.share_memory_()  # type: ignore[no-untyped-call]
    losses = torch.zeros(workers, epochs, dtype=torch.float64)
    losses.share_memory_()  # type: ignore[no-untyped-call]
    spawn(_work, (_Job(model, make_step, data, workers, batch_size, seed), losses), nprocs=workers)  # type: ignore[no-untyped-call]
    model.eval()
    return losses.clone()


@dataclass(frozen=True)
class _Job:
    """What is the same for all workers."""

    model: nn.Module
    make_step: MakeStep
    data: Batch
    workers: int
    batch_size: int
    seed: int


def _work(worker: int, job: _Job, losses: Tensor) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(job.seed + worker)
    places = [p.data_ptr() for p in job.model.parameters()]
    step = job.make_step(job.model)
    if places != [p.data_ptr() for p in step.model.parameters()]:
        raise ConfigError(
            f"{type(step).__name__} took the parameters out of the shared memory",
            where="hogwild",
            mend="make a GradientStep",
        )
    job.model.train()
    rows = None if job.workers == 1 else torch.arange(worker, job.data.size, job.workers)
    stream = InMemory(job.data, job.batch_size, rows=rows, seed=job.seed + worker)
    for epoch in range(losses.shape[1]):
        total = torch.zeros((), dtype=torch.float64)
        for batch in stream.batches(epoch):
            total += step(batch)["loss"].double() * batch.size
        losses[worker, epoch] = total / stream.n_examples

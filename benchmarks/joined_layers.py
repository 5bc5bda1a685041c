"""What back-propagation by hand saves where layers are joined: CPU time of an update, beside autograd's.

    python benchmarks/joined_layers.py --rounds 9

Multilayer perceptrons of two hidden layers of rectified units, plain and with each kind of connection, trained by
``BackpropStep`` and ``GradientStep`` with fused Adam on random data. One thread is pinned to one core; the steps take
turns, a lap is 200 updates of the small networks and 20 of the large ones; a ratio is taken within each round, and the
table shows their median and range. Plain chains are raced against other libraries in ``training_loop.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch

from lamina.data.batch import Batch
from lamina.likelihoods import Categorical
from lamina.nn import MLP
from lamina.training import GradientStep, Supervised
from lamina.training.backprop import BackpropStep
from timing import environment, lap, pin, ratios

CASES = {"64-64-64-10, batch 32": (64, 64, 32, 200), "784-512-512-10, batch 128": (784, 512, 128, 20)}
CONNECTIONS = ("plain", "residual", "highway", "skip")


def updates(step: BackpropStep | GradientStep, batch: Batch, number: int) -> None:
    for _ in range(number):
        step(batch)


def jobs(inputs: int, units: int, n: int, number: int, connections: str) -> dict[str, Callable[[], None]]:
    """Return a lap of each step, on networks of the same starting weights."""
    generator = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(n, inputs, generator=generator), torch.randint(10, (n,), generator=generator))
    objective = Supervised(Categorical(10))

    def network() -> MLP:
        return MLP(inputs, 10, (units, units), connections=connections, generator=torch.Generator().manual_seed(0))

    theirs = network()
    slow = GradientStep(theirs, objective, torch.optim.Adam(theirs.parameters(), 1e-3, fused=True))
    fast = BackpropStep(network(), objective, lambda groups: torch.optim.Adam(groups, 1e-3, fused=True))
    return {
        "GradientStep": partial(updates, slow, batch, number),
        "BackpropStep": partial(updates, fast, batch, number),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    pin(1)
    print(environment(["torch"]))
    print("\n| network | connections | autograd, ms | by hand, ms | ratio |\n| --- | --- | ---: | ---: | --- |")
    for title, sizes in CASES.items():
        for connections in CONNECTIONS:
            made, laps = jobs(*sizes, connections), []
            for number in range(options.rounds + 1):
                names = sorted(made, reverse=bool(number % 2))
                laps.append({name: 1e3 * lap(made[name])[1].cpu / sizes[3] for name in names})
            laps = laps[1:]  # the first lap makes buffers and states
            middle, low, high = ratios(laps, "GradientStep")["BackpropStep"]
            best = {name: min(one[name] for one in laps) for name in made}
            print(
                f"| {title} | {connections} | {best['GradientStep']:.3f} | {best['BackpropStep']:.3f} "
                f"| {middle:.2f} [{low:.2f}-{high:.2f}] |"
            )


if __name__ == "__main__":
    main()

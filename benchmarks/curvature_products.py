"""Products with the Gauss-Newton matrix beside curvlinops', in units of one gradient.

    python benchmarks/curvature_products.py --rounds 15
    python benchmarks/curvature_products.py --net autoencoder --rounds 7 --out products.jsonl

A lap is one gradient (forward, loss, backward of a plain module and PyTorch's loss), one product on its own, or
``--products`` products with the network linearised once, counted each: what conjugate gradients pay. "first" is the
linearising with its first product. All products are compared before anything is timed. One thread is pinned to one core
and its CPU seconds are counted; peers take turns in one process, each first in turn. A ratio is taken within each
round; the table shows their median and range. Rounds already in ``--out`` are kept and counted. curvlinops is left out
where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lamina.curvature import hessian_vector
from lamina.curvature.batch_loss import BatchLoss
from lamina.curvature.gauss_newton import gauss_newton_vector
from lamina.likelihoods import Bernoulli, Categorical, Likelihood
from timing import environment, lap, pin, ratios, read_lines, write_line

WIDTHS = (784, 1000, 500, 250, 30, 250, 500, 1000, 784)


Made = tuple[nn.Module, Likelihood, nn.Module, float, Tensor, Tensor]


def classifier() -> Made:
    """The network, what its outputs mean, PyTorch's loss, how much larger ours is, inputs and targets."""
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return model, Categorical(10), nn.CrossEntropyLoss(), 1.0, torch.rand(512, 784), torch.randint(0, 10, (512,))


def autoencoder() -> Made:
    """784-1000-500-250-30 and back, with logistic units but for the code and the outputs."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(WIDTHS)):
        layers += [nn.Linear(a, b)] + [nn.Sigmoid()] * (i not in {3, len(WIDTHS) - 2})
    x = (torch.rand(500, 784) < 0.2).float()
    return nn.Sequential(*layers), Bernoulli(784), nn.BCEWithLogitsLoss(), 784.0, x, x


NETS = {"classifier": classifier, "autoencoder": autoencoder}


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors.values()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=sorted(NETS), default="classifier")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--products", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    pin(1)
    torch.manual_seed(0)
    model, likelihood, loss, larger, x, y = NETS[arguments.net]()
    parameters = list(model.parameters())
    batch = BatchLoss(model, likelihood, x, y)
    v = {name: torch.randn_like(p) for name, p in batch.named.items()}
    ready = {kind: batch.product(kind) for kind in ("gauss-newton", "hessian")}
    expected = flat(ready["gauss-newton"](v))

    def gradient() -> Any:
        return torch.autograd.grad(loss(model(x), y), parameters)

    def often(kind: str) -> Callable[[], Any]:
        return lambda: [ready[kind](v) for _ in range(arguments.products)]

    peers: dict[str, tuple[Callable[[], Any], int]] = {
        "gradient": (gradient, 1),
        "closure": (batch, 1),
        "first": (lambda: batch.product("gauss-newton")(v), 1),
        "alone": (lambda: gauss_newton_vector(batch, v), 1),
        "reused": (often("gauss-newton"), arguments.products),
        "hessian, alone": (lambda: hessian_vector(batch.at, batch.parameters, v), 1),
        "hessian, first": (lambda: batch.product("hessian")(v), 1),
        "hessian, reused": (often("hessian"), arguments.products),
    }
    agree(flat(gauss_newton_vector(batch, v)), expected)
    if importlib.util.find_spec("curvlinops"):
        from curvlinops import GGNLinearOperator

        warnings.simplefilter("ignore")
        theirs = GGNLinearOperator(model, loss, parameters, [(x, y)], check_deterministic=False)
        whole = flat(v)
        agree(larger * (theirs @ whole), expected)
        peers["curvlinops"] = (lambda: theirs @ whole, 1)
    laps = [r["cpu"] for r in read_lines(arguments.out) if r["net"] == arguments.net]
    for peer, _ in peers.values():  # warm
        peer()
    names = list(peers)
    for i in range(len(laps), arguments.rounds):
        order = names[i % len(names) :] + names[: i % len(names)]
        cpu = {name: lap(peers[name][0])[1].cpu / peers[name][1] for name in order}
        laps.append(cpu)
        seen = environment(("torch", "curvlinops-for-pytorch"))
        write_line(arguments.out, {"net": arguments.net, "cpu": cpu, **seen})
    print(f"{arguments.net}, one thread, CPU milliseconds\n| peer | ms | ratio [range] | n |\n|---|---|---|---|")
    for peer, (middle, least, most) in ratios(laps, "gradient").items():
        ms = 1e3 * sorted(one[peer] for one in laps)[len(laps) // 2]
        print(f"| {peer} | {ms:.1f} | {middle:.2f} [{least:.2f}-{most:.2f}] | {len(laps)} |")


def agree(found: Tensor, expected: Tensor) -> None:
    """Refuse to compare two things that are not the same."""
    error = float((found - expected).norm() / expected.norm())
    if error > 1e-4:
        raise SystemExit(f"the products differ by {error:.1e}")


if __name__ == "__main__":
    main()

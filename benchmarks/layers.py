"""Layers beside their arithmetic written bare: how much a module costs above the operations that it stands for.

    python benchmarks/layers.py --rounds 15
    python benchmarks/layers.py --width 1024 --pieces 5 --rounds 15 --out layers.jsonl

A lap is ``--steps`` forward and backward passes with gradients for the input and every parameter. The bare arithmetic
uses the same tensors as parameters, and its result and gradients are compared with the layer's before anything is
timed. One thread is pinned to one core and its CPU seconds are counted; the two take turns in one process, each first
in every second round. A ratio is taken within each round; the table shows their median and range. Rounds already in
``--out`` are kept and counted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from lamina.nn.connections.highway import Highway
from lamina.nn.residual import Residual
from lamina.nn.units import Maxout, PNorm
from timing import environment, lap, pin, ratios, read_lines, write_line

Forward = Callable[[Tensor], Tensor]


def maxout(width: int, pieces: int) -> tuple[nn.Module, Forward]:
    layer = Maxout(width, width, pieces)
    w, b = layer.affine.weight, layer.affine.bias
    return layer, lambda x: linear(x, w, b).view(-1, pieces, width).amax(1)


def two_norm(width: int, pieces: int) -> tuple[nn.Module, Forward]:
    layer = PNorm(width, width, pieces)
    w, b = layer.affine.weight, layer.affine.bias
    return layer, lambda x: linear(x, w, b).view(-1, pieces, width).square().sum(1).sqrt()


def three_norm(width: int, pieces: int) -> tuple[nn.Module, Forward]:
    layer = PNorm(width, width, pieces, 3.0)
    w, b = layer.affine.weight, layer.affine.bias
    return layer, lambda x: linear(x, w, b).view(-1, pieces, width).abs().pow(3).sum(1).pow(1 / 3)


def highway(width: int, pieces: int) -> tuple[nn.Module, Forward]:
    inner = nn.Linear(width, width)
    layer = Highway(width, nn.Sequential(inner, nn.ReLU()))
    wg, bg = [p for name, p in layer.named_parameters() if name.startswith("gate")]
    w, b = inner.weight, inner.bias

    def bare(x: Tensor) -> Tensor:
        gate = torch.sigmoid(linear(x, wg, bg))
        return gate * relu(linear(x, w, b)) + (1 - gate) * x

    return layer, bare


def residual(width: int, pieces: int) -> tuple[nn.Module, Forward]:
    first, second = nn.Linear(width, width), nn.Linear(width, width)
    layer = Residual(nn.Sequential(first, nn.ReLU(), second))
    w, b, v, c = first.weight, first.bias, second.weight, second.bias
    return layer, lambda x: x + linear(relu(linear(x, w, b)), v, c)


LAYERS: dict[str, Callable[[int, int], tuple[nn.Module, Forward]]] = {
    "maxout": maxout,
    "p-norm, p = 2": two_norm,
    "p-norm, p = 3": three_norm,
    "highway": highway,
    "residual": residual,
}


def same(layer: nn.Module, bare: Forward, x: Tensor, delta: Tensor) -> None:
    """Refuse to compare two things that are not the same."""
    found = []
    for forward in (layer, bare):
        y = forward(x)
        found.append((y, *torch.autograd.grad(y, [x, *layer.parameters()], delta)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def passes(forward: Forward, x: Tensor, parameters: list[Tensor], delta: Tensor, steps: int) -> None:
    for _ in range(steps):
        for tensor in parameters:
            tensor.grad = None
        forward(x).backward(delta)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="in all, those in --out included")
    parser.add_argument("--steps", type=int, default=100, help="passes of a lap")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--width", type=int, default=256, help="inputs and units of every layer")
    parser.add_argument("--pieces", type=int, default=2, help="of a maxout or p-norm unit")
    parser.add_argument("--out", type=Path, help="JSON lines, appended")
    options = parser.parse_args()
    pin(1)
    torch.manual_seed(0)
    mine = {"batch": options.batch, "width": options.width, "pieces": options.pieces, "steps": options.steps}
    lines: list[dict[str, Any]] = [
        line for line in read_lines(options.out) if all(line.get(key) == value for key, value in mine.items())
    ]
    first = 1 + max((line["round"] for line in lines), default=0)
    x = torch.randn(options.batch, options.width, requires_grad=True)
    delta = torch.randn(options.batch, options.width)
    made = {name: make(options.width, options.pieces) for name, make in LAYERS.items()}
    for layer, bare in made.values():
        same(layer, bare, x, delta)
        for forward in (layer, bare):
            passes(forward, x, [x, *layer.parameters()], delta, max(1, options.steps // 5))
    for number in range(first, options.rounds + 1):
        for name, (layer, bare) in made.items():
            tensors = [x, *layer.parameters()]
            line: dict[str, Any] = {**mine, "layer": name, "round": number}
            pair: list[tuple[str, Forward]] = [("bare", bare), ("lamina", layer)]
            for peer, forward in pair if number % 2 else pair[::-1]:
                _, time = lap(lambda forward=forward, t=tensors: passes(forward, x, t, delta, options.steps))
                line[peer] = time.cpu
            write_line(options.out, line)
            lines.append(line)
    print(environment(["torch"]))
    print(f"batch {options.batch}, width {options.width}, {options.pieces} pieces, one thread, CPU seconds")
    print("| layer | bare, us a pass | lamina | ratio [range] | n |\n|---|---|---|---|---|")
    for name in made:
        rounds = [{peer: line[peer] for peer in ("bare", "lamina")} for line in lines if line["layer"] == name]
        middle, low, high = ratios(rounds, "bare")["lamina"]
        bare_us, lamina_us = (
            sorted(one[peer] for one in rounds)[len(rounds) // 2] / options.steps * 1e6 for peer in ("bare", "lamina")
        )
        print(f"| {name} | {bare_us:.0f} | {lamina_us:.0f} | {middle:.3f} [{low:.3f}-{high:.3f}] | {len(rounds)} |")


if __name__ == "__main__":
    main()

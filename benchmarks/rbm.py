"""One epoch of contrastive divergence, 784-500, CD-1, batches of 100, beside its five matrix products and the peers.

    python benchmarks/rbm.py --rounds 9 --out rbm.jsonl

One thread is pinned to one core and its CPU seconds are counted; peers go round-robin in one process, and each ratio is
taken within its round, to the five products alone. Made-up binary data of eight prototypes with noise. Batches come in
order, as views of the data, but for scikit-learn, which cuts its own, and for "through fit", which shuffles, keeps a
history and gathers each batch from memory. ``score`` is the mean log pseudo-likelihood after one epoch from N(0, 0.01²)
weights at rate 0.1. Rounds already in ``--out`` are kept and counted. learnergy (its update, and its pseudo-likelihood
of each batch, which its ``fit`` takes) and jax (the same rule under ``jit``) join where they are installed.

    python benchmarks/rbm.py --annealed 0.1

times that share of 1,000 chains x 10,000 temperatures of annealed importance sampling, and tells the memory before and
after.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lamina.data.batch import Batch
from lamina.data.stream import InMemory
from lamina.energy import RBM, ContrastiveDivergence, ContrastiveDivergenceStep, RBMPath
from lamina.samplers import annealed_importance
from lamina.training import GradientStep, fit
from timing import environment, lap, pin, ratios, read_lines, write_line

N, VISIBLE, HIDDEN, BATCH, RATE = 10000, 784, 500, 100, 0.1
Job = Callable[[Tensor], RBM | None]


def data() -> Tensor:
    g = torch.Generator().manual_seed(0)
    prototypes = (torch.rand(8, VISIBLE, generator=g) < 0.2).float()
    kind = torch.randint(8, (N,), generator=g)
    noise = (torch.rand(N, VISIBLE, generator=g) < 0.05).float()
    return (prototypes[kind] - noise).abs()


def machine() -> RBM:
    return RBM(VISIBLE, HIDDEN, generator=torch.Generator().manual_seed(1))


def products(x: Tensor) -> None:
    w = machine().weight.detach()
    h, h2, v2 = torch.empty(BATCH, HIDDEN), torch.empty(BATCH, HIDDEN), torch.empty(BATCH, VISIBLE)
    up, down = torch.empty_like(w), torch.empty_like(w)
    for v in torch.split(x, BATCH):
        torch.mm(v, w.t(), out=h)
        torch.mm(h, w, out=v2)
        torch.mm(v2, w.t(), out=h2)
        torch.mm(h.t(), v, out=up)
        torch.mm(h2.t(), v2, out=down)


def ours(x: Tensor, **options: Any) -> RBM:
    rbm = machine()
    step = ContrastiveDivergenceStep(rbm, RATE, generator=torch.Generator().manual_seed(2), **options)
    for v in torch.split(x, BATCH):
        step(Batch(v))
    return rbm


def ours_through_fit(x: Tensor) -> RBM:
    rbm = machine()
    step = ContrastiveDivergenceStep(rbm, RATE, generator=torch.Generator().manual_seed(2))
    fit(step, InMemory(Batch(x), BATCH), max_epochs=1)
    return rbm


def ours_by_autograd(x: Tensor) -> RBM:
    rbm = machine()
    objective = ContrastiveDivergence(generator=torch.Generator().manual_seed(2))
    step = GradientStep(rbm, objective, torch.optim.SGD(rbm.parameters(), RATE))
    for v in torch.split(x, BATCH):
        step(Batch(v))
    return rbm


@torch.no_grad()
def plain_loop(x: Tensor) -> RBM:
    rbm = machine()
    w, b, c = rbm.weight, rbm.visible_bias, rbm.hidden_bias
    for v in torch.split(x, BATCH):
        h = torch.sigmoid(v @ w.t() + c)
        v2 = torch.bernoulli(torch.sigmoid(torch.bernoulli(h) @ w + b))
        h2 = torch.sigmoid(v2 @ w.t() + c)
        w += RATE / BATCH * (h.t() @ v - h2.t() @ v2)
        b += RATE * (v - v2).mean(0)
        c += RATE * (h - h2).mean(0)
    return rbm


def scikit_learn(x: Tensor) -> RBM:
    from sklearn.neural_network import BernoulliRBM

    peer = BernoulliRBM(HIDDEN, learning_rate=RATE, batch_size=BATCH, n_iter=1, random_state=0).fit(x.numpy())
    return of_arrays(*map(torch.from_numpy, (peer.components_, peer.intercept_visible_, peer.intercept_hidden_)))


def learnergy(x: Tensor) -> RBM:
    from learnergy.models.bernoulli import RBM as Peer

    torch.manual_seed(0)
    peer = Peer(VISIBLE, HIDDEN, learning_rate=RATE)
    for v in torch.split(x, BATCH):
        *_, states = peer.gibbs_sampling(v)
        cost = peer.energy(v).mean() - peer.energy(states.detach()).mean()
        peer.optimizer.zero_grad()
        cost.backward()
        peer.optimizer.step()
        peer.pseudo_likelihood(v)
    return of_arrays(peer.W.t(), peer.a, peer.b)


_compiled: dict[str, Any] = {}


def jax_jit(x: Tensor) -> RBM:
    import jax
    from jax import numpy as jnp

    def step(state: Any, v: Any) -> Any:
        w, b, c, key = state
        key, first, second = jax.random.split(key, 3)
        h = jax.nn.sigmoid(v @ w.T + c)
        on = (jax.random.uniform(first, h.shape) < h).astype(v.dtype)
        mean = jax.nn.sigmoid(on @ w + b)
        v2 = (jax.random.uniform(second, v.shape) < mean).astype(v.dtype)
        h2 = jax.nn.sigmoid(v2 @ w.T + c)
        w = w + RATE / BATCH * (h.T @ v - h2.T @ v2)
        return w, b + RATE * (v - v2).mean(0), c + RATE * (h - h2).mean(0), key

    compiled = _compiled.setdefault("step", jax.jit(step, donate_argnums=0))
    weight = jnp.asarray(machine().weight.detach().numpy())
    state = (weight, jnp.zeros(VISIBLE), jnp.zeros(HIDDEN), jax.random.key(0, impl="rbg"))
    for v in torch.split(x, BATCH):
        state = compiled(state, jnp.asarray(v.numpy()))
    import numpy as np

    return of_arrays(*(torch.from_numpy(np.array(jax.block_until_ready(p))) for p in state[:3]))


def of_arrays(weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> RBM:
    rbm = machine()
    with torch.no_grad():
        rbm.weight.copy_(weight)
        rbm.visible_bias.copy_(visible_bias)
        rbm.hidden_bias.copy_(hidden_bias)
    return rbm


PEERS: dict[str, Job] = {
    "five products": products,
    "sampled": ours,
    "mean": partial(ours, reconstruction="mean"),
    "sampled, through fit": ours_through_fit,
    "sampled, momentum": partial(ours, momentum=0.5),
    "by autograd": ours_by_autograd,
    "plain loop (torch.bernoulli)": plain_loop,
    "scikit-learn (persistent)": scikit_learn,
}
if find_spec("learnergy"):
    PEERS["learnergy"] = learnergy
if find_spec("jax"):
    PEERS["jax.jit"] = jax_jit


def one_round(number: int, x: Tensor, out: Path | None) -> list[dict[str, Any]]:
    lines, names = [], list(PEERS)
    shift = number % len(names)
    for name in names[shift:] + names[:shift]:
        PEERS[name](x[: 5 * BATCH])
        rbm, time = lap(partial(PEERS[name], x))
        line = {"round": number, "peer": name, "cpu_ms": round(1e3 * time.cpu / (N // BATCH), 4)}
        if rbm is not None:
            score = rbm.pseudo_likelihood(x[:500], "one", torch.Generator().manual_seed(3))
            line["score"] = round(float(score.mean()), 2)
        lines.append(line)
        write_line(out, line)
    return lines


def annealed(x: Tensor, share: float) -> dict[str, Any]:
    rbm, steps = ours(x), round(10_000 * share)
    path, ladder = RBMPath(rbm, x), torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
    annealed_importance(path, ladder[:: max(1, steps // 10)], 1000, torch.Generator().manual_seed(4))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, time = lap(lambda: annealed_importance(path, ladder, 1000, torch.Generator().manual_seed(5)))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "temperatures": steps,
        "cpu_s": round(time.cpu, 1),
        "cpu_minutes_of_10000": round(time.cpu / share / 60, 1),
        "peak_mib_before_and_after": (before // 1024, after // 1024),
        "log_z": round(float(found.log_z), 2),
    }


def summary(lines: list[dict[str, Any]]) -> str:
    rows = ["", "| peer | ms a step, best | ratio | range | score |", "| --- | ---: | ---: | --- | ---: |"]
    rounds = sorted({line["round"] for line in lines})
    laps = [{line["peer"]: line["cpu_ms"] for line in lines if line["round"] == number} for number in rounds]
    scores = {line["peer"]: line.get("score", "-") for line in lines}
    for name, (middle, low, high) in ratios(laps, "five products").items():
        best = min(one[name] for one in laps)
        rows.append(f"| {name} | {best:.2f} | {middle:.3f} | {low:.3f}-{high:.3f} | {scores[name]} |")
    return "\n".join([*rows, f"n = {len(rounds)}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--annealed", type=float, default=0.0, metavar="SHARE")
    options = parser.parse_args()
    print(environment(["torch", "numpy", "scikit-learn", "learnergy", "jax"]))
    pin(1)
    x = data()
    if options.annealed:
        print(annealed(x, options.annealed))
        return
    lines = read_lines(options.out)
    first = 1 + max((line["round"] for line in lines), default=0)
    for number in range(first, options.rounds + 1):
        lines += one_round(number, x, options.out)
    print(summary(lines))


if __name__ == "__main__":
    main()

"""One record a likelihood: an example of it, targets, and an oracle; the battery runs them all."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor
from torch.nn.functional import one_hot

from lamina.likelihoods.base import Likelihood
from lamina.likelihoods.bernoulli import Bernoulli
from lamina.likelihoods.categorical import Categorical
from lamina.likelihoods.full_gaussian import FullGaussian
from lamina.likelihoods.gaussian import Gaussian
from lamina.likelihoods.gaussian_mixture import GaussianMixture
from lamina.likelihoods.heads import Heads
from lamina.likelihoods.laplace import Laplace
from lamina.likelihoods.poisson import Poisson
from lamina.likelihoods.power import Power
from lamina.likelihoods.rejecting import Rejecting
from lamina.likelihoods.strings import Strings
from lamina.likelihoods.student_t import StudentT


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- oracles: scipy and NumPy, from the definition; they share nothing with lamina ------------------------------------


def oracle_categorical(z: np.ndarray, y: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    k = z.shape[1]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    out = []
    for row, code in zip(p, y, strict=True):
        t = [1 - smoothing if j == code else smoothing / (k - 1) for j in range(k)]
        out.append(sum(a * math.log(b) for a, b in zip(t, row, strict=True)))
    return np.array(out)


def oracle_soft(z: np.ndarray, t: np.ndarray) -> np.ndarray:
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return (t * np.log(p)).sum(1)


def oracle_bernoulli(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return stats.bernoulli.logpmf(y.reshape(len(z), -1), 1 / (1 + np.exp(-z))).sum(1)


def oracle_learnt(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    half = out.shape[1] // 2
    r = out[:, half:]
    return stats.norm.logpdf(y.reshape(len(out), -1), out[:, :half], np.exp(r / np.sqrt(1 + (r / 14) ** 2))).sum(1)


def oracle_fixed(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    return stats.norm.logpdf(y.reshape(len(out), -1), out, 0.5).sum(1)


def oracle_poisson(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    return stats.poisson.logpmf(y.reshape(len(out), -1), np.exp(out)).sum(1)


def oracle_located(
    out: np.ndarray, y: np.ndarray, density: Callable[..., np.ndarray], scale: float | None
) -> np.ndarray:
    y = y.reshape(len(out), -1)
    t = y.shape[1]
    r = out[:, t:]
    return density(y, loc=out[:, :t], scale=np.exp(r / np.sqrt(1 + (r / 14) ** 2)) if scale is None else scale).sum(1)


def oracle_laplace(out: np.ndarray, y: np.ndarray, scale: float | None = None) -> np.ndarray:
    # SciPy's laplace.logpdf is the logarithm of a density that underflows; gennorm of power 1 is the same without.
    return oracle_located(out, y, lambda v, loc, scale: stats.gennorm.logpdf(v, 1.0, loc, scale), scale)


def oracle_power(out: np.ndarray, y: np.ndarray, exponent: float, scale: float | None = None) -> np.ndarray:
    return oracle_located(out, y, lambda v, loc, scale: stats.gennorm.logpdf(v, exponent, loc, scale), scale)


def oracle_student(out: np.ndarray, y: np.ndarray, freedom: float, scale: float | None = None) -> np.ndarray:
    return oracle_located(out, y, lambda v, loc, scale: stats.t.logpdf(v, freedom, loc, scale), scale)


def oracle_full(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    y = y.reshape(len(out), -1)
    t, found = y.shape[1], []
    for o, v in zip(out, y, strict=True):
        whitener, k = np.zeros((t, t)), 2 * t
        for i in range(t):
            r = o[t + i]
            whitener[i, i] = math.exp(-r / math.sqrt(1 + (r / 14) ** 2))
            for j in range(i):
                whitener[i, j] = o[k]
                k += 1
        white = stats.multivariate_normal.logpdf(whitener @ (v - o[:t]), np.zeros(t))  # change of variables
        found.append(white + np.log(np.diag(whitener)).sum())
    return np.array(found)


def oracle_mixture(out: np.ndarray, y: np.ndarray, m: int, form: str) -> np.ndarray:
    y = y.reshape(len(out), -1)
    t, found = y.shape[1], []
    for o, v in zip(out, y, strict=True):
        share, r = special.softmax(o[:m]), o[m + m * t :]
        s = np.exp(r / np.sqrt(1 + (r / 14) ** 2))
        log_joint = [math.log(p) for p in share]
        for i, j in itertools.product(range(m), range(t)):
            scale = {"diagonal": i * t + j, "shared": j, "isotropic": i}[form]
            log_joint[i] += stats.norm.logpdf(v[j], o[m + i * t + j], s[scale])
        found.append(special.logsumexp(log_joint))
    return np.array(found)


def oracle_strings(out: np.ndarray, y: np.ndarray, n: int, k: int, variable: bool) -> np.ndarray:
    """Give each string its unnormalised weight and divide by the sum over all of its length; then the length."""
    found = []
    for o, string in zip(out, y.reshape(len(out), -1), strict=True):
        real = [int(c) for c in string if c >= 0]
        chosen = sum(o[i * k + c] for i, c in enumerate(real))
        every = [sum(o[i * k + c] for i, c in enumerate(s)) for s in itertools.product(range(k), repeat=len(real))]
        log_p = chosen - special.logsumexp(every)
        found.append(log_p + (special.log_softmax(o[n * k :])[len(real)] if variable else 0.0))
    return np.array(found)


def oracle_heads(out: np.ndarray, y: np.ndarray) -> np.ndarray:
    classes = oracle_categorical(out[:, :3], y[:, 0])
    return classes + oracle_learnt(out[:, 3:5], y[:, 1]) + oracle_poisson(out[:, 5:], y[:, 2])


@dataclass(frozen=True)
class Record:
    likelihood: Likelihood
    target: Callable[[int, torch.Generator], Tensor]
    oracle: Callable[[np.ndarray, np.ndarray], np.ndarray]
    wrong_targets: tuple[Callable[[int], Tensor], ...]  # shapes or kinds that must be refused, given N
    out_of_range: Tensor  # a target that check_target refuses in row 1
    features: Callable[[Tensor], Tensor] = lambda draws: draws.double()  # whose expectation ``mean`` gives


def soft(n: int, g: torch.Generator) -> Tensor:
    return torch.rand(n, 4, generator=g, dtype=torch.float64).softmax(1)


def heads_target(n: int, g: torch.Generator) -> Tensor:
    columns = [
        torch.randint(0, 3, (n,), generator=g),
        torch.randn(n, generator=g),
        torch.randint(0, 9, (n,), generator=g),
    ]
    return torch.stack([c.double() for c in columns], dim=1)


def codes(k: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, g: torch.randint(0, k, (n,), generator=g)


def real(t: int) -> Callable[[int, torch.Generator], Tensor]:
    shape = () if t == 1 else (t,)
    return lambda n, g: torch.randn(n, *shape, generator=g, dtype=torch.float64)


def ragged(n: int, g: torch.Generator) -> Tensor:
    codes = torch.randint(0, 4, (n, 3), generator=g)
    return codes.masked_fill(torch.arange(3) >= torch.randint(0, 4, (n, 1), generator=g), -1)


def hot(k: int) -> Callable[[Tensor], Tensor]:
    """One-hot rows; a code below 0 gives a row of zeros."""
    return lambda draws: one_hot((draws + 1).long(), k + 1)[..., 1:].double()


def hot_head(draws: Tensor) -> Tensor:
    return torch.cat([one_hot(draws[:, 0].long(), 3), draws[:, 1:]], dim=1).double()


def vector_shapes(t: int) -> tuple[Callable[[int], Tensor], ...]:
    return (
        lambda n: torch.zeros(n + 1),
        lambda n: torch.zeros(1, n),
        lambda n: torch.zeros(n, t + 1),
        lambda n: torch.zeros(n, t, 1),
        lambda n: torch.zeros(()),
    )


CODE_SHAPES: tuple[Callable[[int], Tensor], ...] = (
    lambda n: torch.zeros(n + 1, dtype=torch.int64),
    lambda n: torch.zeros(n, 1, dtype=torch.int64),
    lambda n: torch.zeros(n, 9),
    lambda n: torch.zeros(n),
    lambda n: torch.zeros((), dtype=torch.int64),
)
HEADS = Heads((Categorical(3), Gaussian(), Poisson()), ("kind", "size", "count"))
T = torch.tensor

RECORDS: dict[str, Record] = {
    "categorical": Record(Categorical(4), codes(4), oracle_categorical, CODE_SHAPES, T([0, 4, 1]), hot(4)),
    "categorical, smoothed": Record(
        Categorical(4, smoothing=0.2),
        codes(4),
        lambda z, y: oracle_categorical(z, y, 0.2),
        CODE_SHAPES,
        T([0, -1, 1]),
        hot(4),
    ),
    "categorical, soft": Record(
        Categorical(4), soft, oracle_soft, CODE_SHAPES, T([[1.0, 0, 0, 0], [0.9, 0, 0, 0]]), hot(4)
    ),
    "bernoulli": Record(Bernoulli(), codes(2), oracle_bernoulli, vector_shapes(1), T([0, 2, 1])),
    "bernoulli, 3": Record(
        Bernoulli(3),
        lambda n, g: torch.randint(0, 2, (n, 3), generator=g),
        oracle_bernoulli,
        (*vector_shapes(3), lambda n: torch.zeros(n)),
        T([[0, 1, 1], [0, -1, 0]]),
    ),
    "gaussian": Record(
        Gaussian(), lambda n, g: torch.randn(n, generator=g).double(), oracle_learnt, vector_shapes(1), T([0, math.nan])
    ),
    "gaussian, 2": Record(
        Gaussian(2),
        lambda n, g: torch.randn(n, 2, generator=g).double(),
        oracle_learnt,
        vector_shapes(2),
        T([[0.0, 1.0], [1.0, math.inf]]),
    ),
    "gaussian, fixed": Record(
        Gaussian(scale=0.5),
        lambda n, g: torch.randn(n, generator=g).double(),
        oracle_fixed,
        vector_shapes(1),
        T([0, math.inf]),
    ),
    "poisson": Record(Poisson(), codes(9), oracle_poisson, vector_shapes(1), T([3, -1])),
    "poisson, 2": Record(
        Poisson(2),
        lambda n, g: torch.randint(0, 9, (n, 2), generator=g),
        oracle_poisson,
        vector_shapes(2),
        T([[0, 1.0], [0, 1.5]]),
    ),
    "heads": Record(
        HEADS,
        heads_target,
        oracle_heads,
        (*vector_shapes(3), lambda n: torch.zeros(n)),
        T([[0, 1.0, 2], [0.5, 1.0, 2]]),
        hot_head,
    ),
    "laplace": Record(Laplace(), real(1), oracle_laplace, vector_shapes(1), T([0, math.nan])),
    "laplace, 2": Record(Laplace(2), real(2), oracle_laplace, vector_shapes(2), T([[0, 1.0], [math.inf, 0]])),
    "laplace, fixed": Record(
        Laplace(scale=0.5), real(1), lambda o, y: oracle_laplace(o, y, 0.5), vector_shapes(1), T([0, math.inf])
    ),
    "power": Record(Power(1.5), real(1), lambda o, y: oracle_power(o, y, 1.5), vector_shapes(1), T([0, math.nan])),
    "power, 2": Record(
        Power(1.2, 2), real(2), lambda o, y: oracle_power(o, y, 1.2), vector_shapes(2), T([[0, 1.0], [math.inf, 0]])
    ),
    "power, fixed": Record(
        Power(2.0, scale=0.5), real(1), lambda o, y: oracle_power(o, y, 2.0, 0.5), vector_shapes(1), T([0, math.inf])
    ),
    "student-t": Record(
        StudentT(freedom=6.0), real(1), lambda o, y: oracle_student(o, y, 6.0), vector_shapes(1), T([0, math.nan])
    ),
    "student-t, 2": Record(
        StudentT(2, 9.5),
        real(2),
        lambda o, y: oracle_student(o, y, 9.5),
        vector_shapes(2),
        T([[0, 1.0], [math.inf, 0]]),
    ),
    "student-t, fixed": Record(
        StudentT(freedom=6.0, scale=0.5),
        real(1),
        lambda o, y: oracle_student(o, y, 6.0, 0.5),
        vector_shapes(1),
        T([0, math.inf]),
    ),
    "full-gaussian": Record(FullGaussian(), real(1), oracle_full, vector_shapes(1), T([0, math.nan])),
    "full-gaussian, 3": Record(
        FullGaussian(3), real(3), oracle_full, vector_shapes(3), T([[0, 1.0, 2], [math.inf, 0, 0]])
    ),
    "gaussian-mixture": Record(
        GaussianMixture(3),
        real(1),
        lambda o, y: oracle_mixture(o, y, 3, "diagonal"),
        vector_shapes(1),
        T([0, math.nan]),
    ),
    "gaussian-mixture, 2": Record(
        GaussianMixture(3, 2),
        real(2),
        lambda o, y: oracle_mixture(o, y, 3, "diagonal"),
        vector_shapes(2),
        T([[0, 1.0], [math.inf, 0]]),
    ),
    "gaussian-mixture, shared": Record(
        GaussianMixture(3, 2, "shared"),
        real(2),
        lambda o, y: oracle_mixture(o, y, 3, "shared"),
        vector_shapes(2),
        T([[0, 1.0], [math.inf, 0]]),
    ),
    "gaussian-mixture, isotropic": Record(
        GaussianMixture(2, 2, "isotropic"),
        real(2),
        lambda o, y: oracle_mixture(o, y, 2, "isotropic"),
        vector_shapes(2),
        T([[0, 1.0], [math.inf, 0]]),
    ),
    "strings": Record(
        Strings(3, 4),
        lambda n, g: torch.randint(0, 4, (n, 3), generator=g),
        lambda o, y: oracle_strings(o, y, 3, 4, False),
        (*vector_shapes(3), lambda n: torch.zeros(n)),
        T([[0, 1, 3], [0, -1, 1]]),
        hot(4),
    ),
    "strings, 1": Record(
        Strings(1, 4), codes(4), lambda o, y: oracle_strings(o, y, 1, 4, False), vector_shapes(1), T([0, 4]), hot(4)
    ),
    "strings, variable": Record(
        Strings(3, 4, variable=True),
        ragged,
        lambda o, y: oracle_strings(o, y, 3, 4, True),
        (*vector_shapes(3), lambda n: torch.zeros(n)),
        T([[0, 1, -1], [-1, -1, 1]]),
        hot(4),
    ),
    "rejecting": Record(
        Rejecting(Categorical(4), 0.6), codes(4), oracle_categorical, CODE_SHAPES, T([0, 4, 1]), hot(4)
    ),
    "rejecting, bernoulli": Record(
        Rejecting(Bernoulli(), 0.6), codes(2), oracle_bernoulli, vector_shapes(1), T([0, 2, 1])
    ),
    "rejecting, strings": Record(
        Rejecting(Strings(2, 3), 0.6),
        lambda n, g: torch.randint(0, 3, (n, 2), generator=g),
        lambda o, y: oracle_strings(o, y, 2, 3, False),
        (*vector_shapes(2), lambda n: torch.zeros(n)),
        T([[0, 1], [0, -1]]),
        hot(3),
    ),
}

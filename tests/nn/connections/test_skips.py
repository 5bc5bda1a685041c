"""Skip connections against the same graph written out by hand."""

import pytest
import torch
from torch import Tensor, nn

from lamina.errors import ConfigError
from lamina.nn.connections import SkipConnections
from lamina.nn.residual import Residual


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


X = torch.randn(4, 3, generator=seeded(), dtype=torch.float64)


def gradients(out: Tensor, *modules: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(out.square().sum(), [p for m in modules for p in m.parameters()]))


def test_C26_sum_is_the_graph_by_hand() -> None:
    f1, f2, f3 = (nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double() for _ in range(3))
    net = SkipConnections([f1, f2, f3], [(0, 2), (0, 3), (1, 3), (2, 4)])
    h1 = f1(X)
    h2 = f2(h1 + X)
    h3 = f3(h2 + X + h1)
    torch.testing.assert_close(net(X), h3 + h2)
    for a, b in zip(gradients(net(X), f1, f2, f3), gradients(h3 + h2, f1, f2, f3), strict=True):
        torch.testing.assert_close(a, b)


def test_C26_concatenation_is_the_graph_by_hand() -> None:
    """Two skips over several layers: the input to the second part, the first part's output to the third."""
    c, l, d = nn.Linear(3, 5).double(), nn.Linear(8, 2).double(), nn.Linear(7, 4).double()
    net = SkipConnections([c, l, d], [(1, 3), (0, 2)], "concat")
    h1 = c(X)
    h2 = l(torch.cat([h1, X], 1))
    torch.testing.assert_close(net(X), d(torch.cat([h2, h1], 1)))
    for a, b in zip(gradients(net(X), c, l, d), gradients(d(torch.cat([h2, h1], 1)), c, l, d), strict=True):
        torch.testing.assert_close(a, b)


def test_C26_concatenation_before_an_affine_map_is_the_sum_of_two() -> None:
    first, second = nn.Linear(3, 5).double(), nn.Linear(8, 4).double()
    net = SkipConnections([first, second], [(0, 2)], "concat")
    w = second.weight
    torch.testing.assert_close(net(X), first(X) @ w[:, :5].T + X @ w[:, 5:].T + second.bias)


def test_C26_order_of_several_sources() -> None:
    one, two = nn.Identity(), nn.Identity()
    net = SkipConnections([one, nn.Linear(3, 2).double(), two], [(1, 3), (0, 3), (0, 4)], "concat")
    h2 = net.chain[1](X)
    torch.testing.assert_close(net(X), torch.cat([h2, X, X, X], 1))


def test_C26_one_skipped_layer_is_the_residual_connection() -> None:
    f = nn.Linear(3, 3).double()
    torch.testing.assert_close(SkipConnections([f], [(0, 2)])(X), Residual(f)(X))
    assert torch.equal(SkipConnections([f], [])(X), f(X))


def test_channels_of_images() -> None:
    net = SkipConnections([nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(5, 4, 1)], [(0, 2)], "concat", dim=1)
    assert net(torch.zeros(1, 2, 6, 6)).shape == (1, 4, 6, 6)


@pytest.mark.parametrize("skips", [[(0, 1)], [(0, 4)], [(-1, 2)], [(2, 2)], [(0, 2), (0, 2)]])
def test_skips_that_do_not_fit(skips: list[tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match="does not fit a chain of 2 modules"):
        SkipConnections([nn.Identity(), nn.Identity()], skips)


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="at least one module"):
        SkipConnections([], [])
    with pytest.raises(ConfigError, match="sum"):
        SkipConnections([nn.Identity()], [], "mean")
    with pytest.raises(ConfigError, match=r"\(4, 1\), \(4, 3\) meet before the output"):
        SkipConnections([nn.Linear(3, 1).double()], [(0, 2)])(X)
    with pytest.raises(ConfigError, match="meet before module 2"):
        SkipConnections([nn.Linear(3, 1).double(), nn.Identity()], [(0, 2)], "concat", dim=0)(X)

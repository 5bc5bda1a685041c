"""Stacked subspace analysis: the convolution is its layers window by window; the first is left as learnt."""

from __future__ import annotations

import pytest
import torch

from lamina.autoencoders.patches import random_patches
from lamina.autoencoders.stacked_subspace_analysis import StackedSubspaceAnalysis
from lamina.autoencoders.subspace_analysis import SubspaceAnalysis
from lamina.errors import ConfigError


def pictures(n: int = 40) -> torch.Tensor:
    g = torch.Generator().manual_seed(0)
    rough = torch.rand(n, 2, 6, 6, generator=g)
    return torch.nn.functional.interpolate(rough, (13, 11), mode="bilinear").double()


def fitted(both: bool = False, n: int = 400) -> StackedSubspaceAnalysis:
    return StackedSubspaceAnalysis.fit(
        pictures(),
        patch=4,
        window=8,
        stride=2,
        groups=(4, 3),
        components=(10, 9),
        n_patches=n,
        max_steps=20,
        both=both,
        generator=torch.Generator().manual_seed(1),
    )


@pytest.mark.parametrize("both", [False, True])
def test_U12_stack_is_its_layers_window_by_window(both: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    stack, x = fitted(both), pictures()[:3]
    maps = stack(x)
    assert maps.shape == (3, 12 if both else 3, 3, 2)
    first = stack.first_layer(x)
    assert first.shape == (3, 4, 5, 4)
    for n in range(3):
        for i in range(3):
            for j in range(2):
                window = x[n, :, 2 * i : 2 * i + 8, 2 * j : 2 * j + 8]
                inner = torch.empty(4, 3, 3, dtype=torch.float64)
                for a in range(3):
                    for b in range(3):
                        inner[:, a, b] = stack.first(window[:, 2 * a : 2 * a + 4, 2 * b : 2 * b + 4].flatten())
                torch.testing.assert_close(first[n, :, i : i + 3, j : j + 3], inner)
                expected = stack.second(inner.flatten())
                torch.testing.assert_close(maps[n, :3, i, j], expected)
                if both:
                    z = stack.second.whitening @ (inner.flatten() - stack.second.mean)
                    torch.testing.assert_close(maps[n, 3:, i, j], z)
    monkeypatch.setattr("lamina.autoencoders.stacked_subspace_analysis._AT_ONCE", 1)
    torch.testing.assert_close(stack(x), maps)


def test_U12_first_layer_is_that_of_patches_alone() -> None:
    g = torch.Generator().manual_seed(1)
    alone = SubspaceAnalysis.fit(random_patches(pictures(), 4, 400, g), 4, 2, components=10, max_steps=20, generator=g)
    assert torch.equal(fitted().first.weight, alone.weight)


def test_U12_state_rebuilds_it() -> None:
    stack = fitted()
    first, second = (SubspaceAnalysis(**part.state_dict()) for part in (stack.first, stack.second))
    again = StackedSubspaceAnalysis(first, second, channels=2, patch=4, stride=2)
    assert torch.equal(again(pictures()), stack(pictures()))


def test_refusals() -> None:
    for window, stride in ((9, 2), (3, 1), (8, 0)):
        with pytest.raises(ConfigError, match="no whole number of patches"):
            StackedSubspaceAnalysis.fit(pictures(), patch=4, window=window, stride=stride, groups=(2, 2))
    stack = fitted()
    with pytest.raises(ConfigError, match="do not fit"):
        StackedSubspaceAnalysis(stack.first, stack.first, channels=2, patch=4, stride=2)

"""Convex or not: labels against the hull of whole-number points, made by hand; the generator against its own rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from lamina.data.generated.convex import _WHOLE, _intersections, convex, is_convex
from lamina.errors import ConfigError


def hull(points: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Corners of the convex hull, counter-clockwise (Andrew's monotone chain), in whole numbers."""
    points = sorted(points)

    def chain(some: list[tuple[int, int]]) -> list[tuple[int, int]]:
        made: list[tuple[int, int]] = []
        for p in some:
            while len(made) > 1 and side(made[-2], made[-1], p) <= 0:
                made.pop()
            made.append(p)
        return made

    return points if len(points) < 3 else chain(points)[:-1] + chain(points[::-1])[:-1]


def side(a: tuple[int, int], b: tuple[int, int], p: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def convex_by_hull(shape: np.ndarray) -> bool:
    points = [tuple(map(int, p)) for p in np.argwhere(shape)]
    if len(points) < 2:
        return True
    corners = hull(points)
    for q in np.argwhere(~shape):
        inside = all(side(a, b, q) >= 0 for a, b in zip(corners, corners[1:] + corners[:1], strict=True))
        if len(corners) == 2:  # a line: also within its ends
            box = np.sort(np.array(corners), axis=0)
            inside = side(*corners, q) == 0 and bool((box[0] <= q).all() and (q <= box[1]).all())
        if inside:
            return False
    return True


def test_test_of_convexity_on_all_sets_of_a_small_grid() -> None:
    bits = (np.arange(2**12)[:, None] >> np.arange(12)) & 1
    for shape in ((3, 4), (4, 3), (2, 6), (12, 1), (1, 12)):
        shapes = bits.reshape(-1, *shape).astype(bool)
        expected = [convex_by_hull(one) for one in shapes]
        assert 20 < sum(expected) < 2_000
        assert is_convex(torch.from_numpy(shapes)).tolist() == expected


def test_labels_are_true_by_the_hull_of_whole_numbers() -> None:
    part = convex(train=300, valid=1, test=1).train
    shapes = part.inputs[:, 0].numpy() > 0.5
    assert set(np.unique(part.inputs.numpy())) == {0.0, 1.0}
    assert [convex_by_hull(shape) for shape in shapes] == part.targets.bool().tolist()
    assert abs(part.targets.double().mean().item() - 0.5) < 4 * 0.5 / np.sqrt(300)


def test_convexity_on_holes_dents_lines_and_slanted_edges() -> None:
    y, x = np.mgrid[:28, :28]
    good = [x + 3 * y < 40, (x - 14) ** 2 + (y - 9) ** 2 < 60, y == 7, x == y, np.ones((28, 28), bool)]
    good += [np.zeros((28, 28), bool), (x == 2) & (y == 3)]
    hole = (x - 14) ** 2 + (y - 14) ** 2 < 60
    dent, apart, steps = hole.copy(), (y == 3) | (y == 5), (x == y) & (x != 5)
    hole[14, 14] = False
    dent[14, 14:] = False
    bad = [hole, dent, dent.T, apart, apart.T, steps]
    assert is_convex(torch.from_numpy(np.stack(good))).all()
    assert not is_convex(torch.from_numpy(np.stack(bad))).any()


def test_pieces_are_large_enough_and_unions_have_at_most_four() -> None:
    part = convex(train=1_500, valid=1, test=1).train
    shapes, white = part.inputs[:, 0].numpy() > 0.5, part.inputs.sum((1, 2, 3))
    is_one = part.targets == 1
    assert white[is_one].min() >= 19
    assert white[is_one].min() < 60
    assert white[~is_one].min() >= 10
    parts = [ndimage.label(shape, np.ones((3, 3)))[1] for shape in shapes[~is_one.numpy()]]
    assert np.percentile(parts, 99) == 3  # slivers fall apart into more parts than there are sets
    # the page: both kinds have the same mean number of white pixels
    kinds = [white[kind] / 784 for kind in (is_one, ~is_one)]
    assert kinds[0].mean().item() == pytest.approx(kinds[1].mean().item(), abs=0.05)
    assert kinds[0].mean().item() == pytest.approx(0.58, abs=0.05)


def test_distribution_of_convex_sets_is_that_of_a_plain_rejection_sampler() -> None:
    """The rule written with numpy, one set at a time: number of white pixels and where they are."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28] + 0.5
    areas, flat, mean = [], [], np.zeros((28, 28))
    while len(areas) < 1_500:
        shape = np.ones((28, 28), bool)
        for _ in range(rng.geometric(0.195) - 1):
            (a, b), turn = rng.random(2) * 28, rng.random() * 2 * np.pi
            shape &= (x - a) * np.cos(turn) + (y - b) * np.sin(turn) >= 0
        if shape.sum() >= 19:
            areas.append(shape.sum())
            flat.append(shape.any(1).sum() - shape.any(0).sum())  # rows more than columns
            mean += shape / 1_500
    part = convex(train=3_200, valid=1, test=1).train
    ours = part.inputs[part.targets == 1]
    assert stats.ks_2samp(areas, ours.sum((1, 2, 3)).numpy()).pvalue > 1e-3
    white = ours[:, 0] > 0.5
    assert stats.ks_2samp(flat, (white.any(2).sum(1) - white.any(1).sum(1)).numpy()).pvalue > 1e-3
    assert np.abs(ours.mean((0, 1)).numpy() - mean).max() < 5 * np.sqrt(0.25 / 1_500 + 0.25 / len(ours))


def test_number_of_half_planes_is_geometric_from_zero() -> None:
    """Without a least number of pixels: the share of whole pictures is p, plus next to nothing."""
    bounds = _intersections(torch.arange(20_000), 0, 0, _WHOLE._replace(least=0))
    whole = ((bounds[:, 0] <= 0) & (bounds[:, 1] >= 27)).all(1).double().mean().item()
    assert whole == pytest.approx(0.195, abs=0.012)


def test_examples_depend_on_seed_part_and_number_alone() -> None:
    few, many = convex(train=60, valid=20, test=30), convex(train=400, valid=60, test=61)
    for one, other in zip(few, many, strict=True):
        assert torch.equal(one.inputs, other.inputs[: one.size])
        assert torch.equal(one.targets, other.targets[: one.size])
    assert not torch.equal(many.valid.inputs, many.test.inputs[:60])
    assert not torch.equal(convex(train=60, valid=1, test=1, seed=1).train.inputs, few.train.inputs)
    assert many.train.inputs.shape == (400, 1, 28, 28)
    assert many.train.targets.dtype == torch.int64
    with pytest.raises(ConfigError, match="at least 1"):
        convex(test=0)


def test_shapes_of_examples_share_nothing() -> None:
    """No union comes twice."""
    part = convex(train=2_000, valid=1, test=1).train
    some = part.inputs[(part.inputs.sum((1, 2, 3)) < 700) & (part.targets == 0)].flatten(1)
    assert len(torch.unique(some, dim=0)) == len(some)

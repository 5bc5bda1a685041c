"""Penalties written in a line: each builds what it says, and what cannot be built is refused with a mend."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lamina.errors import ConfigError
from lamina.penalties import L1, L2, Context, WeightedSum
from lamina.penalties.adversarial import Adversarial
from lamina.penalties.registry import PENALTIES, line_from, options_of, penalty_from
from lamina.penalties.tangent_prop import TangentProp


def test_lines_build_the_penalties_that_they_name() -> None:
    built = penalty_from(["tangent:0.1:transforms=rotation:draws=0", "l1:1e-4", "adversarial:2:norm=l2:steps=3"])
    expected = (
        (0.1, TangentProp(transforms="rotation", draws=0)),
        (1e-4, L1()),
        (2.0, Adversarial(norm="l2", steps=3)),
    )
    assert isinstance(built, WeightedSum)
    assert built.terms == expected
    assert penalty_from([]) is None


def test_the_value_is_the_weighted_sum() -> None:
    net = nn.Linear(3, 2, bias=False)
    context = Context(net, torch.zeros(1, 3), torch.zeros(1, 2))
    built = penalty_from(["l2:0.5", "l1:2"])
    assert built is not None
    w = net.weight.detach().double().numpy()
    assert built(context).item() == pytest.approx(0.5 * 0.5 * (w**2).sum() + 2 * abs(w).sum(), rel=1e-6)


@pytest.mark.parametrize("name", [name for name in PENALTIES if name != "tying"])
def test_every_penalty_of_the_table_has_defaults(name: str) -> None:
    built = penalty_from([f"{name}:0.25"])
    assert isinstance(built, WeightedSum)
    (factor, penalty), *rest = built.terms
    assert factor == 0.25
    assert type(penalty) is PENALTIES[name]
    assert not rest


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tangnt:0.1", 'did you mean "tangent"'),
        ("tangent", "the coefficient of tangent must be a number"),
        ("tangent:x", "the coefficient of tangent must be a number"),
        ("tangent:nan", "the coefficient of tangent must be a number"),
        ("l2:-1", "must be at least 0"),
        ("l2:1:scale=half", "is no option of l2"),
        ("l2:1:scaling=half:scaling=whole", "is given twice"),
        ("l2:1:scaling=third", "scaling must be one of"),
        ("adversarial:1:steps=1.5", "must be a whole number"),
        ("adversarial:1:epsilon=big", "epsilon of adversarial must be a number"),
        ("adversarial:1:norm=l3", "max(, | or )l2"),
        ("tying:1", "tying needs first, second"),
        ("per-layer:1:coefficients=output", "cannot read"),
    ],
)
def test_a_line_that_cannot_be_built_is_refused(line: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        penalty_from([line])


def test_a_section_says_the_same_as_a_line() -> None:
    assert line_from("tangent", 0.1) == "tangent:0.1"
    assert line_from("adversarial", {"coefficient": 2, "norm": "l2"}) == "adversarial:2:norm=l2"
    for bad in ("0.1", True, {"norm": "l2"}, None):
        with pytest.raises(ConfigError, match="must be a number or a table"):
            line_from("tangent", bad)


def test_options_leave_out_what_a_line_cannot_say() -> None:
    assert options_of("tangent") == {"transforms": "str", "draws": "int"}
    assert penalty_from(["l2:1:scaling=whole"]) == WeightedSum(((1.0, L2("whole")),))

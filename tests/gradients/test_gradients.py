"""All that is public and differentiable against central differences in float64, by a table that must be whole."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import torch

from gradients.case import GradientCase

TABLES = [
    importlib.import_module(f"gradients.{path.stem}") for path in sorted(Path(__file__).parent.glob("cases_*.py"))
]
CASES: list[GradientCase] = [case for table in TABLES for case in table.CASES]
NOT_DIFFERENTIABLE: dict[str, str] = {
    name: reason for table in TABLES for name, reason in getattr(table, "NOT_DIFFERENTIABLE", {}).items()
}
ROOMS = ["autoencoders", "curvature", "energy", "likelihoods", "metrics", "nn", "penalties", "training"]
# Tables, protocols and records have no derivative to be wrong.
PLAIN = {
    "lamina.autoencoders.Corruption",
    "lamina.energy.Units",
    "lamina.likelihoods.LIKELIHOODS",
    "lamina.likelihoods.Likelihood",
    "lamina.likelihoods.for_scoring",
    "lamina.likelihoods.from_json",
    "lamina.likelihoods.likelihood_name",
    "lamina.likelihoods.to_json",
    "lamina.nn.ACTIVATIONS",
    "lamina.nn.POOLING_UNITS",
    "lamina.nn.TableShape",
    "lamina.nn.embedding_width",
    "lamina.penalties.Context",
    "lamina.penalties.Penalty",
    "lamina.training.Callback",
    "lamina.training.LayerLearner",
    "lamina.training.Loss",
    "lamina.training.Objective",
    "lamina.training.Step",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_first_derivatives(case: GradientCase) -> None:
    function, arguments = case.make()
    assert any(a.requires_grad for a in arguments)
    assert all(a.dtype == torch.float64 for a in arguments if a.is_floating_point())
    assert torch.autograd.gradcheck(function, arguments)


@pytest.mark.parametrize("case", [case for case in CASES if case.second], ids=lambda case: case.name)
def test_second_derivatives(case: GradientCase) -> None:
    function, arguments = case.make()
    assert torch.autograd.gradgradcheck(function, arguments)


def public_names() -> list[str]:
    """What the rooms export, functions and classes."""
    names = []
    for room in ROOMS:
        module = importlib.import_module(f"lamina.{room}")
        names += [f"lamina.{room}.{name}" for name in module.__all__ if not inspect.ismodule(getattr(module, name))]
    return names


def test_every_public_name_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    """A new class without a row fails here: give it one in a table of this folder, or say why it can have none."""
    covered = {name for case in CASES for name in case.covers}
    names = public_names()
    missing = [name for name in names if name not in covered | set(NOT_DIFFERENTIABLE) | PLAIN]
    assert not missing, f"no row in tests/gradients for {', '.join(missing)}"
    both = covered & set(NOT_DIFFERENTIABLE)
    assert not both, f"listed as differentiable and as not: {', '.join(sorted(both))}"
    gone = [
        name for name in covered | set(NOT_DIFFERENTIABLE) | PLAIN if name.startswith("lamina.") and not there(name)
    ]
    assert not gone, f"rows for what no longer exists: {', '.join(sorted(gone))}"
    with capsys.disabled():
        second = sum(case.second for case in CASES)
        share = len(covered & set(names))
        print(
            f"\n  derivatives: {len(CASES)} functions once, {second} twice; {share} of {len(names)} public names, "
            f"{len(set(NOT_DIFFERENTIABLE) & set(names))} have none",
            end="",
        )


def there(name: str) -> bool:
    """Whether a dotted name can be imported."""
    module, _, attribute = name.rpartition(".")
    return hasattr(importlib.import_module(module), attribute)


def test_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))

"""The canon index is held to what it says: imports, examples, tests, ids, and that no public method lacks a row."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lamina.cli._options import read_settings
from lamina.optim.registry import OPTIMIZERS
from lamina.penalties.registry import PENALTIES
from lamina.runs.settings import Settings
from lamina.workflows.canon import Row, courses, find, load_canon

ROOT = Path(__file__).resolve().parent.parent
ROWS = load_canon()
VALID = set((ROOT / "tests" / "canon" / "valid_ids.txt").read_text(encoding="utf-8").split())

ROOMS = [
    "autoencoders",
    "curvature",
    "data.preprocessing",
    "energy",
    "likelihoods",
    "metrics",
    "nn",
    "optim",
    "penalties",
    "samplers",
    "training",
    "vision",
]

# Public names that are no method of their own: protocols, records, tables, and what serves the methods.
INFRASTRUCTURE = {
    "autoencoders": {"CodeContext", "Corruption", "mutual_information", "random_kernels", "random_patches"},
    "curvature": {
        "AtParameters",
        "BlockDiagonal",
        "ContinuousCostates",
        "Eigenpairs",
        "Iterate",
        "KroneckerInverse",
        "LayerCostates",
        "Solution",
        "loss_at",
        "low_rank_from_eigenpairs",
        "low_rank_from_gradients",
        "outputs_at",
    },
    "data.preprocessing": {"SIGMOID_RANGE", "TANH_RANGE"},
    "energy": {"DirectedLayers", "StochasticLayer", "Tempered", "Units", "VariationalBound"},
    "likelihoods": {"LIKELIHOODS", "REFUSED", "Likelihood", "from_json", "likelihood_name", "for_scoring", "to_json"},
    "metrics": {"CalibrationBins", "CoverageCurve", "Interval", "McNemar"},
    "nn": {
        "ACTIVATIONS",
        "POOLING_UNITS",
        "Count",
        "LayerCount",
        "LogisticDerivatives",
        "PerceptronFit",
        "TableShape",
        "embedding_width",
    },
    "optim": {
        "OPTIMIZERS",
        "LineSearchResult",
        "Schedule",
        "Trial",
        "beginning",
        "by_name",
        "constant",
        "read_optimizer",
        "recorded",
    },
    "penalties": {"Context", "Penalty", "WeightedSum"},
    "samplers": {"AnnealingPath", "PartitionEstimate"},
    "training": {
        "AfterStep",
        "Callback",
        "ClosureStep",
        "GreedyLayer",
        "HiddenLayer",
        "History",
        "LayerLearner",
        "Loss",
        "MultiStart",
        "Objective",
        "RangeTest",
        "Run",
        "Step",
        "StepCost",
        "Transfer",
        "choose_step",
        "encoded",
        "fit",
        "full_state",
        "hidden_layers",
    },
    "vision": {"small_resnet"},
}
# Public names that a row covers which imports another.
TOGETHER = {
    "energy": {"draw_binary"},
    "metrics": {"expected_calibration_error", "interval_coverage", "interval_width"},
    "nn": {"ensemble_error", "without_hints"},
    "optim": {"project_norm_", "proximal_step_", "soft_threshold", "sutskever_momentum"},
    "penalties": {"InformationFlow", "ManifoldTangentProp"},
    "training": {"BoldDriverByEpoch", "StepCostMonitor", "depth_factors", "layers_by_depth", "unfreeze"},
}


def locate(path: str) -> object:
    """The object at a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_is_true(row: Row) -> None:
    assert callable(locate(row.import_path))
    path, _, name = row.test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert name in functions, f"{row.test} does not exist"
    assert set(row.ids) <= VALID
    assert set(row.courses) <= set(courses())
    assert bool(row.ids) == bool(row.courses), "a row of the canon is taught in a course, and the reverse"
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]*", row.name)
    for text in (row.title, row.equation, row.source, row.example):
        assert text.strip()
    assert len(row.example.strip().splitlines()) <= 12


def test_names_and_aliases_are_unique() -> None:
    names = [word for row in ROWS for word in (row.name, *row.aliases)]
    assert sorted(names) == sorted(set(names))


def test_the_list_of_ids_is_whole() -> None:
    assert len(VALID) == 349


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_method_has_a_row(room: str) -> None:
    module = importlib.import_module(f"lamina.{room}")
    shown = {row.import_path for row in ROWS}
    covered = INFRASTRUCTURE.get(room, set()) | TOGETHER.get(room, set())
    assert covered <= set(module.__all__), "the list of exceptions names what no longer exists"
    for name in module.__all__:
        if name in covered:
            continue
        value = getattr(module, name)
        home = inspect.getmodule(value)
        paths = {f"lamina.{room}.{name}", f"{home.__name__}.{name}" if home is not None else ""}
        assert paths & shown, f"lamina.{room}.{name} has no row in canon.toml"


def test_examples_run_and_print_what_they_say(tmp_path: Path) -> None:
    """One process runs them all, so that torch is imported once."""
    script, expected = [], []
    for row in ROWS:
        script.append(f"print('=== {row.name}')\n{row.example.strip()}\n")
        expected += [f"=== {row.name}", *re.findall(r"^ *print\(.*\)  # (.*)$", row.example, re.MULTILINE)]
    (tmp_path / "examples.py").write_text("\n".join(script), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "examples.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("asked", ["relu", "ReLU", "rectifier", "C08", "c08", "Rectified linear unit"])
def test_find(asked: str) -> None:
    assert find(asked).name == "relu"


def settings_of(command: str) -> dict[str, str]:
    """The settings of a command line, as the canon writes it."""
    words = shlex.split(command)
    assert words[:2] == ["lamina", "fit"]
    options = list(zip(words[3::2], words[4::2], strict=True))
    assert {option for option, _ in options} <= {"--set", "--target"}
    return dict(text.partition("=")[::2] for option, text in options if option == "--set")


@pytest.mark.parametrize("row", [row for row in ROWS if row.command], ids=lambda row: row.name)
def test_commands_set_what_there_is(row: Row) -> None:
    Settings().with_changes(settings_of(row.command), where=row.name)


@pytest.mark.parametrize("row", [row for row in ROWS if row.command], ids=lambda row: row.name)
def test_the_file_that_is_shown_sets_what_the_command_sets(row: Row, tmp_path: Path) -> None:
    """Read from the text that a person sees, by the reader of ``--config``."""
    if not settings_of(row.command):
        assert row.toml == ""
        return
    indented = row.to_text().partition("the same in a file for --config\n")[2].splitlines()
    (tmp_path / "run.toml").write_text("\n".join(line.removeprefix("  ") for line in indented), encoding="utf-8")
    assignments = tuple(f"{name}={value}" for name, value in settings_of(row.command).items())
    by_command = read_settings({}, assignments, None)[0]
    assert read_settings({}, (), str(tmp_path / "run.toml"))[0] == by_command
    assert by_command != Settings()
    (tmp_path / "json.toml").write_text(str(row.to_dict()["toml"]), encoding="utf-8")
    assert read_settings({}, (), str(tmp_path / "json.toml"))[0] == by_command


def test_every_penalty_that_a_command_can_name_is_shown_by_a_row() -> None:
    lines = [settings_of(row.command).get("penalty", "") for row in ROWS if row.command]
    assert {line.partition(":")[0] for line in lines if line} == set(PENALTIES)


def test_every_optimizer_that_a_command_can_name_is_shown_by_a_row() -> None:
    lines = [settings_of(row.command).get("optimizer", "adamw") for row in ROWS if row.command]
    assert {line.partition(":")[0] for line in lines} == set(OPTIMIZERS)


def test_text_shows_everything() -> None:
    for row in ROWS:
        text = row.to_text()
        for part in (row.title, row.import_path, row.source, row.test, *row.ids, row.command):
            assert part in text

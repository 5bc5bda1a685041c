"""R10: nothing is unpickled, evaluated, imported by name, fetched, or written elsewhere, while a run is used."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from catalogue.case import Place, Runs, rows, text

PACKAGE = Path(__file__).parents[2] / "src" / "lamina"
SOURCES = sorted(PACKAGE.rglob("*.py"))
AUDITED = Path(__file__).with_name("audited.py")

FORBIDDEN_NAMES = {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve", "yaml", "_pickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {
    ("torch", "load"),
    ("torch", "save"),
    ("torch", "hub"),
    ("os", "system"),
    ("subprocess", "Popen"),
}
IMPORTS_BY_NAME = {
    "cli/_group.py": "the module of a command, from the closed table COMMANDS",
    "cli/_state.py": "libraries imported ahead by a thread, their names constants of the commands",
    "data/named/load.py": "scikit-learn's loaders, from a closed table",
    "data/images/__init__.py": "the public names, from a closed table",
    "recipes/recipe.py": "the module of a recipe, from the closed table ENTRIES",
    "runs/setting_values.py": "the reader of a setting that is a line, from the closed table LINES",
    "__init__.py": "the public names, from a closed table",
}
"""Files that may import by a name in a variable, and where the name comes from."""

WRITERS = {
    "io/atomic.py": "the file layer",
    "io/filesystem.py": "the file layer's calls of the operating system",
    "cli/main.py": "the null device, in place of a pipe that is closed",
    "io/lock.py": "the lock file, by filelock",
    "data/named/fetch.py": "a part file of a download, kept to go on from after a cut",
    "data/named/network.py": "a part file of a download",
    "data/images/store.py": "pixels beyond memory, a memory-mapped file inside the run folder",
    "training/tensorboard.py": "event files, by TensorBoard's own writer",
}
"""Files outside ``lamina.io`` that may write, and why."""


@pytest.mark.parametrize("kind", ["classes", "number"])
def test_r10_no_event_while_a_run_is_used(kind: str, runs: Runs, tmp_path: Path) -> None:
    place = Place(tmp_path, runs, pytest.MonkeyPatch())
    place.run(kind)
    place.write("n.csv", text(rows(kind=kind)))
    place.write("evil_module.py", "open('it-ran', 'w')\n")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(AUDITED), str(tmp_path), "run", "n.csv"],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert done.stdout, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["codes"] == [0] * 8, done.stdout + done.stderr
    assert found["seen"] == [], found["seen"][:20]
    assert found["opened"] > 5, "the hook saw nothing"
    assert not (tmp_path / "it-ran").exists()
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name != "__pycache__") == [
        "evil_module.py", "n.csv", "out.csv", "out.parquet", "run",
    ]  # fmt: skip


def test_the_hook_sees(tmp_path: Path) -> None:
    """Unpickling, writing elsewhere, connecting and compiling text are noticed by the same hook."""
    text_of = AUDITED.read_text()
    a, b = text_of.index("    codes = []"), text_of.index("    print(")
    harm = """    state["first"] = False
    import pickle, socket, tempfile
    pickle.loads(pickle.dumps(print))
    with tempfile.TemporaryDirectory() as other: open(other + "/x", "w").close()
    try: socket.create_connection(("127.0.0.1", 9), 0.1)
    except OSError: pass
    compile("1 + 1", "/somewhere/model.json", "eval")
    codes = []
"""
    (tmp_path / "in").mkdir()
    harmed = tmp_path / "harmed.py"
    harmed.write_text(text_of[:a] + harm + text_of[b:])
    done = subprocess.run(
        [sys.executable, str(harmed), str(tmp_path / "in"), "r", "s"], capture_output=True, text=True, timeout=300
    )
    assert done.stdout, done.stderr
    events = {event for event, _ in json.loads(done.stdout.splitlines()[-1])["seen"]}
    assert {"pickle.find_class", "open", "socket.connect", "compile"} <= events


def names(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [
                (node.lineno, node.module or ""),
                *((node.lineno, f"{node.module}.{alias.name}") for alias in node.names),
            ]
        elif isinstance(node, ast.Attribute):
            found.append((node.lineno, node.attr))
        elif isinstance(node, ast.Name):
            found.append((node.lineno, node.id))
    return found


def forbidden(tree: ast.AST) -> list[str]:
    """Names and calls that could run code from a file."""
    found = []
    for line, name in names(tree):
        if FORBIDDEN_NAMES & set(name.split(".")):
            found.append(f"line {line}: {name}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(f"line {node.lineno}: {node.func.id}(")
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in FORBIDDEN_ATTRIBUTES
        ):
            found.append(f"line {node.lineno}: {node.value.id}.{node.attr}")
        if (
            isinstance(node, ast.keyword)
            and node.arg in {"allow_pickle", "weights_only"}
            and getattr(node.value, "value", None) is not False
        ):
            found.append(f"line {node.value.lineno}: {node.arg}=")
    return found


def imports_by_name(tree: ast.AST) -> list[str]:
    return [
        f"line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (getattr(node.func, "attr", "") == "import_module" or getattr(node.func, "id", "") == "import_module")
        and not isinstance(node.args[0], ast.Constant)
    ]


def writes(tree: ast.AST) -> list[str]:
    """Calls that open a file for writing."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = (
            node.func.value.id if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) else ""
        )
        modes = [
            a.value
            for a in [*node.args[:2], *(k.value for k in node.keywords if k.arg == "mode")]
            if isinstance(a, ast.Constant)
        ]
        if name == "open" and any(
            isinstance(m, str) and set(m) <= set("rwxabt+") and set(m) & set("wxa+") for m in modes
        ):
            found.append(f"line {node.lineno}: open(..., {modes})")
        elif name in {"write_text", "write_bytes", "savefig", "to_csv", "tofile", "symlink_to", "unlink", "touch"}:
            if not (name == "savefig" and _to_memory(node)):
                found.append(f"line {node.lineno}: .{name}")
        elif name in {"mkdir", "makedirs"} or (owner, name) in {
            ("np", "save"), ("np", "savez"), ("np", "memmap"), ("numpy", "save"), ("os", "open"), ("os", "remove"),
            ("os", "rename"),
            ("os", "replace"), ("os", "unlink"), ("shutil", "rmtree"), ("shutil", "copy"), ("shutil", "move"),
        }:  # fmt: skip
            found.append(f"line {node.lineno}: {owner}.{name}")
        elif name == "SummaryWriter" or (name == "open_memmap"):
            found.append(f"line {node.lineno}: {name}")
    return found


def _to_memory(node: ast.Call) -> bool:
    return (
        bool(node.args)
        and isinstance(node.args[0], ast.Name)
        and node.args[0].id in {"buffer", "stream", "memory", "out"}
    )


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.AST]:
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_s1_no_way_to_run_code_from_a_file(trees: dict[str, ast.AST]) -> None:
    assert len(trees) > 50
    found = {name: forbidden(tree) for name, tree in trees.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_s3_imports_by_name_only_from_closed_tables(trees: dict[str, ast.AST]) -> None:
    found = {name for name, tree in trees.items() if imports_by_name(tree)}
    assert found <= set(IMPORTS_BY_NAME), found - set(IMPORTS_BY_NAME)


def test_s21_only_the_file_layer_writes(trees: dict[str, ast.AST]) -> None:
    found = {name: writes(tree) for name, tree in trees.items()}
    assert {name: lines for name, lines in found.items() if lines and name not in WRITERS} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "eval('1')",
        "torch.load(x)",
        "import yaml",
        "np.load(f, allow_pickle=True)",
    ],
)
def test_the_lint_sees_code(code: str) -> None:
    assert forbidden(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["open(p, 'w')", "p.open('xb')", "p.write_text(s)", "np.save(p, a)", "os.open(p, f)", "p.mkdir()"]
)
def test_the_lint_sees_writing(code: str) -> None:
    assert writes(ast.parse(code))

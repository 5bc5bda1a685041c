"""The documentation is true: every example runs and prints what it says, every command and setting is described."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lamina.cli._group import COMMANDS
from lamina.cli.main import commands

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LAMINA = [sys.executable, "-c", "import sys; from lamina.cli.main import main; sys.exit(main())"]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda page: page.name)
def test_python_examples_run_and_print_what_they_say(page: Path, tmp_path: Path) -> None:
    source = "\n".join(blocks(page, "python"))
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", source, re.MULTILINE)
    (tmp_path / "example.py").write_text(source, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "console")], ids=lambda page: page.name)
def test_console_examples_print_what_they_say(page: Path, tmp_path: Path) -> None:
    """``$ command`` and what it prints; a line ``...`` stands for any number of lines."""
    code = 0
    for block in blocks(page, "console"):
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            if command == "echo $?":
                assert shown.strip() == str(code), f"{page.name}: {block}"
                continue
            words = shlex.split(command)
            assert words[0] == "lamina"
            done = subprocess.run(
                [*LAMINA, *words[1:]],
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                env={**os.environ, "LAMINA_DATA": ""},
                timeout=60,
            )
            code = done.returncode
            parts = [re.escape(line) if line != "..." else "(?:.*\n)*?.*" for line in shown.splitlines()]
            assert re.fullmatch("\n".join(parts), done.stdout.rstrip("\n")), f"{command} printed:\n{done.stdout}"


@pytest.mark.parametrize("name", ["settings.md", "canon.md"])
def test_written_pages_are_up_to_date(name: str) -> None:
    spec = importlib.util.spec_from_file_location("write_docs", ROOT / "scripts" / "write_docs.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    assert page == script.PAGES[name](), "run `make docs`"


def test_every_command_and_every_option_named_is_real() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    context = click.Context(commands)
    options = {"--extra-index-url", "--version", "--help"}
    for name in COMMANDS:
        assert f"lamina {name}" in text or name == "completion", f"{name} is in no page"
        command = commands.get_command(context, name)
        assert command is not None
        for one in [command, *(command.commands.values() if isinstance(command, click.Group) else [])]:
            options |= {option for parameter in one.params for option in (*parameter.opts, *parameter.secondary_opts)}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert named <= options, named - options
    for name in re.findall(r"`lamina ([a-z]+)", text):
        assert name in COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), target


def test_no_machine_is_mentioned() -> None:
    """What is in the repository works anywhere: no folder and no index of a particular machine."""
    for path in [*PAGES, ROOT / "Makefile", ROOT / "constraints.txt", ROOT / ".ci" / "run", ROOT / "pyproject.toml"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?<![\w.])/(?:work|opt|root|home|Users)/", text), path

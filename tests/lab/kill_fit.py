"""Whole fits killed at random moments and resumed, against a fit that was left alone.

Run as a program of its own: torch is imported once and every fit is a forked child, so that a kill costs a second and
not ten. Prints one JSON line: how many kills, how many resumes, and each difference found.

    python tests/lab/kill_fit.py FOLDER KILLS [SETTING=VALUE ...]
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path


def write_table(path: Path, rows: int = 400) -> None:
    """A table with numbers, a category, blanks and a class to tell."""
    chance = random.Random(7)
    lines = ["height,colour,weight,kind"]
    for _ in range(rows):
        height, weight = chance.gauss(0, 1), chance.gauss(0, 1)
        colour = chance.choice(["red", "green", "blue", "grey", "white", "black", "pink", "brown", "teal", "gold"])
        kind = "yes" if height + weight + (colour < "d") + chance.gauss(0, 0.5) > 0 else "no"
        lines.append(f"{height:.4f},{colour},{'' if chance.random() < 0.05 else f'{weight:.4f}'},{kind}")
    path.write_text("\n".join(lines) + "\n")


def in_child(work: object, kill_after: float | None = None, number: int = signal.SIGKILL) -> int:
    """Run in a forked child; kill it after so many seconds.

    Returns:
        Its wait status: 0 when it ended well, the signal's number when it was killed.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()  # type: ignore[operator]
            status = 0
        except BaseException as error:
            print(f"child: {type(error).__name__}: {error}", file=sys.stderr)
            status = getattr(error, "exit_code", 1)
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def outcome(run: Path) -> dict[str, object]:
    """What must be the same to the bit: weights, preparation, history, and every figure of the report but times."""
    facts = json.loads((run / "report.json").read_text())
    card = facts.get("content", facts)["run"]
    for name in ("started", "seconds", "name", "command", "message", "mend"):
        card.pop(name)
    facts.pop("sha256", None)
    return {
        "weights": (run / "model" / "model.safetensors").read_bytes(),
        "preparation": (run / "model" / "preparation.safetensors").read_bytes(),
        "history": (run / "history.jsonl").read_bytes(),
        "facts": json.dumps(facts, sort_keys=True),
    }


def main() -> int:
    place, kills = Path(sys.argv[1]), int(sys.argv[2])
    os.chdir(place)
    write_table(Path("table.csv"))
    import torch

    torch.set_num_threads(1)
    from lamina.runs.settings import Settings
    from lamina.workflows.fit import fit

    chosen = {"epochs": "12", "threads": "1", "checkpoint_seconds": "0", "dropout": "0.3"}
    chosen |= dict(word.split("=", 1) for word in sys.argv[3:])
    settings = Settings().with_changes(chosen, where="lab")

    def start(out: str) -> object:
        return lambda: fit("table.csv", targets=["kind"], settings=settings, out=out)

    def go_on(out: str) -> object:
        return lambda: fit("", settings=settings, resume=out)

    began = time.monotonic()
    assert in_child(start("whole")) == 0
    length = time.monotonic() - began
    expected = outcome(Path("whole"))
    chance = random.Random(int(chosen.get("seed", 0)))
    lost: list[str] = []
    done = resumed = 0
    for trial in range(kills):
        out = f"run{trial}"
        status = in_child(start(out), chance.uniform(0.02, length))
        done += status == -signal.SIGKILL
        while status != 0:
            if not (Path(out) / "run.toml").exists():  # killed before anything was learnt
                status = in_child(start(out))
            else:
                resumed += 1
                again = chance.random() < 0.3 and resumed < 10 * kills
                status = in_child(go_on(out), chance.uniform(0.02, length) if again else None)
            if status not in {0, -signal.SIGKILL}:
                lost.append(f"trial {trial}: resume ended with {status}")
                break
        if status == 0:
            found = outcome(Path(out))
            lost += [f"trial {trial}: {name} differs" for name in expected if found[name] != expected[name]]
    print(json.dumps({"kills": done, "resumes": resumed, "lost": lost, "seconds": time.monotonic() - began}))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

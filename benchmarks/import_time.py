"""What starting costs: CPU seconds of a fresh interpreter for ``import lamina`` and for the command line's help.

    python benchmarks/import_time.py --rounds 7

The peers take turns; the figures are medians with their range.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

from timing import environment

_CLI = ["-c", "import sys; from lamina.cli.main import main; sys.exit(main())"]
COMMANDS = {
    "nothing": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import lamina": ["-c", "import lamina"],
    "lamina.fit named": ["-c", "import lamina; getattr(lamina, 'fit', None)"],
    "import torch, lamina.training": ["-c", "import torch, lamina.training, lamina.nn, lamina.likelihoods"],
    "lamina --help": [*_CLI, "--help"],
    "lamina fit --help": [*_CLI, "fit", "--help"],
}


def cpu_seconds(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    laps: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(options.rounds + 1):
        for name, arguments in COMMANDS.items():
            spent = cpu_seconds(arguments)
            if number:  # the first round only fills the caches of files
                laps[name].append(spent)
    print(environment(["torch", "numpy"]))
    print("| what | CPU s [range] |\n|---|---|")
    for name, values in laps.items():
        print(f"| {name} | {statistics.median(values):.3f} [{min(values):.3f}-{max(values):.3f}] |")
    torch, ours = (statistics.median(laps[name]) for name in ("import torch", "import torch, lamina.training"))
    print(f"\nlamina's training rooms on top of torch: {ours - torch:+.3f} s")


if __name__ == "__main__":
    main()

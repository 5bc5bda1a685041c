"""What safety costs: a verified generation against ``torch.save``, which neither syncs nor hashes nor reads back.

Prints one JSON line. Figure R23: at most 2.5 times ``torch.save`` for 10 to 500 MB.

    python benchmarks/safe_save.py --folder /disk/to/measure --repeats 5
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import lamina
from lamina import io


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def synced_torch_save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """``torch.save``, and then only the sync: what any save that survives a power cut pays at least."""
    torch.save(tensors, path)
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=None, help="where to write; default: the temporary folder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[10, 100, 500])
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=options.folder))
    rows = []
    try:
        for megabytes in options.megabytes:
            generator = torch.Generator().manual_seed(0)
            tensors = {f"layer{i}": torch.randn(megabytes * 10**6 // 40, generator=generator) for i in range(10)}
            path = folder / "model.pt"
            actions: dict[str, Callable[[], object]] = {
                "torch.save": lambda tensors=tensors, path=path: torch.save(tensors, path),
                "torch.save + fsync": lambda tensors=tensors, path=path: synced_torch_save(tensors, path),
                "write_generation": lambda tensors=tensors: io.write_generation(
                    folder, "g", {"model.safetensors": io.tensor_pieces(tensors)}, {}
                ),
            }
            times: dict[str, list[float]] = {name: [] for name in actions}
            for _ in range(options.repeats):  # interleaved, so that a busy disk hits all alike
                for name, action in actions.items():
                    os.sync()
                    times[name].append(seconds(action))
            medians = {name: statistics.median(found) for name, found in times.items()}
            rows.append(
                {
                    "megabytes": megabytes,
                    "n": options.repeats,
                    "median_s": {name: round(found, 4) for name, found in medians.items()},
                    "min_s": {name: round(min(found), 4) for name, found in times.items()},
                    "max_s": {name: round(max(found), 4) for name, found in times.items()},
                    "ratio": round(medians["write_generation"] / medians["torch.save"], 2),
                    "ratio_to_synced": round(medians["write_generation"] / medians["torch.save + fsync"], 2),
                }
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    versions = {"lamina": lamina.__version__, "torch": torch.__version__, "python": platform.python_version()}
    print(
        json.dumps(
            {"benchmark": "safe_save", "cores": os.cpu_count(), "system": platform.platform(), **versions, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()

"""Read a CSV of numbers: lamina against polars and pandas in time, and the peak memory of reading and preparing it.

Each reader runs in a process of its own, in turn, ``--rounds`` times; times are medians. The unit of memory is the
float32 matrix of the table; "one copy" is the time in which polars makes that matrix from what it has read. Prints one
JSON line.

    python benchmarks/read_table.py --rows 1000000 --columns 50
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_CHILD = """
import json, resource, sys, threading, time
import numpy as np
def rss():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * resource.getpagesize()
what, path = sys.argv[1:3]
if what == "polars":
    import polars
elif what == "pandas":
    import pandas
else:
    from lamina.data.tables.read import read_table
    from lamina.data.tables.roles import infer_roles
    from lamina.data.tables.prepare import TablePreparation
base = rss()
peak = [base]
stop = threading.Event()
def watch():
    while not stop.wait(0.002):
        peak[0] = max(peak[0], rss())
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
out = {}
start = time.perf_counter()
if what == "polars":
    table = polars.read_csv(path)
    out["read_s"] = time.perf_counter() - start
    start = time.perf_counter()
    matrix = table.cast(polars.Float32).to_numpy()
    out["copy_s"] = time.perf_counter() - start
elif what == "pandas":
    table = pandas.read_csv(path)
    out["read_s"] = time.perf_counter() - start
else:
    table = read_table(path)
    out["read_s"] = time.perf_counter() - start
    out["read_peak"] = peak[0] - base
    start = time.perf_counter()
    roles = infer_roles(table, targets=[table.names[-1]])
    out["roles_s"] = time.perf_counter() - start
    start = time.perf_counter()
    preparation = TablePreparation.fit(table, roles, np.arange(int(0.65 * table.n_rows)))
    out["fit_s"] = time.perf_counter() - start
    start = time.perf_counter()
    matrix, _ = preparation.transform(table)
    out["transform_s"] = time.perf_counter() - start
    out["unit"] = matrix.nbytes
stop.set()
watcher.join()
out["peak"] = max(peak[0], rss()) - base
print(json.dumps(out))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--digits", type=int, default=6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write(path, arguments.rows, arguments.columns, arguments.digits)
        found: dict[str, list[dict[str, float]]] = {"lamina": [], "polars": [], "pandas": []}
        for _ in range(arguments.rounds):
            for what, runs in found.items():
                done = subprocess.run(
                    [sys.executable, "-c", _CHILD, what, str(path)], check=True, capture_output=True, text=True
                )
                runs.append(json.loads(done.stdout))
        size = path.stat().st_size

    def median(what: str, key: str) -> float:
        return round(statistics.median(run[key] for run in found[what]), 3)

    unit = found["lamina"][0]["unit"]
    print(
        json.dumps(
            {
                "rows": arguments.rows,
                "columns": arguments.columns,
                "file_mb": round(size / 1e6),
                "rounds": arguments.rounds,
                "read_s": {what: median(what, "read_s") for what in found},
                "polars_copy_s": median("polars", "copy_s"),
                "lamina_over_polars_and_copy": round(
                    median("lamina", "read_s") / (median("polars", "read_s") + median("polars", "copy_s")), 3
                ),
                "lamina_s": {key: median("lamina", key) for key in ("roles_s", "fit_s", "transform_s")},
                "lamina_read_peak_over_matrix": round(median("lamina", "read_peak") / unit, 2),
                "lamina_peak_over_matrix": round(median("lamina", "peak") / unit, 2),
                "peak_mb": {what: round(median(what, "peak") / 1e6) for what in found},
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            }
        )
    )


def write(path: Path, rows: int, columns: int, digits: int) -> None:
    """Write a CSV of normal numbers in blocks, with pyarrow."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    generator = np.random.default_rng(0)
    names = [f"x{i}" for i in range(columns - 1)] + ["y"]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with csv.CSVWriter(path, schema) as writer:
        for start in range(0, rows, 50_000):
            block = generator.standard_normal((columns, min(50_000, rows - start))).round(digits)
            writer.write_table(pa.table(dict(zip(names, block, strict=True)), schema=schema))


if __name__ == "__main__":
    main()

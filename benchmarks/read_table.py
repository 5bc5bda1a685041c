"""Read a CSV of numbers: lamina against polars and pandas in time, and the peak memory of reading and preparing it.

The yardstick is polars reading the file and making the float32 matrix that a model trains on: ``read_csv`` and one
copy, ``cast(Float32).to_numpy()``. lamina's time is that of ``read_table`` alone, which gives columns of float32 with
every cell checked; what comes after it is told apart (``lamina_s``). Each reader runs in a process of its own, all on
the same cores, in turn, ``--rounds`` times; ratios are taken within a round. Each has read a file of 1,000 rows before,
so that modules that it loads on first use (pyarrow loads pandas where there is one) do not count. The unit of memory is
the float32 matrix; all counts that grows after the imports. Prints one JSON line; of three numbers the first is the
median, the others are the least and the greatest.

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
what, path, small = sys.argv[1:4]
if what == "polars":
    import polars
elif what == "pandas":
    import pandas
else:
    from lamina.data.tables.read import read_table
    from lamina.data.tables.roles import infer_roles
    from lamina.data.tables.prepare import TablePreparation
    from lamina.data.tables.split import duplicates_across, split_rows
base = rss()
peak = [base]
stop = threading.Event()
def watch():
    while not stop.wait(0.002):
        peak[0] = max(peak[0], rss())
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
if what == "polars":
    polars.read_csv(small).cast(polars.Float32).to_numpy()
elif what == "pandas":
    pandas.read_csv(small)
else:
    read_table(small)
out = {}
start, cpu = time.perf_counter(), time.process_time()
if what == "polars":
    table = polars.read_csv(path)
    out["read_s"] = time.perf_counter() - start
    start = time.perf_counter()
    matrix = table.cast(polars.Float32).to_numpy()
    out["copy_s"] = time.perf_counter() - start
    out["cpu_s"] = time.process_time() - cpu
elif what == "pandas":
    table = pandas.read_csv(path)
    out["read_s"] = time.perf_counter() - start
    out["cpu_s"] = time.process_time() - cpu
else:
    table = read_table(path)
    out["read_s"] = time.perf_counter() - start
    out["cpu_s"] = time.process_time() - cpu
    out["read_peak"] = peak[0] - base
    start = time.perf_counter()
    table.fingerprint()
    out["fingerprint_s"] = time.perf_counter() - start
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
    out["peak"] = max(peak[0], rss()) - base
    split = split_rows(table.n_rows, seed=0)
    start = time.perf_counter()
    duplicates_across(table, split)
    out["duplicates_s"] = time.perf_counter() - start
stop.set()
watcher.join()
out.setdefault("peak", max(peak[0], rss()) - base)
print(json.dumps(out))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--digits", type=int, default=6)
    parser.add_argument("--cores", type=int, default=0, help="pin all readers to so many cores (0: do not pin)")
    parser.add_argument(
        "--only", nargs="+", choices=("lamina", "polars", "pandas"), default=("lamina", "polars", "pandas")
    )
    arguments = parser.parse_args()
    if arguments.cores:
        os.sched_setaffinity(0, range(arguments.cores))
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "table.csv", Path(folder) / "small.csv"
        write(path, arguments.rows, arguments.columns, arguments.digits)
        write(small, 1000, arguments.columns, arguments.digits)
        path.read_bytes()
        found: dict[str, list[dict[str, float]]] = {what: [] for what in arguments.only}
        for _ in range(arguments.rounds):
            for what, runs in found.items():
                command = [sys.executable, "-c", _CHILD, what, str(path), str(small)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                runs.append(json.loads(done.stdout))
        size = path.stat().st_size
    print(json.dumps(_summary(found, size) | {"rows": arguments.rows, "columns": arguments.columns}))


def _summary(found: dict[str, list[dict[str, float]]], size: int) -> dict[str, object]:
    def median(what: str, key: str) -> float:
        return round(statistics.median(run[key] for run in found[what]), 3)

    def ratio(numerators: list[float], denominators: list[float]) -> list[float]:
        ratios = sorted(a / b for a, b in zip(numerators, denominators, strict=True))
        return [round(value, 3) for value in (statistics.median(ratios), ratios[0], ratios[-1])]

    unit = found["lamina"][0]["unit"]
    result: dict[str, object] = {
        "file_mb": round(size / 1e6),
        "read_s": {what: median(what, "read_s") for what in found},
        "cpu_s": {what: median(what, "cpu_s") for what in found},
        "lamina_s": {
            key: median("lamina", key) for key in ("fingerprint_s", "roles_s", "fit_s", "transform_s", "duplicates_s")
        },
        "lamina_read_peak_over_matrix": round(median("lamina", "read_peak") / unit, 2),
        "lamina_peak_over_matrix": [round(run["peak"] / unit, 2) for run in found["lamina"]],
        "peak_mb": {what: round(median(what, "peak") / 1e6) for what in found},
        "rounds": len(found["lamina"]),
        "load": round(os.getloadavg()[0], 1),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    if "polars" in found:
        lamina, polars = found["lamina"], found["polars"]
        result["polars_copy_s"] = median("polars", "copy_s")
        result["lamina_over_polars_and_copy"] = ratio(
            [run["read_s"] for run in lamina], [run["read_s"] + run["copy_s"] for run in polars]
        )
        result["the_same_in_cpu_s"] = ratio([run["cpu_s"] for run in lamina], [run["cpu_s"] for run in polars])
    return result


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

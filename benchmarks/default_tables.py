"""The default fit on real tables, beside scikit-learn's MLP and gradient boosting on the same rows.

    python benchmarks/default_tables.py [--seeds 5] [--first-seed 0] [--out FILE] [--tables NAME ...] [--set K=V ...]

Each table is divided 65/10/25 by seed. lamina trains on the first part, stops on the second; the peers train on both
together (they have no use for a validation part here), so all see the same 75 % of the rows. Figures are of the test
part: accuracy of classes, RMSE of numbers. Lines already in FILE are not run again. Tables beyond scikit-learn's own
need LAMINA_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from lamina.data.named import load_named
from lamina.data.tables.frame import table_from
from lamina.data.tables.table import Table
from lamina.methodology.baseline import complete
from lamina.methodology.table_problem import problem_of_table
from lamina.methodology.train import train
from lamina.runs.settings import Settings
from lamina.workflows.facts import kind_of, truth_of

BUNDLED = ("iris", "wine", "breast-cancer", "diabetes")
UCI = ("concrete", "energy", "kin8nm", "power-plant", "wine-quality-red", "yacht")


def tables() -> list[str]:
    folder = os.environ.get("LAMINA_DATA")
    return [*BUNDLED, *(name for name in UCI if folder and (Path(folder) / "uci" / f"{name}.npz").exists())]


def load(name: str) -> tuple[Table, str]:
    if name in BUNDLED:
        named = load_named(name)
        return table_from(named.columns, name=name), named.target  # type: ignore[union-attr]
    arrays = np.load(Path(os.environ["LAMINA_DATA"]) / "uci" / f"{name}.npz", allow_pickle=False)
    columns = {f"x{i}": arrays["X"][:, i] for i in range(arrays["X"].shape[1])}
    return table_from({**columns, "y": arrays["y"]}, name=name), "y"


def row(name: str, seed: int, settings: Settings) -> dict[str, Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    table, target = load(name)
    task = "number" if name in UCI or name == "diabetes" else "classes"
    settings = settings.with_changes({"seed": seed, "task": task}, where="benchmark")
    problem, _ = problem_of_table(table, [target], settings)
    complete_settings, _ = complete(settings, problem)
    split = problem.split
    began = time.process_time()
    trained = train(problem, complete_settings)
    seconds = {"lamina": time.process_time() - began}
    import torch

    inputs = problem.inputs
    answer = trained.predictor.read(trained.predictor.outputs(inputs, torch.from_numpy(split.test)))[0]
    truth = truth_of(problem, 0, split.test)
    seen = np.sort(np.concatenate([split.train, split.valid]))
    x, y = inputs.numpy(), truth_of(problem, 0, np.arange(len(inputs)))
    classes = kind_of(problem.targets[0]) == "classes"
    predictions = {"lamina": answer.probabilities.argmax(1) if classes else answer.prediction}  # type: ignore[union-attr]
    scale = 1.0 if classes else float(y[seen].std())
    centre = 0.0 if classes else float(y[seen].mean())
    peers = {
        "mlp": (MLPClassifier if classes else MLPRegressor)(random_state=seed, max_iter=500),
        "boosting": (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(random_state=seed),
    }
    for peer, model in peers.items():
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x[seen], y[seen] if classes else (y[seen] - centre) / scale)
        seconds[peer] = time.process_time() - began
        said = model.predict(x[split.test])
        predictions[peer] = said if classes else said * scale + centre
    found: dict[str, Any] = {"table": name, "seed": seed, "rows": len(x), "metric": "accuracy" if classes else "rmse"}

    def score(said: np.ndarray) -> Any:
        if classes:
            return lambda rows: float(np.mean(said[rows] == truth[rows]))
        return lambda rows: float(np.sqrt(np.mean((said[rows] - truth[rows]) ** 2)))

    random = np.random.default_rng(seed)
    everything = np.arange(len(truth))
    draws = [random.integers(0, len(truth), len(truth)) for _ in range(1000)]
    for peer, said in predictions.items():
        figure = score(np.asarray(said))
        low, high = np.quantile([figure(d) for d in draws], [0.025, 0.975])
        found[peer] = {"value": figure(everything), "low": low, "high": high, "cpu_seconds": round(seconds[peer], 2)}
    found["epochs"] = len(trained.history.records)
    found["best_epoch"] = trained.best_epoch
    return found


def summary(lines: list[dict[str, Any]]) -> str:
    """A Markdown table of means over seeds."""
    out = [
        "| table | rows | figure | lamina | scikit-learn MLP | gradient boosting "
        "| at least the MLP | within boosting's interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    names = list(dict.fromkeys(line["table"] for line in lines))
    for name in names:
        mine = [line for line in lines if line["table"] == name]
        mean = {p: np.mean([line[p]["value"] for line in mine]) for p in ("lamina", "mlp", "boosting")}
        spread = {p: np.std([line[p]["value"] for line in mine]) for p in mean}
        up = mine[0]["metric"] == "accuracy"
        low, high = (np.mean([line["boosting"][end] for line in mine]) for end in ("low", "high"))
        better = mean["lamina"] >= mean["mlp"] if up else mean["lamina"] <= mean["mlp"]
        within = mean["lamina"] >= low if up else mean["lamina"] <= high
        cells = [f"{mean[p]:.4g} ± {spread[p]:.2g}" for p in mean]
        yes = {True: "yes", False: "no"}
        verdicts = [yes[bool(better)], yes[bool(within)]]
        out.append("| " + " | ".join([name, f"{mine[0]['rows']:,}", mine[0]["metric"], *cells, *verdicts]) + " |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("default_tables.jsonl"))
    parser.add_argument("--tables", nargs="*", default=None)
    parser.add_argument("--set", nargs="*", default=[], dest="changes")
    arguments = parser.parse_args()
    settings = Settings().with_changes(
        {"threads": "1", **dict(c.split("=", 1) for c in arguments.changes)}, where="--set"
    )
    lines = [json.loads(line) for line in arguments.out.read_text().splitlines()] if arguments.out.exists() else []
    done = {(line["table"], line["seed"]) for line in lines}
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for name in arguments.tables or tables():
            if (name, seed) not in done:
                lines.append(row(name, seed, settings))
                with arguments.out.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
                print(json.dumps(lines[-1]), flush=True)
    print(summary(lines))


if __name__ == "__main__":
    main()

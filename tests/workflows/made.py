"""Small sources for whole fits, made on the spot."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import numpy as np
from PIL import Image

from lamina.runs.settings import Settings

QUICK = Settings().with_changes(
    {"epochs": 6, "hidden": "16", "threads": 1, "batch_size": 32, "second_pass": "none"}, where="test"
)


def people(path: Path, rows: int = 300, seed: int = 3) -> Path:
    """Numbers with blanks, a category, a truth value, a date; then a class, a number and a count to predict."""
    chance = random.Random(seed)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["age", "city", "member", "joined", "visits", "spend", "churn"])
        for _ in range(rows):
            age, city = chance.gauss(40, 12), chance.choice(["Rome", "Oslo", "Lima", "Kyiv"])
            member = chance.random() < 0.5
            visits = min(40, int(chance.expovariate(1 / (2 + 3 * member))))
            spend = 20 + 0.5 * age + 10 * member + chance.gauss(0, 3)
            churn = "yes" if chance.random() < 1 / (1 + 2.718 ** (0.1 * (age - 40) + 2 * member - 1)) else "no"
            day = f"20{chance.randint(18, 24)}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
            shown = "" if chance.random() < 0.05 else f"{age:.1f}"
            out.writerow([shown, city, "true" if member else "false", day, visits, f"{spend:.2f}", churn])
    return path


def shapes(root: Path, each: int = 30, seed: int = 0) -> Path:
    """Two classes of pictures: bright above, bright below."""
    random_ = np.random.default_rng(seed)
    for name, half in (("above", slice(0, 6)), ("below", slice(6, 12))):
        (root / name).mkdir(parents=True)
        for i in range(each):
            pixels = random_.integers(0, 90, (12, 12), dtype=np.uint8)
            pixels[half] += 120
            Image.fromarray(pixels).save(root / name / f"{i:03d}.png")
    return root

"""Threads: from the work of a step, the cores, and the quota of the control group."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info
from torch import nn

from lamina.training import threads as module
from lamina.training.threads import (
    available_threads,
    choose_threads,
    cpu_quota,
    flops_per_step,
    threads,
    weight_layers,
)


@pytest.mark.parametrize(
    ("flops", "available", "expected"),
    [(9e5, 2, 1), (1.4e8, 2, 1), (1.7e8, 2, 2), (1.7e8, 1, 1), (3.8e8, 128, 5), (1e13, 128, 128), (0.0, 4, 1)],
    ids=["digits", "below", "mnist", "I13-one-core", "I13-128-cores", "huge", "nothing"],
)
def test_threads_follow_the_work_and_never_exceed_what_there_is(flops: float, available: int, expected: int) -> None:
    assert choose_threads(flops, available, passive=True) == expected


def test_where_waiting_threads_spin_more_work_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert [choose_threads(flops, 2) for flops in (5e8, 1.4e9, 1.6e9)] == [1, 1, 2]
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    assert [choose_threads(flops, 2) for flops in (5e8, 1.4e8)] == [2, 1]


def test_layers_with_weights_are_counted() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 4), nn.LSTM(4, 4)), nn.BatchNorm1d(4)
    )
    assert weight_layers(model) == 4
    assert weight_layers(nn.ReLU()) == 1


def group(root: Path, line: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(line + "\n")
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


QUOTAS = {
    "I13-half-a-core": ("0::/", {"cpu.max": "50000 100000\n"}, 0.5),
    "I13-no-limit": ("0::/", {"cpu.max": "max 100000\n"}, None),
    "I13-nested": (
        "0::/a/b",
        {"cpu.max": "max 100000", "a/cpu.max": "150000 100000", "a/b/cpu.max": "400000 100000"},
        1.5,
    ),
    "I13-mounted-as-top": ("0::/docker/x", {"cpu.max": "200000 100000"}, 2.0),
    "I13-version-1": (
        "3:cpu,cpuacct:/box",
        {"cpu/box/cpu.cfs_quota_us": "250000\n", "cpu/box/cpu.cfs_period_us": "100000\n"},
        2.5,
    ),
    "I13-version-1-no-limit": ("3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    "I13-another-controller": ("4:memory:/", {"cpu/cpu.cfs_quota_us": "1\n", "cpu/cpu.cfs_period_us": "9\n"}, None),
    "I13-unreadable": ("0::/", {"cpu.max": "gibberish"}, None),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_quota_of_the_control_group(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line, files, expected = QUOTAS[case]
    root = group(tmp_path, line, files)
    assert cpu_quota(root) == expected
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert available_threads(root) == (8 if expected is None else max(1, int(expected)))


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("2,1", 2), ("99", 8), ("", 8), ("0", 8), ("many", 8)])
def test_omp_num_threads_is_respected(
    asked: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert available_threads(tmp_path) == expected


def blas_threads() -> set[int]:
    return {entry["num_threads"] for entry in threadpool_info() if entry["user_api"] == "blas"}


def test_threads_are_set_everywhere_and_put_back() -> None:
    before = torch.get_num_threads(), blas_threads()
    for n in (1, 2):
        with pytest.raises(KeyError), threads(n):
            assert torch.get_num_threads() == n and blas_threads() == {1}
            raise KeyError
        assert (torch.get_num_threads(), blas_threads()) == before


def test_flops_are_six_for_each_weight_and_example() -> None:
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    expected = 6 * 128 * (784 * 512 + 512 * 10)
    assert flops_per_step(model, torch.zeros(128, 784)) == expected
    assert flops_per_step(model.to("meta"), torch.empty(128, 784, device="meta")) == expected


def test_counting_changes_nothing_in_the_model_or_the_random_state() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout())
    state, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    flops_per_step(model, torch.ones(5, 4))
    assert model.training and torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


class Stubborn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert float(x.sum()) == 0
        return x


def test_a_model_that_cannot_be_counted_is_estimated_by_its_size() -> None:
    assert flops_per_step(Stubborn().to("meta"), torch.empty(5, 4, device="meta")) == 6 * 5 * 7

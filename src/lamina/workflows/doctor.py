"""What this machine has for lamina: versions, device, memory, disk, threads, extras; each good, or with a mend."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from lamina._version import __version__

_NEEDED = {
    "numpy": "1.26",
    "scikit-learn": "1.7",
    "pyarrow": "17",
    "narwhals": "2",
    "safetensors": "0.5",
    "pillow": "11.3",
    "matplotlib": "3.9",
    "jinja2": "3.1",
    "click": "8.1",
    "rich": "13",
    "platformdirs": "4",
    "jaxtyping": "0.2.36",
    "filelock": "3.15",
}
_TORCH = ("2.11", "2.14")
_EXTRAS = {"tensorboard": "tensorboard"}
_LITTLE_MEMORY = 2 << 30
_LITTLE_DISK = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's.

    Attributes:
        name: What was looked at.
        good: Whether it is as lamina needs it.
        text: What was found.
        mend: What to do, where it is not good.
        needed: Whether lamina works without it.
    """

    name: str
    good: bool
    text: str
    mend: str = ""
    needed: bool = True


def doctor() -> list[Check]:
    """Look at the machine; imports torch to know its device, opens no network connection, writes nothing.

    Returns:
        The checks, the most basic first.
    """
    return [
        _python(),
        Check("lamina", True, f"{__version__}"),
        _torch(),
        _libraries(),
        _shadows(),
        _device(),
        _memory(),
        _disk(),
        _threads(),
        *_extras(),
        _data(),
    ]


def _python() -> Check:
    good = sys.version_info >= (3, 11)
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Check("python", good, text, "" if good else "install Python 3.11 or later")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _parts(version: str) -> tuple[int, ...]:
    numbers = []
    for part in version.split("+", maxsplit=1)[0].split("."):
        digits = "".join(c for c in part if c.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _torch() -> Check:
    low, high = _TORCH
    mend = f'pip install "torch>={low},<{high}"'
    found = _version("torch")
    if found is None:
        return Check("torch", False, "is not installed", mend)
    if not _parts(low) <= _parts(found) < _parts(high):
        return Check("torch", False, f"{found}, but lamina needs at least {low} and less than {high}", mend)
    return Check("torch", True, found)


def _libraries() -> Check:
    missing = []
    for name, least in _NEEDED.items():
        found = _version(name)
        if found is None or _parts(found) < _parts(least):
            missing.append(f"{name}>={least}")
    if not missing:
        return Check("libraries", True, f"all {len(_NEEDED)} that lamina needs are there")
    quoted = " ".join(f'"{name}"' for name in missing)
    return Check("libraries", False, f"missing or too old: {', '.join(missing)}", f"pip install {quoted}")


def _shadows() -> Check:
    """Look for files of the user's that stand before a library of the same name.

    Returns:
        What was found.
    """
    names = {"torch", "numpy", "sklearn", "lamina", "random", "types", "json", "logging", "click", "rich"}
    here = Path.cwd()
    found = [name for name in sorted(names) if (here / f"{name}.py").is_file()]
    if not found:
        return Check("folder", True, "no file here hides a library")
    files = ", ".join(f"{name}.py" for name in found)
    return Check("folder", False, f"{files} here may hide a library of that name", "rename it", needed=False)


def _device() -> Check:
    try:
        import torch
    except Exception as error:
        return Check("device", False, f"torch cannot be imported: {error}", "install torch again")
    if torch.cuda.is_available():
        free, whole = torch.cuda.mem_get_info()
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Check("device", True, f"cuda: {names}, {free / 2**30:.1f} of {whole / 2**30:.1f} GB free")
    if torch.backends.mps.is_available():
        return Check("device", True, "mps")
    return Check("device", True, "cpu (no GPU that torch can use)")


def _memory() -> Check:
    free = free_memory()
    if free is None:
        return Check("memory", True, "free memory is not known on this system")
    good = free >= _LITTLE_MEMORY
    return Check("memory", good, f"{free / 2**30:.1f} GB free", "" if good else "close other programs", needed=False)


def free_memory() -> int | None:
    """Return the bytes of memory that a process can still have, container limits respected, or None if unknown."""
    found: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
        if limit != "max":
            found.append(max(int(limit) - int(used), 0))
    except (OSError, ValueError):
        pass
    return min(found) if found else None


def _disk() -> Check:
    here = Path.cwd()
    try:
        free = shutil.disk_usage(here).free
    except OSError as error:
        return Check("disk", False, f"the disk here cannot be read: {error.strerror}", "choose another folder")
    if not os.access(here, os.W_OK):
        return Check("disk", False, "this folder may not be written", "run in another, or give --out", needed=False)
    good = free >= _LITTLE_DISK
    mend = "" if good else "free some space, or give --out on another disk"
    return Check("disk", good, f"{free / 2**30:.1f} GB free here", mend, needed=False)


def _threads() -> Check:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        from lamina.training.threads import cpu_quota
    except ImportError:  # without torch, which another line tells
        quota = None
    else:
        quota = cpu_quota()
    text = f"{cores} {'core' if cores == 1 else 'cores'}"
    if quota is not None and quota < cores:
        text += f", limited to the time of {quota:g}"
    return Check("threads", True, text)


def _extras() -> list[Check]:
    checks = []
    for extra, package in _EXTRAS.items():
        found = _version(package)
        mend = "" if found else f'pip install "lamina[{extra}]"'
        checks.append(Check(extra, found is not None, found or "not installed (optional)", mend, needed=False))
    return checks


def _data() -> Check:
    folder = os.environ.get("LAMINA_DATA")
    if not folder:
        return Check("data", True, "LAMINA_DATA is not set; data sets are kept in the cache")
    good = Path(folder).is_dir()
    return Check("data", good, folder if good else f"{folder} is no folder", "" if good else "correct LAMINA_DATA",
                 needed=False)  # fmt: skip

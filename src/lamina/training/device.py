"""Where tensors live."""

from __future__ import annotations

import torch

from lamina.data.batch import Batch
from lamina.errors import ConfigError, MachineError


def find_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` takes a GPU where there is one.

    Returns:
        The device.

    Raises:
        MachineError: If the machine has no such device.
        ConfigError: If the name is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mend = "use auto, cpu, cuda, cuda:0 or mps"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f'"{name}" is no device', where="--device", mend=mend) from None
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(device.type, False) or (
        device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()
    ):
        found = f"{torch.cuda.device_count()} CUDA devices" if torch.cuda.is_available() else "the CPU only"
        mend = "use --device auto"
        raise MachineError(f"this machine has no {name}; PyTorch found {found}", where="--device", mend=mend)
    return device


def resident(batch: Batch, device: torch.device) -> Batch:
    """Move the examples to the device where they fit into half of its free memory, else leave them where they are.

    Returns:
        The same examples.
    """
    if device.type != "cuda":
        return batch
    free, _ = torch.cuda.mem_get_info(device)
    size = sum(part.numel() * part.element_size() for part in batch if part is not None)
    return batch.to(device) if size < free // 2 else batch

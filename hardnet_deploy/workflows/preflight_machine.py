"""What of this machine decides whether an engine can be built on it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.target_spec import MIB, Target
from hardnet_deploy.workflows.environment import Gpu, Probes, TensorRT, attempt, read_gpus, read_tensorrt

CUDART_VARIABLE: Final = "HARDNET_DEPLOY_CUDART"
_KIB: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Machine:
    """This machine, as far as a build is concerned.

    Args:
        gpus: Its NVIDIA GPUs.
        tensorrt: The installed TensorRT; None where there is none.
        free_memory: Bytes of main memory and swap that programs can still have; None where the system does not tell.
        free_disk: Bytes free where the engine is written; None where that cannot be read.
    """

    gpus: tuple[Gpu, ...]
    tensorrt: TensorRT | None
    free_memory: int | None
    free_disk: int | None

    def gpu_for(self, target: Target) -> Gpu | None:
        """The GPU that ``target`` means; None where it is not here."""
        return next((gpu for gpu in self.gpus if target.serves(gpu.compute_capability)), None)


def cuda_device() -> Mapping[str, Any]:
    """The GPU that libcudart shows to the file that builds; see ``device.run_engine.Cuda.device``."""
    from hardnet_deploy.device import run_engine

    cuda = run_engine.open_cuda()
    try:
        return cuda.device()
    finally:
        cuda.close()


def read_machine(
    folder: Path, probes: Probes | None = None, *, ask_cuda: Callable[[], Mapping[str, Any]] = cuda_device
) -> Machine:
    """Look at this machine; nothing that is missing or broken raises.

    Args:
        folder: Where the engine is written; it need not exist yet.
        probes: How the machine is read; None reads the real one.
        ask_cuda: Asked for the GPU where nvidia-smi and torch show none (a Jetson has no nvidia-smi), and first of all
            where ``$HARDNET_DEPLOY_CUDART`` says which libcudart to use.
    """
    probes = probes or replace(Probes(), free_disk=partial(_free_disk, folder))
    gpus: tuple[Gpu, ...] = ()
    if not os.environ.get(CUDART_VARIABLE):
        gpus, _ = read_gpus(probes)
    if not gpus:
        device, _ = attempt(ask_cuda)
        gpus = () if device is None else (_gpu(device),)
    free_disk, _ = attempt(probes.free_disk)
    return Machine(gpus=gpus, tensorrt=read_tensorrt(probes), free_memory=_free_memory(probes), free_disk=free_disk)


def version_numbers(version: str | None) -> tuple[int, int, int] | None:
    """(major, minor, patch) of a TensorRT version string; None where it has none."""
    found = re.match(r"([0-9]+)\.([0-9]+)\.([0-9]+)", version or "")
    return None if found is None else (int(found.group(1)), int(found.group(2)), int(found.group(3)))


def _gpu(device: Mapping[str, Any]) -> Gpu:
    major, minor = device["compute_capability"]
    return Gpu(name=device["name"], driver=None, compute_capability=(major, minor), memory=device["memory_bytes"])


def _free_memory(probes: Probes) -> int | None:
    """MemAvailable and SwapFree: https://www.kernel.org/doc/html/latest/filesystems/proc.html (meminfo, in KiB)."""
    text, _ = attempt(partial(probes.read_text, "/proc/meminfo"))
    found = dict(re.findall(r"^(MemAvailable|SwapFree): +([0-9]+) kB$", text or "", re.MULTILINE))
    if "MemAvailable" not in found:
        return None
    return (int(found["MemAvailable"]) + int(found.get("SwapFree", "0"))) * _KIB


def _free_disk(folder: Path) -> int:
    existing = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    return shutil.disk_usage(existing).free


def mib(size: int) -> str:
    """A size for messages."""
    return f"{size / MIB:,.0f} MiB"

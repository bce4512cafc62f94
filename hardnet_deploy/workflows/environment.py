"""What this machine has, read through probes that can be replaced.

Nothing here raises because something is missing or broken: what cannot be read is None, or says what went wrong.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar

from hardnet_deploy.targets import MIB, TensorRTFamily

T = TypeVar("T")

PACKAGES: Final = (
    "torch",
    "torchvision",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "Pillow",
    "typer",
    "rich",
    "tensorrt",
    "pycuda",
)
INSTRUCTION_SETS: Final = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "f16c",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
INT8_DOT_PRODUCTS: Final = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
NVIDIA_SMI_SECONDS: Final = 20


@dataclass(frozen=True, kw_only=True)
class Cpu:
    """The processor.

    Args:
        model: Its name; the architecture where the system does not tell.
        cores: Logical cores that this process may use; None where that cannot be read.
        instruction_sets: Those that matter to inference, as Linux names them; None where the system does not tell.
    """

    model: str
    cores: int | None
    instruction_sets: tuple[str, ...] | None

    @property
    def int8_dot_product(self) -> bool | None:
        """True where 8-bit products have an instruction of their own; None where that is not known."""
        if self.instruction_sets is None:
            return None
        return not INT8_DOT_PRODUCTS.isdisjoint(self.instruction_sets)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """An NVIDIA GPU. ``compute_capability`` is None where the driver does not tell; memory in bytes."""

    name: str
    driver: str | None
    compute_capability: tuple[int, int] | None
    memory: int | None


@dataclass(frozen=True, kw_only=True)
class TensorRT:
    """The installed TensorRT. With a ``problem`` the module is there but of no use."""

    version: str | None
    family: TensorRTFamily | None
    plugins: tuple[str, ...]
    problem: str | None = None


def _read_text(path: str) -> str:
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _package_version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _execution_providers() -> tuple[str, ...]:
    import onnxruntime

    return tuple(onnxruntime.get_available_providers())


def _nvidia_smi(fields: str) -> str | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_SECONDS, check=False)
    return done.stdout if done.returncode == 0 else None


def _torch_gpus() -> tuple[Gpu, ...]:
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(
            Gpu(
                name=properties.name,
                driver=None,
                compute_capability=(properties.major, properties.minor),
                memory=properties.total_memory,
            )
        )
    return tuple(found)


def _tensorrt_module() -> ModuleType | None:
    from importlib import import_module
    from importlib.util import find_spec

    return None if find_spec("tensorrt") is None else import_module("tensorrt")


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@dataclass(frozen=True, kw_only=True)
class Probes:
    """How the machine is read. A test replaces the ones it is about."""

    read_text: Callable[[str], str] = _read_text
    package_version: Callable[[str], str | None] = _package_version
    execution_providers: Callable[[], tuple[str, ...]] = _execution_providers
    nvidia_smi: Callable[[str], str | None] = _nvidia_smi
    torch_gpus: Callable[[], tuple[Gpu, ...]] = _torch_gpus
    tensorrt_module: Callable[[], ModuleType | None] = _tensorrt_module
    memory: Callable[[], int] = _memory
    free_disk: Callable[[], int] = field(default=lambda: shutil.disk_usage(Path.cwd()).free)
    cores: Callable[[], int | None] = _cores


def attempt(read: Callable[[], T]) -> tuple[T | None, str | None]:
    """What ``read`` returns, and None; or None, and in one line why it failed."""
    try:
        return read(), None
    except Exception as error:  # noqa: BLE001 - a broken package or driver can raise anything
        text = " ".join(str(error).split())
        return None, f"{type(error).__name__}: {text}" if text else type(error).__name__


def read_cpu(probes: Probes) -> Cpu:
    """The processor, from /proc/cpuinfo where there is one."""
    facts: dict[str, str] = {}
    text, _ = attempt(partial(probes.read_text, "/proc/cpuinfo"))
    cores, _ = attempt(probes.cores)
    for line in (text or "").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features"))
    have = None if flags is None else set(flags.split())
    return Cpu(
        model=facts.get("model name") or facts.get("Model") or platform.processor() or platform.machine(),
        cores=cores,
        instruction_sets=None if have is None else tuple(name for name in INSTRUCTION_SETS if name in have),
    )


def read_gpus(probes: Probes) -> tuple[tuple[Gpu, ...], str | None]:
    """The NVIDIA GPUs by nvidia-smi, else by torch; and what went wrong, where nothing was found for a reason.

    Drivers before 510 do not tell the compute capability; torch does.
    """
    by_torch, problem = attempt(probes.torch_gpus)
    for fields in ("name,driver_version,memory.total,compute_cap", "name,driver_version,memory.total"):
        text, _ = attempt(partial(probes.nvidia_smi, fields))
        if text and text.strip():
            found = tuple(_gpu(line) for line in text.strip().splitlines())
            capabilities = {gpu.name: gpu.compute_capability for gpu in by_torch or ()}
            return tuple(
                replace(gpu, compute_capability=gpu.compute_capability or capabilities.get(gpu.name)) for gpu in found
            ), None
    return by_torch or (), problem


def _gpu(line: str) -> Gpu:
    name, driver, memory, capability = [*(part.strip() for part in line.split(",")), "", "", ""][:4]
    major, _, minor = capability.partition(".")
    known = major.isdecimal() and minor.isdecimal()
    return Gpu(
        name=name,
        driver=driver or None,
        compute_capability=(int(major), int(minor)) if known else None,
        memory=int(memory) * MIB if memory.isdecimal() else None,
    )


def read_tensorrt(probes: Probes) -> TensorRT | None:
    """The installed TensorRT; None where there is none."""
    from hardnet_deploy.engines.trt_api import plugin_names, tensorrt_family

    module, problem = attempt(probes.tensorrt_module)
    if module is None:
        return None if problem is None else TensorRT(version=None, family=None, plugins=(), problem=problem)
    family, family_problem = attempt(lambda: tensorrt_family(module))
    plugins, plugin_problem = attempt(lambda: plugin_names(module))
    return TensorRT(
        version=getattr(module, "__version__", None),
        family=family,
        plugins=plugins or (),
        problem=family_problem or plugin_problem,
    )


def read_packages(probes: Probes) -> Mapping[str, str | None]:
    """Version of every package that matters; None for what is not installed, the fault for what is broken."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        version, problem = attempt(partial(probes.package_version, name))
        versions[name] = version if problem is None else f"broken ({problem})"
    return versions

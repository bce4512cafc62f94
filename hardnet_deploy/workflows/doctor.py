"""``hardnet-deploy doctor``: what this machine has, and what each target would say on it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from hardnet_deploy import __version__
from hardnet_deploy.nms.efficient import PLUGIN_OP
from hardnet_deploy.targets import TARGETS, Target, get_target
from hardnet_deploy.workflows.environment import (
    Cpu,
    Gpu,
    Probes,
    TensorRT,
    attempt,
    read_cpu,
    read_gpus,
    read_packages,
    read_tensorrt,
)

Status = Literal["ready", "prepare", "refused"]

CPU_PROVIDER: Final = "CPUExecutionProvider"


@dataclass(frozen=True, kw_only=True)
class TargetVerdict:
    """What a target says on this machine.

    Args:
        target: Its name.
        status: ``ready``: what runs its graphs is here. ``prepare``: graphs are exported and checked here, the engine
            is built on the device. ``refused``: not even that makes sense, and ``reason`` says what to do.
        reason: One sentence.
    """

    target: str
    status: Status
    reason: str


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """What this machine has.

    Args:
        hardnet_deploy: Version of this project.
        python: Version of the interpreter.
        system: Operating system and architecture.
        cpu: The processor.
        memory: Bytes of main memory; None where the system does not tell.
        free_disk: Bytes free where the command runs; None where that cannot be read.
        packages: Version of each package; None for one that is not installed.
        execution_providers: Of ONNX Runtime; empty where it is missing or broken.
        onnxruntime_problem: Why ONNX Runtime does not load; None where it does.
        gpus: NVIDIA GPUs that the driver shows.
        gpu_problem: Why looking for GPUs failed; None where it did not.
        tensorrt: The installed TensorRT; None where there is none.
        targets: What each target says.
        default_target: The target that this machine itself is.
    """

    hardnet_deploy: str
    python: str
    system: str
    cpu: Cpu
    memory: int | None
    free_disk: int | None
    packages: Mapping[str, str | None]
    execution_providers: tuple[str, ...]
    onnxruntime_problem: str | None
    gpus: tuple[Gpu, ...]
    gpu_problem: str | None
    tensorrt: TensorRT | None
    targets: tuple[TargetVerdict, ...]
    default_target: str

    @property
    def has_nms_plugin(self) -> bool:
        """True where TensorRT's registry has EfficientNMS_TRT."""
        return self.tensorrt is not None and PLUGIN_OP in self.tensorrt.plugins

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        document = asdict(self)
        document["cpu"]["int8_dot_product"] = self.cpu.int8_dot_product
        document["nms_plugin"] = self.has_nms_plugin
        return document


def inspect_environment(probes: Probes | None = None) -> DoctorReport:
    """Look at this machine; nothing that is missing or broken raises.

    Args:
        probes: How the machine is read; None reads the real one.
    """
    probes = probes or Probes()
    providers, onnxruntime_problem = attempt(probes.execution_providers)
    gpus, gpu_problem = read_gpus(probes)
    tensorrt = read_tensorrt(probes)
    verdicts = tuple(
        _verdict(get_target(name), gpus=gpus, tensorrt=tensorrt, providers=providers or (), why=onnxruntime_problem)
        for name in TARGETS
    )
    gpu_ready = any(verdict.target == "gpu" and verdict.status == "ready" for verdict in verdicts)
    memory, _ = attempt(probes.memory)
    free_disk, _ = attempt(probes.free_disk)
    return DoctorReport(
        hardnet_deploy=__version__,
        python=platform.python_version(),
        system=f"{platform.platform()} ({platform.machine()})",
        cpu=read_cpu(probes),
        memory=memory,
        free_disk=free_disk,
        packages=read_packages(probes),
        execution_providers=providers or (),
        onnxruntime_problem=onnxruntime_problem,
        gpus=gpus,
        gpu_problem=gpu_problem,
        tensorrt=tensorrt,
        targets=verdicts,
        default_target="gpu" if gpu_ready else "cpu",
    )


def _verdict(
    target: Target, *, gpus: tuple[Gpu, ...], tensorrt: TensorRT | None, providers: tuple[str, ...], why: str | None
) -> TargetVerdict:
    if not target.uses_tensorrt:
        return _cpu_verdict(target, providers, why)
    fitting = [gpu for gpu in gpus if target.serves(gpu.compute_capability)]
    if fitting:
        return _tensorrt_verdict(target, fitting[0], tensorrt)
    if target.compute_capability is None and gpus:
        return _wrong_gpu(target, gpus[0])
    there = f"no {target.device} in this machine" if target.compute_capability else "no NVIDIA GPU in this machine"
    return TargetVerdict(
        target=target.name,
        status="prepare",
        reason=f"{there}: graphs are exported and checked here, the engine is built on the device",
    )


def _cpu_verdict(target: Target, providers: tuple[str, ...], why: str | None) -> TargetVerdict:
    if CPU_PROVIDER in providers:
        return TargetVerdict(target=target.name, status="ready", reason="ONNX Runtime runs here")
    fault = f"ONNX Runtime does not load ({why})" if why else "ONNX Runtime has no CPU provider"
    return TargetVerdict(target=target.name, status="refused", reason=f"{fault}; install it again with pip")


def _tensorrt_verdict(target: Target, gpu: Gpu, tensorrt: TensorRT | None) -> TargetVerdict:
    if tensorrt is None:
        return TargetVerdict(
            target=target.name,
            status="prepare",
            reason=f"{gpu.name} is here, TensorRT is not: install {target.runtime} to build engines",
        )
    if tensorrt.family in target.tensorrt_families and tensorrt.problem is None:
        return TargetVerdict(target=target.name, status="ready", reason=f"{gpu.name}, TensorRT {tensorrt.version}")
    has = f"TensorRT {tensorrt.version}" if tensorrt.version else "TensorRT"
    fault = f"does not load ({tensorrt.problem})" if tensorrt.problem else f"does not serve {gpu.name} as {target.name}"
    return TargetVerdict(
        target=target.name, status="refused", reason=f"{has} {fault}; {target.runtime} is the one to install"
    )


def _wrong_gpu(target: Target, gpu: Gpu) -> TargetVerdict:
    if gpu.compute_capability is None:
        reason = f"the driver does not tell the compute capability of {gpu.name}; update it"
    else:
        major, minor = gpu.compute_capability
        named = [other.name for other in TARGETS.values() if other.compute_capability == gpu.compute_capability]
        instead = f"use --target {named[0]}" if named else "no other target serves it"
        reason = f"{gpu.name} (sm_{major}{minor}) is not served by {target.runtime}; {instead}"
    return TargetVerdict(target=target.name, status="refused", reason=reason)

"""``hardnet-deploy doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded

if TYPE_CHECKING:
    from hardnet_deploy.workflows.doctor import DoctorReport
    from hardnet_deploy.workflows.environment import Gpu

GIB = 1024**3
LABEL_WIDTH = 14
STATUS_WORDS = {"ready": "ready", "prepare": "prepare only", "refused": "refused"}


@guarded
def doctor(json: Json = False, debug: Debug = False) -> None:
    """Show what this machine has, and what each target would say on it."""
    from hardnet_deploy.workflows.doctor import inspect_environment

    del debug
    report = inspect_environment()
    if json:
        emit_json(report.as_dict())
        return
    for line in lines(report):
        emit(line)


def lines(report: DoctorReport) -> list[str]:
    """The report as text, one fact a line."""
    return [
        _line("hardnet-deploy", report.hardnet_deploy),
        _line("python", report.python),
        _line("system", report.system),
        _line("cpu", _cpu(report)),
        _line("memory", f"{_gib(report.memory)}; free disk here {_gib(report.free_disk)}"),
        *(_line("gpu", _gpu(gpu)) for gpu in report.gpus),
        *([] if report.gpus else [_line("gpu", _no_gpu(report))]),
        _line("tensorrt", _tensorrt(report)),
        _line("onnx runtime", _onnxruntime(report)),
        "",
        "packages",
        *(_line(f"  {name}", version or "not installed", width=18) for name, version in report.packages.items()),
        "",
        "targets",
        *(
            _line(f"  {verdict.target}", f"{STATUS_WORDS[verdict.status]}: {verdict.reason}")
            for verdict in report.targets
        ),
        f"the target of this machine itself: {report.default_target}",
    ]


def _line(label: str, text: str, *, width: int = LABEL_WIDTH) -> str:
    return f"{label.ljust(width)}  {text}"


def _gib(size: int | None) -> str:
    return "unknown" if size is None else f"{size / GIB:.1f} GiB"


def _cpu(report: DoctorReport) -> str:
    cpu = report.cpu
    cores = "unknown number of" if cpu.cores is None else cpu.cores
    if cpu.instruction_sets is None:
        return f"{cpu.model}, {cores} cores; instruction sets unknown"
    speed = "with" if cpu.int8_dot_product else "no"
    known = " ".join(cpu.instruction_sets) or "none of those that matter"
    return f"{cpu.model}, {cores} cores; {known}; {speed} 8-bit dot product"


def _gpu(gpu: Gpu) -> str:
    capability = "sm unknown" if gpu.compute_capability is None else "sm_{}{}".format(*gpu.compute_capability)
    return f"{gpu.name}, {capability}, {_gib(gpu.memory)}, driver {gpu.driver or 'unknown'}"


def _no_gpu(report: DoctorReport) -> str:
    return f"no NVIDIA GPU found ({report.gpu_problem})" if report.gpu_problem else "no NVIDIA GPU found"


def _tensorrt(report: DoctorReport) -> str:
    found = report.tensorrt
    if found is None:
        return "not installed"
    version = found.version or "unknown version"
    if found.problem:
        return f"{version}, does not work: {found.problem}"
    plugin = "EfficientNMS_TRT found" if report.has_nms_plugin else "EfficientNMS_TRT missing"
    return f"{version}, family {found.family}, {len(found.plugins)} plugins, {plugin}"


def _onnxruntime(report: DoctorReport) -> str:
    if report.onnxruntime_problem:
        return f"does not load: {report.onnxruntime_problem}"
    return f"built with {', '.join(report.execution_providers)}"

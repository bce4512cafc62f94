from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from types import ModuleType
from typing import Any, NoReturn

import pytest
from fake_tensorrt import fake_tensorrt

from hardnet_deploy.targets import MIB, TARGETS
from hardnet_deploy.workflows.doctor import DoctorReport, TargetVerdict, inspect_environment
from hardnet_deploy.workflows.environment import PACKAGES, Gpu, Probes

GTX_1080TI = "NVIDIA GeForce GTX 1080 Ti, 535.54, 11264, 6.1\n"
H200 = "NVIDIA H200, 570.86, 143771, 9.0\n"
EPYC = "model name : AMD EPYC 9654\nflags : fpu sse4_2 avx2 avx512_vnni\n\nmodel name : other\n"
CORTEX = "processor : 0\nBogoMIPS : 38.40\nFeatures : fp asimd evtstrm aes\n"


def _broken(*_arguments: object) -> NoReturn:
    raise OSError("libnvinfer.so.8: cannot open shared object file")


def _fake_probes(**changes: Any) -> Probes:
    """A machine with two cores, ONNX Runtime and nothing else."""
    bare: dict[str, Any] = {
        "read_text": lambda _path: "",
        "package_version": lambda _name: None,
        "execution_providers": lambda: ("CPUExecutionProvider",),
        "nvidia_smi": lambda _fields: None,
        "torch_gpus": lambda: (),
        "tensorrt_module": lambda: None,
        "memory": lambda: 4096 * MIB,
        "free_disk": lambda: 1024 * MIB,
        "cores": lambda: 2,
    }
    return Probes(**(bare | changes))


def _verdicts(report: DoctorReport) -> dict[str, TargetVerdict]:
    return {verdict.target: verdict for verdict in report.targets}


def _look(**changes: Any) -> DoctorReport:
    return inspect_environment(_fake_probes(**changes))


# ---------------------------------------------------------------- verdicts


def test_without_a_gpu_the_cpu_is_ready_and_the_rest_can_be_prepared() -> None:
    report = _look()
    assert {name: verdict.status for name, verdict in _verdicts(report).items()} == {
        "cpu": "ready",
        "gtx-1080ti": "prepare",
        "jetson-nano": "prepare",
        "gpu": "prepare",
    }
    assert report.default_target == "cpu"
    assert report.tensorrt is None
    assert report.gpus == ()
    assert "no NVIDIA GPU" in _verdicts(report)["gpu"].reason


def test_every_target_has_a_verdict_with_a_reason() -> None:
    verdicts = _verdicts(_look())
    assert set(verdicts) == set(TARGETS)
    assert all(verdict.reason for verdict in verdicts.values())


@pytest.mark.parametrize("family", ["10", "11"])
def test_a_current_gpu_with_tensorrt_is_ready_and_the_default(family: str) -> None:
    report = _look(nvidia_smi=lambda _: H200, tensorrt_module=lambda: fake_tensorrt(family))
    assert _verdicts(report)["gpu"].status == "ready"
    assert report.default_target == "gpu"
    assert report.tensorrt is not None
    assert report.tensorrt.family == family
    assert report.has_nms_plugin
    assert _verdicts(report)["gtx-1080ti"].status == "prepare"


def test_a_current_gpu_without_tensorrt_is_told_what_to_install() -> None:
    report = _look(nvidia_smi=lambda _: H200)
    verdict = _verdicts(report)["gpu"]
    assert verdict.status == "prepare"
    assert "install TensorRT 10 or 11" in verdict.reason
    assert report.default_target == "cpu"


def test_a_1080ti_with_tensorrt_86_is_ready_as_itself_and_refused_as_gpu() -> None:
    report = _look(nvidia_smi=lambda _: GTX_1080TI, tensorrt_module=lambda: fake_tensorrt("8.6"))
    verdicts = _verdicts(report)
    assert verdicts["gtx-1080ti"].status == "ready"
    assert verdicts["gpu"].status == "refused"
    assert "use --target gtx-1080ti" in verdicts["gpu"].reason


def test_a_1080ti_with_tensorrt_10_is_refused_and_told_the_version_that_works() -> None:
    report = _look(nvidia_smi=lambda _: GTX_1080TI, tensorrt_module=lambda: fake_tensorrt("10"))
    verdict = _verdicts(report)["gtx-1080ti"]
    assert verdict.status == "refused"
    assert "TensorRT 8.6.1 is the one to install" in verdict.reason


def test_a_gpu_that_no_target_serves_is_refused() -> None:
    report = _look(nvidia_smi=lambda _: "Tesla K80, 470.1, 11441, 3.7\n", tensorrt_module=lambda: fake_tensorrt("10"))
    verdict = _verdicts(report)["gpu"]
    assert verdict.status == "refused"
    assert "sm_37" in verdict.reason
    assert "no other target serves it" in verdict.reason


def test_a_missing_plugin_is_seen() -> None:
    report = _look(nvidia_smi=lambda _: H200, tensorrt_module=lambda: fake_tensorrt("11", plugins=("RoiAlign_TRT",)))
    assert not report.has_nms_plugin


# ---------------------------------------------------------------- missing and broken things


def test_a_tensorrt_that_does_not_load_is_a_problem_not_a_crash() -> None:
    report = _look(nvidia_smi=lambda _: H200, tensorrt_module=_broken)
    assert report.tensorrt is not None
    assert "libnvinfer.so.8" in (report.tensorrt.problem or "")
    assert _verdicts(report)["gpu"].status == "refused"
    assert "libnvinfer.so.8" in _verdicts(report)["gpu"].reason


def test_a_tensorrt_without_builders_is_a_problem() -> None:
    report = _look(tensorrt_module=lambda: ModuleType("tensorrt"))
    assert report.tensorrt is not None
    assert report.tensorrt.problem
    assert report.tensorrt.family is None


def test_an_onnxruntime_that_does_not_load_refuses_the_cpu() -> None:
    report = _look(execution_providers=_broken)
    assert report.onnxruntime_problem
    assert _verdicts(report)["cpu"].status == "refused"


def test_nothing_that_is_broken_raises() -> None:
    report = inspect_environment(Probes(**{field.name: _broken for field in dataclasses.fields(Probes)}))
    assert report.memory is None
    assert report.free_disk is None
    assert report.cpu.cores is None
    assert report.cpu.instruction_sets is None
    assert all(version is not None and version.startswith("broken") for version in report.packages.values())
    assert report.default_target == "cpu"


def test_packages_that_are_missing_are_listed_as_missing() -> None:
    report = _look(package_version=lambda name: "2.13.0" if name == "torch" else None)
    assert tuple(report.packages) == PACKAGES
    assert report.packages["torch"] == "2.13.0"
    assert report.packages["tensorrt"] is None


# ---------------------------------------------------------------- processor and GPU


def test_the_processor_is_read_from_its_first_core() -> None:
    cpu = _look(read_text=lambda _: EPYC).cpu
    assert (cpu.model, cpu.cores) == ("AMD EPYC 9654", 2)
    assert cpu.instruction_sets == ("sse4_2", "avx2", "avx512_vnni")
    assert cpu.int8_dot_product is True


def test_an_arm_processor_without_dot_products_is_told_so() -> None:
    cpu = _look(read_text=lambda _: CORTEX).cpu
    assert cpu.instruction_sets == ("asimd",)
    assert cpu.int8_dot_product is False


def test_without_proc_the_instruction_set_is_unknown_not_absent() -> None:
    cpu = _look().cpu
    assert cpu.instruction_sets is None
    assert cpu.int8_dot_product is None


def test_nvidia_smi_gives_name_driver_architecture_and_memory() -> None:
    report = _look(nvidia_smi=lambda _: GTX_1080TI + H200)
    assert report.gpus == (
        Gpu(name="NVIDIA GeForce GTX 1080 Ti", driver="535.54", compute_capability=(6, 1), memory=11264 * MIB),
        Gpu(name="NVIDIA H200", driver="570.86", compute_capability=(9, 0), memory=143771 * MIB),
    )


def test_an_old_driver_leaves_the_architecture_to_torch() -> None:
    by_torch = Gpu(name="NVIDIA GeForce GTX 1080 Ti", driver=None, compute_capability=(6, 1), memory=1)
    report = _look(
        nvidia_smi=lambda fields: None if "compute_cap" in fields else "NVIDIA GeForce GTX 1080 Ti, 390.1, 11264\n",
        torch_gpus=lambda: (by_torch,),
    )
    (gpu,) = report.gpus
    assert (gpu.driver, gpu.compute_capability) == ("390.1", (6, 1))


def test_an_unknown_architecture_is_refused_with_advice() -> None:
    report = _look(nvidia_smi=lambda fields: None if "compute_cap" in fields else "NVIDIA X, 390.1, [N/A]\n")
    assert report.gpus[0].compute_capability is None
    assert report.gpus[0].memory is None
    assert "update it" in _verdicts(report)["gpu"].reason


def test_without_nvidia_smi_torch_is_asked() -> None:
    by_torch = Gpu(name="NVIDIA H200", driver=None, compute_capability=(9, 0), memory=1)
    assert _look(torch_gpus=lambda: (by_torch,)).gpus == (by_torch,)


# ---------------------------------------------------------------- as a whole


def test_the_real_machine_can_be_looked_at() -> None:
    report = inspect_environment()
    assert _verdicts(report)["cpu"].status == "ready"
    assert report.packages["torch"]
    assert report.cpu.cores >= 1


def test_the_report_is_json() -> None:
    document = json.loads(json.dumps(_look(nvidia_smi=lambda _: H200, read_text=lambda _: EPYC).as_dict()))
    assert document["gpus"][0]["compute_capability"] == [9, 0]
    assert document["cpu"]["int8_dot_product"] is True
    assert document["nms_plugin"] is False


def test_importing_the_doctor_imports_nothing_heavy() -> None:
    code = (
        "import sys, hardnet_deploy.workflows.doctor;"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'tensorrt', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

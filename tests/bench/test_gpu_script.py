"""benchmarks/gpu.py: the same functions at a tiny size on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from hardnet_deploy.bench.sides import OPTIONS, Boundary, Side
from hardnet_deploy.bench.tables import OF_NMS
from hardnet_deploy.bench.worker import load
from hardnet_deploy.models.registry import DEMO_MODEL
from hardnet_deploy.workflows.bench_worker import PARTS

SMALL_RIVAL = "mobilenet_v2"
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
NOT_NEEDED = ("onnxruntime", "typer", "rich", "PIL", "matplotlib", "pycocotools", "safetensors", "defusedxml", "jinja2")


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.MATRIX["cpu"], module.COPY_BYTES["cpu"] = 64, 2**16
    module.REFERENCE = SMALL_RIVAL  # type: ignore[attr-defined]  # of the script
    return module


def arguments(device: str, *more: str) -> list[str]:
    fixed = ["--device", device, "--size", "32", "--iterations", "4", "--budget", "1"]
    return [*fixed, *more, "--networks", "hardnet39ds", SMALL_RIVAL]


def test_every_column_is_one_that_pytorch_has() -> None:
    gpu = script()
    assert all(set(options) <= OPTIONS["torch"] for options in gpu.COLUMNS.values())
    assert set(gpu.QUICK) | set(gpu.CPU_COLUMNS) | set(gpu.DETECTOR_COLUMNS) <= set(gpu.COLUMNS)
    whole = gpu.sides(gpu.NETWORKS, tuple(gpu.COLUMNS), device="cuda", size=1024, threads=1)
    assert len({side.key for side in whole}) == len(whole)
    assert sum(side.network == gpu.DETECTOR for side in whole) == 2 * len(gpu.DETECTOR_COLUMNS)


def test_the_table_is_made_on_a_cpu_too_and_says_so() -> None:
    gpu = script()
    found = gpu.measure(gpu.parse(arguments("cpu", "--quick")))
    assert found["gpu"] is None
    assert [(one["network"], one["column"]) for one in found["rows"]] == [
        (network, column) for network in ("hardnet39ds", SMALL_RIVAL) for column in ("eager", "fused")
    ]
    for one in found["rows"]:
        assert one["problem"] is None
        assert one["measured"]["runs"] >= 1
        assert one["gain_over_eager"]["rounds"] == found["rounds"]
        assert one["roofline_ms"] > 0
        assert one["share_of_roofline"] > 0
        assert one["trained"] is False
        assert "(CPU)" in one["engine"]
    reference = next(one for one in found["rows"] if one["network"] == SMALL_RIVAL and one["column"] == "eager")
    assert reference["ratio_to_resnet50"]["ratio"] == reference["gain_over_eager"]["ratio"] == 1
    assert found["conditions"]["samples"] == found["rounds"] + 2


def test_rows_with_nms_say_what_does_it_and_how_much_it_sees_as_those_of_bench_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = script()
    ends: tuple[Boundary, ...] = ("network", "network+NMS")
    sides = [
        Side(key=f"{DEMO_MODEL}/{end}/eager", kind="torch", network=DEMO_MODEL, boundary=end, size=300) for end in ends
    ]
    monkeypatch.setattr(gpu, "sides", lambda *_, **__: sides)
    without, with_nms = gpu.measure(gpu.parse(arguments("cpu")))["rows"]
    assert [without[name] for name in OF_NMS] == [None, None]
    of_bench = load(sides[1], PARTS).facts
    assert with_nms["nms"] == of_bench.nms
    assert with_nms["nms"] in {"torchvision", "numpy"}
    assert with_nms["nms_candidates"] == of_bench.nms_candidates
    assert with_nms["nms_candidates"] > 0  # weights drawn from a seed, so every run has as many


def test_a_column_that_fails_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = script()
    whole = gpu.load

    def load(side: object, parts: object) -> object:
        if "fused" in getattr(side, "options", ()):
            raise RuntimeError("CUDA out of memory. Tried\nto allocate")
        return whole(side, parts)

    monkeypatch.setattr(gpu, "load", load)
    found = gpu.measure(gpu.parse(arguments("cpu", "--quick")[:-1]))
    assert [one["problem"] for one in found["rows"]] == [None, "RuntimeError: CUDA out of memory. Tried"]
    assert [found["rows"][1][name] for name in OF_NMS] == [None, None]
    assert found["rows"][1]["measured"] is None


def test_without_a_gpu_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    gpu = script()
    with pytest.raises(SystemExit, match="--device cpu"):
        gpu.measure(gpu.parse(arguments("cuda")))


@pytest.mark.slow
def test_it_needs_no_more_than_torch_numpy_and_onnx() -> None:
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in NOT_NEEDED)
    more = [*arguments("cpu", "--quick")]
    program = (
        f"import runpy, sys\n{blocked}sys.argv[1:] = {more!r}\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("% of roofline") == 4


@pytest.mark.needs_cuda
@pytest.mark.slow
def test_the_same_table_on_a_gpu() -> None:
    gpu = script()
    found = gpu.measure(gpu.parse(arguments("cuda")))
    assert found["gpu"]
    assert {one["column"] for one in found["rows"]} == set(gpu.COLUMNS)
    assert [one["problem"] for one in found["rows"]] == [None] * len(found["rows"])
    assert found["peaks"]["fp16"] > found["peaks"]["fp32"]

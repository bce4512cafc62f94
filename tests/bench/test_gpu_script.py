"""benchmarks/gpu.py: the same functions at a tiny size on the CPU, and on a GPU where there is one."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
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


@pytest.fixture(autouse=True)
def small_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPT.parent)
    found = importlib.import_module("gpu_peaks")
    monkeypatch.setitem(found.MATRIX, "cpu", 64)
    monkeypatch.setitem(found.COPY_BYTES, "cpu", 2**16)


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
    assert reference["ratio_to_resnet50"]["statistic"] == "mean"
    assert reference["gain_over_eager"]["statistic"] == "median"
    other = next(one for one in found["rows"] if one["network"] != SMALL_RIVAL and one["column"] == "eager")
    means = [one["measured"]["mean"] for one in (other, reference)]
    assert other["ratio_to_resnet50"]["ratio"] == pytest.approx(means[0] / means[1])
    assert "one loading" in found["intervals"]
    assert found["conditions"]["samples"] == found["rounds"] + 2


def interrupted(gpu: ModuleType, name: str, call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C at the so-many-th call of one of the script's functions."""
    whole, calls = getattr(gpu, name), itertools.count(1)

    def until_then(*given: object, **named: object) -> object:
        if next(calls) == call:
            raise KeyboardInterrupt
        return whole(*given, **named)

    monkeypatch.setattr(gpu, name, until_then)


@pytest.mark.parametrize(
    ("name", "call", "rounds"), [("load", 2, 0), ("_told", 6, 0), ("_told", 9, 1), ("peaks", 1, 1)]
)
def test_an_interrupt_keeps_what_was_measured_and_ends_with_130(
    name: str,
    call: int,
    rounds: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two networks in two columns: four loadings are told, then four turns a round."""
    gpu, file = script(), tmp_path / "gpu.json"
    file.write_text("older")
    interrupted(gpu, name, call, monkeypatch)
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments("cpu", "--quick", "--budget", "4", "--save", str(file))])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 130
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4
    if not rounds:
        assert file.read_text() == "older"
        assert "nothing to save" in printed.err
        assert printed.out.count("not timed") == 4
        return
    found = json.loads(file.read_text())
    assert found["stopped_by"] == "interrupted"
    assert found["rounds"] >= rounds
    assert all(one["measured"]["runs"] >= rounds for one in found["rows"])
    assert printed.out.count("stable") + printed.out.count("UNSTABLE") == 4
    assert printed.out.count("% of roofline") == (0 if name == "peaks" else 4)


def test_a_run_is_saved_before_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, file = script(), tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments("cpu", "--quick", "--save", str(file))])

    def no_terminal(_row: object) -> str:
        raise BrokenPipeError

    monkeypatch.setattr(gpu, "in_words", no_terminal)
    with pytest.raises(BrokenPipeError):
        gpu.main()
    assert json.loads(file.read_text())["rounds"] > 0


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
    start = f"sys.path.insert(0, {str(SCRIPT.parent)!r})\nrunpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    program = f"import runpy, sys\n{blocked}sys.argv[1:] = {more!r}\n{start}"
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

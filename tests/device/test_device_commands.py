"""The file as a script: every Python that is there starts it; faults are one sentence and an exit code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from old_pythons import old_python
from simulated_device import NANO, PASCAL, simulated
from small_int8 import save_pictures, write_detector
from tiny_detector import BOTH, save_image, write_toy

from hardnet_deploy.device import run_engine
from hardnet_deploy.runners.ort import OrtRunner

SCRIPT = Path(run_engine.__file__)
TESTS = Path(__file__).resolve().parents[1]
PYTHONS = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
COMMANDS = ("build", "run", "detect", "parity", "bench", "info", "all")


def started(program: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYENV"))}
    kept |= {"PYTHONDONTWRITEBYTECODE": "1", "HARDNET_DEPLOY_CUDART": "/nowhere.so", **variables}
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, env=kept, timeout=120)


@pytest.mark.parametrize("version", PYTHONS)
def test_it_compiles_helps_and_informs_under_every_python(version: str) -> None:
    program = old_python(version)
    helped = started(program, "-W", "error", str(SCRIPT), "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert all(command in helped.stdout for command in COMMANDS)
    informed = started(program, "-W", "error", str(SCRIPT), "info", "--json")
    assert (informed.returncode, informed.stderr) == (0, "")
    found = json.loads(informed.stdout)
    assert found["python"].startswith(version)
    assert "problem" in found["cuda"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_helps(command: str) -> None:
    found = started(sys.executable, str(SCRIPT), command, "--help")
    assert found.returncode == 0
    assert "--json" in found.stdout


def test_nothing_of_ours_is_imported() -> None:
    program = "import runpy, sys; runpy.run_path(sys.argv[1]); print([n for n in sys.modules if 'hardnet' in n])"
    found = started(sys.executable, "-c", program, str(SCRIPT))
    assert found.stdout.strip() == "[]"
    assert not {"numpy", "tensorrt", "pycuda"} & set(re.findall(r"^(?:import|from) (\w+)", SCRIPT.read_text(), re.M))


SIMULATED = """
import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
import simulated_tensorrt
sys.modules["tensorrt"] = simulated_tensorrt.make("8.2.1", "jetson-nano", console=False)
module = runpy.run_path(sys.argv.pop(1), run_name="device")
onnx, plan = sys.argv[1:]
with open(onnx, "rb") as file:
    built = module["build"](sys.modules["tensorrt"], file.read(), {"precision": "fp16", "workspace_bytes": 1 << 28})
with open(plan, "wb") as file:
    file.write(built["plan"])
print(sorted(set(module["layer_precisions"](built["layers"]).values())))
"""


def test_python_3_6_builds_with_the_simulated_8_2_what_this_python_builds(tmp_path: Path) -> None:
    program = old_python("3.6")
    graph = write_detector(tmp_path / "a.onnx")
    arguments = ("-c", SIMULATED, str(TESTS), str(SCRIPT), str(graph), str(tmp_path / "a.plan"))
    found = started(program, *arguments, SIMULATED_TENSORRT_PYTHON=sys.executable)
    assert found.returncode == 0, found.stderr
    assert "fp16" in found.stdout
    from simulated_tensorrt import make

    settings = {"precision": "fp16", "workspace_bytes": 1 << 28}
    here = run_engine.build(make(*NANO, console=False), graph.read_bytes(), settings)
    assert (tmp_path / "a.plan").read_bytes() == here["plan"]


def test_a_python_that_prints_only_ascii_prints_any_class_name() -> None:
    program = (
        "import runpy, sys; m = runpy.run_path(sys.argv[1], run_name='device'); "
        "box = {'class': 'F\\xfc\\xdfe', 'class_id': 1, 'score': 1.0, 'box': [0.0] * 4}; "
        "found = {'images': [{'image': 'a', 'detections': [box]}]}; m['COMMANDS']['detect'] = lambda _: found; "
        "sys.exit(m['main'](sys.argv[2:]))"
    )
    for option in ([], ["--json"]):
        arguments = ("-c", program, str(SCRIPT), "detect", "e", "i", *option)
        found = started(old_python("3.6"), *arguments, LC_ALL="C", PYTHONIOENCODING="ascii")
        assert (found.returncode, found.stderr) == (0, "")
        assert "F\\xfc" in found.stdout or "F\\u00fc" in found.stdout


def call(*arguments: str) -> int:
    return run_engine.main(list(arguments))


def test_detect_finds_what_the_graph_finds_in_pixels_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_toy(Path("toy.onnx"))
    save_image(Path("both.png"), BOTH, (60, 40))
    with simulated(monkeypatch, *NANO):
        assert call("build", "toy.onnx", "--precision", "fp16", "--workspace", "64M") == 0
        capsys.readouterr()
        assert call("detect", "toy.engine", "both.png", "--json") == 0
        (image,) = json.loads(capsys.readouterr().out)["images"]
        assert call("detect", "toy.engine", "both.png", "--score-threshold", "1.0") == 0
    assert (image["width"], image["height"]) == (60, 40)
    assert {found["class"] for found in image["detections"]} == {"red thing", "blue thing"}
    assert all(-60 < side < 120 for found in image["detections"] for side in found["box"])
    assert "both.png: 0 detections" in capsys.readouterr().out


def test_detect_suppresses_on_the_host_where_the_graph_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_toy(Path("toy.onnx"), outputs="boxes")
    record = json.loads(Path("toy.onnx.json").read_text(encoding="utf-8"))
    record["graph"]["thresholds"] = {"score": 0.3, "iou": 0.45, "max_detections": 10}
    Path("toy.onnx.json").write_text(json.dumps(record), encoding="utf-8")
    save_image(Path("both.png"), BOTH, (60, 40))
    with simulated(monkeypatch, *PASCAL):
        assert call("build", "toy.onnx") == 0
        capsys.readouterr()
        assert call("detect", "toy.engine", "both.png", "--json") == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    assert {found["class"] for found in image["detections"]} == {"red thing", "blue thing"}


def test_run_takes_arrays_and_writes_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_detector(Path("a.onnx"), outputs="boxes")
    images = np.random.default_rng(0).uniform(-100, 100, (1, 3, 32, 32)).astype(np.float32)
    np.save("one.npy", images)
    np.savez("named.npz", images=images)
    with simulated(monkeypatch, *PASCAL):
        assert call("build", "a.onnx", "-o", "b.engine") == 0
        for given in ("one.npy", "named.npz"):
            assert call("run", "b.engine", "--input", given, "-o", "out.npz") == 0
            with np.load("out.npz") as found:
                import onnx

                for name, value in OrtRunner(onnx.load("a.onnx")).infer({"images": images}).items():
                    np.testing.assert_array_equal(found[name], value)


def test_bench_of_a_plain_plan_says_what_it_was_fed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_detector(Path("a.onnx"), outputs="boxes")
    with simulated(monkeypatch, *PASCAL):
        assert call("build", "a.onnx") == 0
        capsys.readouterr()
        options = ("--iterations", "2", "--warm-up", "0", "--cuda-graph", "--allow-unstable", "--json")
        assert call("bench", "a.engine", *options) == 0
    timing = json.loads(capsys.readouterr().out)["timing"]
    assert timing["inputs"].startswith("noise")
    assert timing["boundary"].endswith("NMS out")
    assert timing["protocol"] == {"warm_up_ms": 0.0, "iterations": 2, "duration_ms": 0, "cuda_graph": True}


def test_a_timing_cache_and_the_layers_are_written_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_detector(Path("a.onnx"))
    with simulated(monkeypatch, "10.9", "gpu"):
        assert call("build", "a.onnx", "--timing-cache", "t.cache", "--layers", "l.json") == 0
        assert call("build", "a.onnx", "--timing-cache", "t.cache", "--locked") == 0
        assert call("build", "a.onnx", "--locked") == 4
    assert run_engine.layer_precisions(Path("l.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("build",), 2, "build MODEL.onnx"),
        (("build", "a.onnx", "--kit", "."), 2, "name one of them"),
        (("build", "missing.onnx"), 4, "missing.onnx cannot be read"),
        (("build", "a.onnx", "--precision", "int8"), 3, "no hardware for INT8"),
        (("build", "a.onnx", "--batch", "1,2"), 2, "--batch 1,2 is no range"),
        (("detect", "a.onnx.json", "x.png"), 8, "has no manifest"),
        (("parity", "--kit", "nowhere"), 2, "is no kit"),
        (("bench",), 2, "bench F.engine"),
        (("parity",), 2, "parity --kit DIR"),
        (("all",), 2, "all --kit DIR"),
        ((), 2, "COMMAND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_a_fault_is_one_sentence_and_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int, said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_detector(Path("a.onnx"))
    with simulated(monkeypatch, *NANO):
        assert call(*arguments) == code
        streams = capsys.readouterr()
        assert said in streams.err
        assert "Traceback" not in streams.err
        if arguments:
            assert call(*arguments, "--json") == code
            assert json.loads(capsys.readouterr().out)["exit_code"] == code
            call(*arguments, "--debug")
            assert "Traceback" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["a.onnx", "a.onnx.json"]


def test_a_fault_of_the_program_itself_is_told_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_options: Any) -> Any:
        raise ZeroDivisionError("of a test")

    monkeypatch.setitem(run_engine.COMMANDS, "info", fail)
    assert call("info") == 1
    assert "--debug" in capsys.readouterr().err


def test_ctrl_c_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_detector(tmp_path / "a.onnx")
    save_pictures(tmp_path / "pictures", 1)

    def interrupted(*_given: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_engine, "build", interrupted)
    with simulated(monkeypatch, *NANO):
        assert call("build", str(tmp_path / "a.onnx")) == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "a.onnx.json", "pictures"]


@pytest.mark.parametrize(("text", "size"), [("256M", 256 << 20), ("4G", 4 << 30), ("1.5KiB", 1536), ("7", 7)])
def test_sizes_have_units(text: str, size: int) -> None:
    assert run_engine._bytes_of(text) == size


def test_a_jetsons_power_mode_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvpmodel"
    program.write_text("#!/bin/sh\necho 'NV Power Mode: MAXN'\necho 0\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert run_engine.power_mode() == "MAXN"
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert run_engine.power_mode() is None

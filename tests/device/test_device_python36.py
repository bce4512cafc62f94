"""The device file under CPython 3.6 with NumPy of that time, on a simulated TensorRT 8.2 and libcudart of CUDA 10.2.

Every command runs on a kit, there and under this interpreter, and both must say the same.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import simulated_tensorrt
from old_pythons import NUMPY, numpy_for_python36, old_python
from simulated_cuda import compiled, compiler
from simulated_device import NANO, pixels, write_kit
from simulated_tensorrt import DEVICES, channel

from hardnet_deploy.device import run_engine

TESTS: Final = Path(simulated_tensorrt.__file__).resolve().parents[1]
SETTINGS: Final = {"precision": "fp16", "workspace_bytes": 256 << 20}
COMMANDS: Final[dict[str, list[str]]] = {
    "info": [],
    "build": ["--kit", "."],
    "run": ["model.engine", "--input", "images.npy", "-o", "outputs.npz"],
    "detect": ["model.engine", "picture.ppm", "picture.npy"],
    "parity": [],
    "bench": ["--kit", ".", "--iterations", "3", "--warm-up", "0", "--allow-unstable"],
    "all": ["--allow-unstable"],
}
CHANGES: Final = {"date", "timing", "build"}
"""Parts of a report with clock times in them."""
SCRIPT: Final = """
import io, json, sys
import simulated_tensorrt
sys.modules["tensorrt"] = simulated_tensorrt.make("8.2.1", "jetson-nano", console=False)
sys.path.insert(0, ".")
import run_engine
found = {}
for arguments in json.loads(sys.argv[1]):
    console, sys.stdout = sys.stdout, io.StringIO()
    try:
        code = run_engine.main(arguments)
        found[arguments[0]] = [code, json.loads(sys.stdout.getvalue())]
    finally:
        sys.stdout = console
print(json.dumps({"python": sys.version_info[:2], "commands": found}))
"""


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small detector's, with pictures beside it."""
    folder = write_kit(tmp_path_factory.mktemp("python36") / "kit", settings=SETTINGS, device=NANO)
    shutil.copyfile(run_engine.__file__, folder / "run_engine.py")
    record = json.loads((folder / "kit.json").read_text(encoding="utf-8"))
    (images,) = pixels(1, seed=5)
    np.save(folder / "images.npy", run_engine.to_input(images[None], record["preprocess"]))
    draw = np.random.default_rng(6).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    np.save(folder / "picture.npy", draw)
    (folder / "picture.ppm").write_bytes(b"P6 56 40 255\n" + draw.tobytes())
    return folder


def ran(program: str, kit: Path, folder: Path, **variables: str) -> dict[str, Any]:
    """What every command said, in a copy of the kit."""
    if compiler() is None:
        pytest.skip("needs a C compiler for the stand-in of libcudart; there is none here")
    shutil.copytree(kit, folder)
    facts: dict[str, Any] = DEVICES["jetson-nano"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYENV"))}
    environment = {
        **kept,
        "PYTHONPATH": str(TESTS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HARDNET_DEPLOY_CUDART": str(compiled("10.2")),
        "SIMULATED_CUDA_DEVICE": f"{facts['name']},{facts['sm'] // 10},{facts['sm'] % 10}",
        **variables,
    }
    commands = json.dumps([[name, "--json", *arguments] for name, arguments in COMMANDS.items()])
    done = subprocess.run(
        [program, "-W", "error", "-c", SCRIPT, commands],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def old(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What they say under 3.6, and the folder."""
    program, numpy = old_python("3.6"), numpy_for_python36()
    folder = tmp_path_factory.mktemp("old") / "kit"
    path = os.pathsep.join((str(numpy), str(TESTS)))
    return ran(program, kit, folder, PYTHONPATH=path, **{channel.VARIABLE: sys.executable}), folder


@pytest.fixture(scope="module")
def new(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What they say here, and the folder."""
    folder = tmp_path_factory.mktemp("new") / "kit"
    return ran(sys.executable, kit, folder, PYTHONPATH=os.pathsep.join((str(TESTS), str(TESTS.parent)))), folder


Run = tuple[dict[str, Any], Path]


def test_it_was_python_3_6_on_simulated_8_2(old: Run) -> None:
    assert old[0]["python"] == [3, 6]
    code, found = old[0]["commands"]["info"]
    assert code == 0
    assert found["python"].startswith("3.6.")
    assert found["numpy"] == {"version": NUMPY}
    assert found["tensorrt"]["version"] == "8.2.1+simulated"
    assert found["tensorrt"]["family"] == "8.2"
    assert found["cuda"]["name"] == "Simulated Jetson Nano"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_well(old: Run, new: Run, command: str) -> None:
    assert (old[0]["commands"][command][0], new[0]["commands"][command][0]) == (0, 0)


def test_the_build_holds_the_nms_in_fp32(old: Run, new: Run) -> None:
    built, wanted = (found["commands"]["build"][1] for found, _ in (old, new))
    assert built["precision"] == wanted["precision"]
    assert {"fp16", "fp32"} <= set(built["precision"]["layers"].values())
    assert built["precision"]["achieved"] == built["precision"]["requested_by_layer"]
    assert built["notes"] == wanted["notes"]


def test_outputs_and_detections_are_those_of_this_python(old: Run, new: Run) -> None:
    with np.load(old[1] / "outputs.npz") as found, np.load(new[1] / "outputs.npz") as wanted:
        assert set(found.files) == set(wanted.files)
        for name in wanted.files:
            np.testing.assert_array_equal(found[name], wanted[name])
    found, wanted = (run["commands"]["detect"][1] for run, _ in (old, new))
    assert found == wanted
    ppm, npy = (image["detections"] for image in found["images"])
    assert ppm == npy
    assert ppm


def test_parity_passes_with_the_same_figures(old: Run, new: Run) -> None:
    found, wanted = (run["commands"]["parity"][1] for run, _ in (old, new))
    assert found == wanted
    assert found["passed"]
    assert found["detections"]["matched"] > 0


def test_timing_has_the_same_form(old: Run, new: Run) -> None:
    found, wanted = (run["commands"]["bench"][1]["timing"] for run, _ in (old, new))
    assert set(found) == set(wanted)
    assert found["protocol"] == wanted["protocol"]
    assert len(found["gpu_compute_ms"]) == 3


def test_the_report_is_that_of_this_python(old: Run, new: Run) -> None:
    found, wanted = (json.loads((folder / "report.json").read_text(encoding="utf-8")) for _, folder in (old, new))
    assert list(found) == list(wanted)
    assert {name: found[name] for name in set(found) - CHANGES} == {
        name: wanted[name] for name in set(wanted) - CHANGES
    }
    assert set(found["timing"]) == set(wanted["timing"])
    for part in found, wanted:
        del part["build"]["seconds"]
    assert found["build"] == wanted["build"]

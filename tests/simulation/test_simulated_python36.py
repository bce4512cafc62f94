"""The simulation's surface under CPython 3.6, with its backend in a worker under this interpreter."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simulated_tensorrt
from numpy.testing import assert_array_equal
from old_pythons import old_python
from simulated_tensorrt import channel
from simulated_tensorrt.drive import Driver
from small_int8 import detector_graph

PACKAGE = Path(simulated_tensorrt.__file__).parent
HOST_ONLY = frozenset({"backend", "drive", "importer", "lower", "summary", "trim_manifests", "worker"})
SCRIPT = """
import ctypes, json, sys
import simulated_tensorrt
trt = simulated_tensorrt.make("8.2.1", "jetson-nano", console=False)
logger = trt.Logger()
trt.init_libnvinfer_plugins(logger, "")
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))
parser = trt.OnnxParser(network, logger)
assert parser.parse(open(sys.argv[1], "rb").read())
config = builder.create_builder_config()
config.max_workspace_size = 1 << 28
config.set_flag(trt.BuilderFlag.FP16)
engine = trt.Runtime(logger).deserialize_cuda_engine(builder.build_serialized_network(network, config))
held = []
for index in range(engine.num_bindings):
    count = 1
    for size in engine.get_binding_shape(index):
        count *= size
    held.append((ctypes.c_float * count)())
assert engine.create_execution_context().execute_async_v2([ctypes.addressof(one) for one in held], 0)
print(json.dumps({"python": list(sys.version_info[:2]), "scores": list(held[2]), "version": trt.__version__}))
"""


def graph_file(folder: Path) -> Path:
    path = folder / "boxes.onnx"
    path.write_bytes(detector_graph(outputs="boxes").SerializeToString())
    return path


def run_script(python: str, folder: Path) -> dict[str, Any]:
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONHOME"},
        "PYTHONPATH": str(PACKAGE.parent),
        channel.VARIABLE: sys.executable,
    }
    done = subprocess.run(
        [python, "-c", SCRIPT, str(graph_file(folder))], env=environment, capture_output=True, check=False, text=True
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_the_surface_is_python_3_6(path: Path) -> None:
    if path.stem in HOST_ONLY:
        assert path.stem not in {"module", "surface"}
        return
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 6))
    imported = {
        name.partition(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert imported <= set(sys.stdlib_module_names) | {"simulated_tensorrt"}
    assert not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)


def test_the_worker_gives_what_the_process_gives(tmp_path: Path) -> None:
    driver = Driver("8.2.1", "jetson-nano")
    network = driver.network(graph_file(tmp_path).read_bytes())
    driver.flags("FP16")
    engine = driver.load(driver.build(network) or b"")
    wanted = driver.run(engine, {"images": np.zeros((1, 3, 32, 32), np.float32)})["scores"]
    found = run_script(sys.executable, tmp_path)
    assert_array_equal(np.array(found["scores"], np.float32), wanted.reshape(-1))


def test_it_builds_and_runs_under_cpython_3_6(tmp_path: Path) -> None:
    found = run_script(old_python("3.6"), tmp_path)
    assert found["python"] == [3, 6]
    assert found["version"] == "8.2.1+simulated"
    assert np.isfinite(found["scores"]).all()

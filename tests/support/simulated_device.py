"""A simulated device: the stand-in for TensorRT of one version, and the stand-in for libcudart of the same GPU."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated_cuda import Variant, Watch, compiled, compiler
from simulated_tensorrt import DEVICES, installed, make
from small_int8 import DETECTOR, detector_graph, write_graph
from tiny_detector import THRESHOLDS

from hardnet_deploy.device import run_engine
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.runners.ort import OrtRunner

NANO, PASCAL, ADA, NEWEST = ("8.2.1", "jetson-nano"), ("8.6.1", "gtx-1080ti"), ("10.9", "gpu"), ("11.4", "gpu")
FAMILIES = {"8.2.1": "8.2", "8.6.1": "8.6", "10.9": "10", "11.4": "11"}
EVERY_FAMILY = pytest.mark.parametrize("device", [NANO, PASCAL, ADA, NEWEST], ids=["8.2", "8.6", "10", "11"])
SHOWN = {"iou": 0.5, "score": 0.05, "share": 0.98, "why": "of a test"}


@dataclass(frozen=True)
class Device:
    """Both stand-ins, open."""

    trt: Any
    cuda: run_engine.Cudart
    watch: Watch


def set_variables(patch: pytest.MonkeyPatch, device: str, variant: Variant = "12") -> Watch:
    """Let everything that asks for libcudart find the stand-in, with the GPU of that device; skips with no compiler."""
    if compiler() is None:
        pytest.skip("needs a C compiler for the stand-in of libcudart; there is none here")
    library, facts = compiled(variant), DEVICES[device]
    patch.setenv("HARDNET_DEPLOY_CUDART", str(library))
    patch.setenv("SIMULATED_CUDA_DEVICE", f"{facts['name']},{facts['sm'] // 10},{facts['sm'] % 10}")
    patch.delenv("SIMULATED_CUDA_FAIL_MALLOC", raising=False)
    return Watch(library)


@contextmanager
def simulated(patch: pytest.MonkeyPatch, version: str, device: str, **switches: Any) -> Iterator[Device]:
    """Both stand-ins; ``import tensorrt`` gives the first. Fails where something is left on the device."""
    watch = set_variables(patch, device)
    before = watch.live()
    with installed(make(version, device, console=False, **switches)) as trt:
        cuda = run_engine.open_cuda()
        assert isinstance(cuda, run_engine.Cudart)
        yield Device(trt=trt, cuda=cuda, watch=watch)
        assert watch.live() == before


def pixels(count: int = 3, *, seed: int = 0) -> NDArray[np.uint8]:
    """Samples as a kit has them: uint8 [n, 3, S, S]."""
    size = DETECTOR.preprocess.size
    return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)


def references(samples: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """What ONNX Runtime detects in the samples, in the form of a kit's ``reference.npz``."""
    runner = OrtRunner(detector_graph())
    found: dict[str, NDArray[Any]] = {}
    for index in range(len(samples)):
        inputs = run_engine.to_input(samples[index : index + 1], dataclasses.asdict(DETECTOR.preprocess))
        (rows,) = run_engine.to_detections(runner.infer({"images": inputs}), None)
        found[f"detections_{index}"] = rows.astype(np.float32)
    return found


def _entry(folder: Path, name: str) -> dict[str, str]:
    return {"file": name, "sha256": sha256_bytes((folder / name).read_bytes())}


def rehash(folder: Path) -> None:
    """Let ``kit.json`` say what its files are now."""
    record = json.loads((folder / "kit.json").read_text(encoding="utf-8"))
    settings = [entry for entry in record["settings"].values() if isinstance(entry, dict) and "file" in entry]
    named = [record["onnx"], record["samples"]["inputs"], record["samples"]["reference"], *settings]
    for entry in named:
        entry.update(_entry(folder, entry["file"]))
    names = ["model.onnx.json", *(entry["file"] for entry in named)]
    record["files"] = {name: {"sha256": _entry(folder, name)["sha256"]} for name in names}
    (folder / "kit.json").write_text(json.dumps(record), encoding="utf-8")


def write_kit(
    folder: Path, *, settings: dict[str, Any], count: int = 2, device: tuple[str, str] = PASCAL, **changes: Any
) -> Path:
    """A kit of the small detector for one of the devices; ``changes`` to ``kit.json``."""
    folder.mkdir()
    (folder / "samples").mkdir()
    write_graph(folder / "model.onnx", detector_graph())
    samples = pixels(count)
    np.savez(folder / "samples" / "inputs.npz", pixels=samples)
    np.savez(folder / "samples" / "reference.npz", **references(samples))
    record = {
        "schema": 2,
        "kind": "kit",
        "target": device[1],
        "family": FAMILIES[device[0]],
        "compute_capability": list(divmod(DEVICES[device[1]]["sm"], 10)),
        "model": {"name": "toy"},
        "trained": False,
        "onnx": _entry(folder, "model.onnx"),
        "settings": settings,
        "preprocess": dataclasses.asdict(DETECTOR.preprocess),
        "class_names": DETECTOR.class_names,
        "thresholds": dataclasses.asdict(THRESHOLDS),
        "samples": {
            "inputs": _entry(folder, "samples/inputs.npz"),
            "reference": _entry(folder, "samples/reference.npz"),
            "count": count,
        },
        "tolerances": {"outputs": None, "detections": None, "shown": SHOWN, "shown_score": 0.03},
        "protocol": {"warm_up_ms": 0, "iterations": 3, "from": "a test"},
        **changes,
    }
    (folder / "kit.json").write_text(json.dumps(record), encoding="utf-8")
    rehash(folder)
    return folder

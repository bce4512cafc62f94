"""Kits of a few bytes, whole as far as an import reads them, and the reports and plans that would come from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from device_reports import report
from onnx import TensorProto, helper

from hardnet_deploy.artifacts import Manifest, save_artifact
from hardnet_deploy.files import sha256_bytes
from hardnet_deploy.kit.folder import entries

OUTPUTS = ["num_detections", "detection_boxes", "detection_scores", "detection_classes"]
FAMILIES = {"jetson-nano": "8.2", "gtx-1080ti": "8.6"}


def graph_of(names: Sequence[str] = ("conv",)) -> bytes:
    """Convolutions of those names, one after the other."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])
    found = helper.make_tensor_value_info("found", TensorProto.FLOAT, [1, 3, 8, 8])
    weights = onnx.numpy_helper.from_array(np.zeros((3, 3, 1, 1), np.float32), "w")
    tensors = ["images", *(f"{name}.out" for name in names[:-1]), "found"]
    nodes = [
        helper.make_node("Conv", [source, "w"], [made], name=name)
        for name, source, made in zip(names, tensors, tensors[1:], strict=False)
    ]
    return bytes(helper.make_model(helper.make_graph(nodes, "small", [images], [found], [weights])).SerializeToString())


def small_kit(folder: Path, *, graph: bytes | None = None, **changes: Any) -> str:
    """A kit for the Nano with the two samples of :func:`device_reports.report`; the hash of its ``kit.json``.

    ``graph`` is its graph, by default one convolution named ``conv``.
    """
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    scores = np.linspace(0.9, 0.5, 5).tolist() + [0.1] * 15
    rows = np.zeros((20, 6), np.float32)
    rows[:, 5] = scores
    np.savez(folder / "samples/reference.npz", detections_0=rows[:10], detections_1=rows[10:])
    np.savez(folder / "samples/inputs.npz", pixels=np.zeros((2, 3, 8, 8), np.uint8))
    (folder / "model.onnx").write_bytes(graph or graph_of())
    (folder / "model.onnx.json").write_text("{}", encoding="utf-8")
    (folder / "run_engine.py").write_text("", encoding="utf-8")
    whole = report()
    names = ("model.onnx", "model.onnx.json", "run_engine.py", "samples/inputs.npz", "samples/reference.npz")
    files = {name: entry for name, entry in entries(folder).items() if name in names}
    document = {
        "schema": 2,
        "kind": "kit",
        "target": "jetson-nano",
        "precision": "fp16",
        "model": {"name": "ssd300-hardnet-demo"},
        "trained": True,
        "onnx": {"file": "model.onnx", "sha256": files["model.onnx"]["sha256"]},
        "settings": {
            "precision": "fp16",
            **{name: whole["build"][name] for name in ("requested", "may_stay_float")},
        },
        "outputs": OUTPUTS,
        "samples": {"count": 2},
        "tolerances": whole["parity"]["tolerances"],
        "protocol": whole["timing"]["protocol"],
        "files": files,
        **changes,
    }
    content = json.dumps(document).encode()
    (folder / "kit.json").write_bytes(content)
    return sha256_bytes(content)


def report_of(folder: Path, **changes: Any) -> dict[str, Any]:
    """The report of a kit that was written by :func:`small_kit`."""
    content = (folder / "kit.json").read_bytes()
    return report(kit_sha256=sha256_bytes(content), onnx_sha256=json.loads(content)["onnx"]["sha256"], **changes)


def plan_beside(path: Path, *, onnx_sha256: str | None, **changes: Any) -> str:
    """A plan with the manifest that a device writes; its hash."""
    fields: dict[str, Any] = {
        "kind": "tensorrt",
        "model": {"name": "ssd300-hardnet-demo"},
        "weights": {"trained": True},
        "preprocess": {},
        "class_names": (),
        "head": None,
        "target": "jetson-nano",
        "precision": {"requested": "fp16", "achieved": {"conv": "fp16", "nms": "fp32"}},
        "graph": {"outputs": OUTPUTS},
        "checks": {"source": {"sha256": onnx_sha256}},
        "versions": {"tensorrt": "8.2.1.8", "gpu": "NVIDIA Tegra X1", "compute_capability": "5.3"},
        "command": (),
        **changes,
    }
    content = b"a plan with a manifest"
    save_artifact(path, content, Manifest(sha256=sha256_bytes(content), **fields))
    return sha256_bytes(content)

"""A manifest with every kind of value in it, for the tests of artifacts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from tiny_detector import TOY

from hardnet_deploy.artifacts import Manifest, describe_model, save_artifact
from hardnet_deploy.files import sha256_bytes

CONTENT = b"an artifact"


def manifest(content: bytes = CONTENT, **changes: Any) -> Manifest:
    assert TOY.head is not None
    fields: dict[str, Any] = {
        "kind": "onnx",
        "model": describe_model(TOY, code_line="pingolh"),
        "weights": {"trained": True, "source": "w.pth", "sha256": "0" * 64, "notes": ["converted"]},
        "preprocess": dataclasses.asdict(TOY.preprocess),
        "class_names": ("background", "Füße", "猫"),
        "head": dataclasses.asdict(TOY.head),
        "target": None,
        "precision": {"requested": "fp32", "achieved": {"conv": "fp32"}},
        "graph": {"opset": 13, "thresholds": {"score": 0.02, "iou": 0.45, "max_detections": 200}},
        "checks": {"parity": {"ok": True, "largest": 1e-5}},
        "sha256": sha256_bytes(content),
        "versions": {"python": "3.10.0"},
        "command": ("hardnet-deploy", "export", "-o", "caf\udce9.onnx"),
        **changes,
    }
    return Manifest(**fields)


def saved(folder: Path, **changes: Any) -> Path:
    path = folder / "a.onnx"
    save_artifact(path, CONTENT, manifest(**changes))
    return path

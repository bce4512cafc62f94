"""Documents of runs that never were: every figure is made up. What a real run writes is asserted by its own tests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

DIGEST = "d" * 64
STATE = "5" * 64
CHECKPOINT = "c" * 64
MODEL = "ssd300-made-up"
DATA = "made-up:val"


def digest_of(name: str) -> str:
    """SHA-256 of the artifact that ``artifact`` writes under this name."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def save(path: Path, document: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(document, ensure_ascii=False).encode("utf-8", "backslashreplace"))
    return path


def artifact(folder: Path, name: str, *, precision: str = "int8", **changes: Any) -> Path:
    """The artifact and its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(name.encode())
    layers = {"base.0.conv": "fp32", "base.1.conv": precision, "head.0": precision}
    manifest = {
        "schema": 1,
        "kind": "onnx",
        "model": {"name": MODEL, "architecture": "made-up", "dataset": "demo", "code_line": "pingolh"},
        "weights": {"trained": True, "source": "w.pth", "sha256": CHECKPOINT},
        "target": "cpu",
        "precision": {"requested": precision, "achieved": layers, "macs_in_int8": 0.9},
        "sha256": digest_of(name),
        "versions": {"hardnet-deploy": "0.1.0", "python": "3.11.7"},
        "command": ["hardnet-deploy", "build-engine", "a b.onnx", "--int8", "-o", name],
    }
    return save(folder / f"{name}.json", {**manifest, **changes})


def side(name: str, **changes: Any) -> dict[str, Any]:
    """An engine as parity and evaluation documents carry it."""
    return {
        "engine": name,
        "sha256": digest_of(Path(name).name),
        "state_sha256": None,
        "code_line": None,
        "runner": "ONNX Runtime (CPU)",
        "thresholds": {"score": 0.02, "iou": 0.45, "max_detections": 200},
        "trained": True,
        "warning": None,
        **changes,
    }


def pytorch(**changes: Any) -> dict[str, Any]:
    return side(MODEL, **{"sha256": CHECKPOINT, "state_sha256": STATE, "runner": "PyTorch (CPU)", **changes})


def parity(
    name: str, *, drop: float = 0.002, half_width: float = 0.004, limit: float = 0.01, **changes: Any
) -> dict[str, Any]:
    """A comparison with PyTorch; it passes where the drop is within the limit."""
    passed = drop <= limit
    rows = {"reference": 0.7, "candidate": 0.7 * (1 - drop), "change": -0.7 * drop, "why": None}
    share = {"least_score": 0.0, "reference": 90, "matched_reference": 88, "candidate": 91, "matched_candidate": 88}
    errors = {"p50": 1e-3, "p90": 1e-2, "p99": 5e-2, "max": 0.2}
    shares = {
        **share,
        "score_error": errors,
        "box_error": errors,
        "share_reference": 88 / 90,
        "share_candidate": 88 / 91,
    }
    output = {
        "name": "loc",
        "case": "from the images",
        "max_abs": 0.5,
        "max_rel": 0.1,
        "cosine": 0.999,
        "sqnr": "24.5 dB",
    }
    inner = {"title": "base.1", "candidate_operation": "Conv base.1", "max_rel": 0.2, "allowed": 0.5, "sqnr": "30.1 dB"}
    return {
        "schema": 1,
        "kind": "parity",
        "command": ["hardnet-deploy", "parity", MODEL, name, "--data", "demo"],
        "passed": passed,
        "exit_code": 0 if passed else 6,
        "failures": [] if passed else [{"part": "metric", "what": "mAP drops too far", "exit_code": 6}],
        "notes": [],
        "reference": {**pytorch(), "precision": "fp32"},
        "candidate": {**side(name), "precision": "int8"},
        "data": {"name": DATA, "digest": DIGEST, "images": 60, "metric": "coco", "notes": []},
        "tensors": {
            "images": 8,
            "outputs": [{**output, "compared": 10, "violations": 0, "tolerance": None, "ok": True}],
            "missing": [],
            "layers": {"compared": 12, "first": None, "worst": [{**inner, "diverges": False}]},
        },
        "detections": {"images": 60, "iou_at_least": 0.5, "all": shares, "shown": shares, "worst_images": []},
        "metric": {
            "metric": "coco",
            "reference": 0.7,
            "candidate": 0.7 * (1 - drop),
            "drop": {"kind": "relative", "drop": drop, "two_sided": [drop - half_width, drop + half_width]},
            "max_drop": limit,
            "drop_type": "relative",
            "within": passed,
            "separated": drop + half_width <= limit,
            "separation": {
                "own": rows,
                "common": rows,
                "upstream": rows,
                "effect_of_network": -0.001,
                "effect_of_nms": 0.0,
            },
        },
        "pictures": [],
        **changes,
    }


def evaluation(name: str, **changes: Any) -> dict[str, Any]:
    classes = [
        {"class_id": number, "name": word, "ap": ap, "ap50": ap, "objects": 7}
        for number, word, ap in ((1, "clock", 0.8), (2, "dice & <cards>", 0.5), (3, "never there", None))
    ]
    return {
        "schema": 1,
        "kind": "evaluation",
        "command": ["hardnet-deploy", "evaluate", name, "--data", "demo"],
        "mAP": 0.6986,
        "metric": "coco",
        "coco": {"AP": 0.6986, "AP50": 0.9, "AP75": 0.8, "APs": None},
        "per_class": classes,
        "engine": side(name),
        "data": {"name": DATA, "split": "val", "digest": DIGEST, "images": 60},
        "postprocess": {"kind": "deployed", "made_by": "the NMS in its graph"},
        "untrained": False,
        "warnings": [],
        "notes": [],
        **changes,
    }


def sensitivity(name: str, **changes: Any) -> dict[str, Any]:
    drop = {"kind": "relative", "drop": 0.001, "two_sided": [-0.002, 0.004]}
    layers = [
        {"layer": layer, "macs": macs, "sqnr_db": {"loc": db, "conf": db and db + 3}, "drop": drop, "fell_back": False}
        for layer, macs, db in (("base.0.conv", 9, 21.0), ("base.1.conv", 80, 38.0), ("head.0", 11, None))
    ]
    return {
        "schema": 1,
        "kind": "sensitivity",
        "command": ["hardnet-deploy", "sensitivity", name],
        "engine": side(name),
        "data": {"name": "made-up:search", "digest": "e" * 64, "images": 20},
        "layers": layers,
        "picture": "x.png",
        **changes,
    }

"""Parity runs of the toy detector, in a folder that holds its data and the reference, ``reference.onnx``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from small_datasets import toy_images, write_coco
from tiny_detector import THRESHOLDS, TOY, toy_graph, toy_manifest, write_toy

from hardnet_deploy.artifacts import save_artifact
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.specs import ModelSpec
from hardnet_deploy.workflows.parity import run_parity
from hardnet_deploy.workflows.parity_options import ParityRequest
from hardnet_deploy.workflows.parity_result import ParityResult

DATA = "coco:data"
OPTIONS = GraphOptions(outputs="detections", nms="efficient", thresholds=THRESHOLDS, opset=13, batch=1)


def fill_folder() -> None:
    """``data`` and ``reference.onnx`` in the current folder."""
    write_coco(Path("data"), toy_images())
    write_toy(Path("reference.onnx"))


def compare(candidate: Path | str = "reference.onnx", **options: Any) -> ParityResult:
    settings: dict[str, Any] = {"reference": "reference.onnx", "data": DATA, "resamples": 50} | options
    result = run_parity(ParityRequest(candidate=str(candidate), **settings), lambda *_: None)
    document = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert document["passed"] is result.passed
    assert document["exit_code"] == result.exit_code
    assert len(document["failures"]) == len(result.failures)
    return result


def sentences(result: ParityResult) -> str:
    return " | ".join(failure.what for failure in result.failures)


def parts(result: ParityResult) -> set[str]:
    return {failure.part for failure in result.failures}


def save(path: str, *, spec: ModelSpec = TOY, precision: str = "fp32", **initialisers: Callable[[Any], Any]) -> Path:
    """The toy with other initialisers, or another manifest."""
    model = toy_graph(OPTIONS)
    for name, how in initialisers.items():
        (tensor,) = [one for one in model.graph.initializer if one.name == name.replace("_", ".")]
        tensor.CopyFrom(
            numpy_helper.from_array(np.asarray(how(numpy_helper.to_array(tensor)), np.float32), tensor.name)
        )
    return save_model(path, model, spec=spec, precision=precision)


def save_model(path: str, model: onnx.ModelProto, *, spec: ModelSpec = TOY, precision: str = "fp32") -> Path:
    content = model.SerializeToString()
    manifest = dataclasses.replace(
        toy_manifest(OPTIONS, content, spec), precision={"requested": precision, "achieved": {}}
    )
    save_artifact(Path(path), content, manifest)
    return Path(path)


def blind() -> Path:
    """The toy with everything taken for background."""
    return save("blind.onnx", conf_b=lambda values: np.tile([40.0, 0.0, 0.0], len(values) // 3))

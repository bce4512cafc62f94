"""A graph that is nothing but EfficientNMS_TRT, for the tests of what runs it and reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from hardnet_deploy.export.graph_builder import PLUGIN_DOMAIN, GraphBuilder
from hardnet_deploy.specs import F32
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS, SCORES

PRIORS, CLASSES, KEPT = 40, 4, 7
OPTIONS: dict[str, Any] = {
    "score_threshold": 0.2,
    "iou_threshold": 0.4,
    "max_output_boxes": KEPT,
    "background_class": 0,
    "score_activation": 0,
    "box_coding": 0,
    "class_agnostic": 0,
}


def plugin_graph(*, batch: int = 2, nodes: int = 1, **changes: Any) -> onnx.ModelProto:
    """Inputs ``boxes`` and ``scores`` straight into the plugin; an attribute changed to None is left out."""
    builder = GraphBuilder(opset=13, name="plugin")
    builder.input(BOXES, (batch, PRIORS, 4))
    builder.input(SCORES, (batch, PRIORS, CLASSES))
    attributes = {name: value for name, value in {**OPTIONS, **changes}.items() if value is not None}
    for number in range(nodes):
        suffix = "" if number == 0 else f"_{number}"
        shapes = ((batch, 1), (batch, KEPT, 4), (batch, KEPT), (batch, KEPT))
        types = (TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
        builder.nodes(
            "EfficientNMS_TRT",
            [BOXES, SCORES],
            {name + suffix: (shape, kind) for name, shape, kind in zip(DETECTION_OUTPUTS, shapes, types, strict=True)},
            domain=PLUGIN_DOMAIN,
            **attributes,
        )
    return builder.model(DETECTION_OUTPUTS, doc="")


def candidates(*, batch: int = 2, seed: int = 0) -> dict[str, F32]:
    """Overlapping boxes with scores, as feeds."""
    draw = np.random.default_rng(seed)
    low = draw.uniform(0, 0.5, (batch, PRIORS, 2))
    boxes = np.concatenate((low, low + draw.uniform(0.1, 0.5, (batch, PRIORS, 2))), axis=2)
    return {
        BOXES: boxes.astype(np.float32),
        SCORES: draw.uniform(0, 1, (batch, PRIORS, CLASSES)).astype(np.float32),
    }

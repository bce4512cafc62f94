"""Small ONNX graphs for the tests of the graph checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.export.graph_builder import BATCH_AXIS, GraphBuilder
from hardnet_deploy.export.graph_checks import GraphCheckReport
from hardnet_deploy.export.nms import write_efficient_nms, write_onnx_nms
from hardnet_deploy.specs import DetectorHead, PriorLayer, Thresholds
from hardnet_deploy.targets import TARGETS
from hardnet_deploy.tensor_names import BOXES, DETECTION_OUTPUTS, SCORES

CPU, GTX_1080TI, JETSON_NANO, GPU = (TARGETS[name] for name in ("cpu", "gtx-1080ti", "jetson-nano", "gpu"))
HEAD = DetectorHead(
    input_size=32,
    num_classes=4,
    layers=(PriorLayer(grid=2, stride=16, min_size=8, max_size=16, aspect_ratios=(2,)),),
)
THRESHOLDS = Thresholds(score=0.02, iou=0.45, max_detections=5)


def make_model(
    nodes: Sequence[onnx.NodeProto],
    *,
    constants: dict[str, np.ndarray[Any, Any]] | None = None,
    input_shape: Sequence[int | str] = (1, 3, 8, 8),
    input_dtype: int = TensorProto.FLOAT,
    output_dtype: int = TensorProto.FLOAT,
    opset: int = 13,
    value_info: Sequence[onnx.ValueInfoProto] = (),
) -> onnx.ModelProto:
    """A model whose input is ``x`` and whose output is the last node's first output."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", input_dtype, list(input_shape))],
        [helper.make_tensor_value_info(nodes[-1].output[0], output_dtype, None)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
        value_info=list(value_info),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def make_node(op_type: str, *inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, list(inputs), [output], name=f"the_{op_type}", **attributes)


def plugin_model(**changes: object) -> onnx.ModelProto:
    """EfficientNMS_TRT alone; an attribute of value None is left out."""
    written: dict[str, Any] = {
        "score_threshold": 0.02,
        "iou_threshold": 0.45,
        "max_output_boxes": 5,
        "background_class": 0,
        "score_activation": 0,
        "box_coding": 0,
        **changes,
    }
    attributes = {name: value for name, value in written.items() if value is not None}
    node = helper.make_node(
        "EfficientNMS_TRT", ["x", "scores"], list(DETECTION_OUTPUTS), "nms", domain="TRT", **attributes
    )
    model = make_model([node], constants={"scores": np.zeros((1, 6, 4), np.float32)}, input_shape=(1, 6, 4))
    model.opset_import.append(helper.make_opsetid("TRT", 1))
    return model


def detector_model(kind: str, batch: int | None = 1) -> onnx.ModelProto:
    """What an exported detector ends with, as the exporter writes it."""
    builder = GraphBuilder(opset=13, name="detector")
    first = BATCH_AXIS if batch is None else batch
    builder.input("boxes_in", (first, HEAD.num_priors, 4))
    builder.input("scores_in", (first, HEAD.num_priors, HEAD.num_classes))
    builder.node("Relu", ["boxes_in"], BOXES, (first, HEAD.num_priors, 4))
    builder.node("Relu", ["scores_in"], SCORES, (first, HEAD.num_priors, HEAD.num_classes))
    if kind == "efficient":
        write_efficient_nms(builder, THRESHOLDS)
    else:
        write_onnx_nms(builder, HEAD, THRESHOLDS)
    return builder.model(DETECTION_OUTPUTS, doc="")


def rules(report: GraphCheckReport) -> list[str]:
    return [finding.rule for finding in report.errors]

# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Non-maximum suppression inside the graph, by NVIDIA's plugin or by standard ONNX, with the same four outputs.

``num_detections`` [N, 1] int32, ``detection_boxes`` [N, K, 4] (corners as fractions of the image), ``detection_scores``
[N, K], ``detection_classes`` [N, K] int32 (1-based: background is 0 and never detected). Rows are in descending order
of score; rows from ``num_detections`` on are zero.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.detection_tail import BOX_SIDES
from hardnet_deploy.export.graph_builder import BATCH_AXIS, PLUGIN_DOMAIN, Dim, GraphBuilder
from hardnet_deploy.nms.efficient import PLUGIN_OP, SMALLEST_SCORE_THRESHOLD
from hardnet_deploy.specs import DetectorHead, Thresholds
from hardnet_deploy.tensor_names import (
    BOXES,
    DETECTION_BOXES,
    DETECTION_CLASSES,
    DETECTION_SCORES,
    NUM_DETECTIONS,
    SCORES,
)


def write_efficient_nms(builder: GraphBuilder, thresholds: Thresholds) -> None:
    """Attach EfficientNMS_TRT, every attribute written: the plugin's creator keeps what an earlier node set."""
    if thresholds.score < SMALLEST_SCORE_THRESHOLD:
        raise ExportError(f"EfficientNMS_TRT does not honour a score threshold of {thresholds.score:g}")
    batch = builder.shapes[BOXES][0]
    kept = thresholds.max_detections
    builder.nodes(
        PLUGIN_OP,
        [BOXES, SCORES],
        {
            NUM_DETECTIONS: ((batch, 1), TensorProto.INT32),
            DETECTION_BOXES: ((batch, kept, BOX_SIDES), TensorProto.FLOAT),
            DETECTION_SCORES: ((batch, kept), TensorProto.FLOAT),
            DETECTION_CLASSES: ((batch, kept), TensorProto.INT32),
        },
        name="nms",
        domain=PLUGIN_DOMAIN,
        plugin_version="1",
        plugin_namespace="",
        score_threshold=float(thresholds.score),
        iou_threshold=float(thresholds.iou),
        max_output_boxes=kept,
        background_class=0,
        score_activation=0,
        box_coding=0,
        class_agnostic=0,
    )


def write_onnx_nms(builder: GraphBuilder, head: DetectorHead, thresholds: Thresholds) -> None:
    """NonMaxSuppression per class, then the best K of each image over all classes.

    The selected boxes of all images come as one list of unknown length M. Laid out as [N, M], with -1 where a box is
    another image's, followed by K zeros, one TopK serves every image and pads with zero rows by itself.
    """
    batch, kept = builder.shapes[BOXES][0], thresholds.max_detections
    add, constant = builder.node, builder.constant
    int64, int32, boolean = TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL

    axis1 = constant("nms.axis_1", np.array([1], np.int64))
    one = constant("nms.one", np.array([1], np.int64))
    last = constant("nms.last", np.array([head.num_classes], np.int64))
    by_class = add("Transpose", [SCORES], "nms.by_class", (batch, head.num_classes, head.num_priors), perm=[0, 2, 1])
    foreground = add(
        "Slice", [by_class, one, last, axis1], "nms.foreground", (batch, head.num_classes - 1, head.num_priors)
    )
    selected = add(
        "NonMaxSuppression",
        [
            BOXES,
            foreground,
            constant("nms.per_class", np.array([kept], np.int64)),
            constant("nms.iou_threshold", np.array([thresholds.iou], np.float32)),
            constant("nms.score_threshold", np.array([thresholds.score], np.float32)),
        ],
        "nms.selected",
        ("selected", 3),
        dtype=int64,
        center_point_box=0,
    )
    rows = ("selected",)
    column = [constant(f"nms.column_{index}", np.array(index, np.int64)) for index in range(3)]
    image = add("Gather", [selected, column[0]], "nms.image", rows, dtype=int64, axis=1)
    classes = add("Gather", [selected, column[1]], "nms.class", rows, dtype=int64, axis=1)
    box_columns = constant("nms.columns_0_2", np.array([0, 2], np.int64))
    box_index = add("Gather", [selected, box_columns], "nms.box_index", ("selected", 2), dtype=int64, axis=1)
    scores = add("GatherND", [foreground, selected], "nms.score", rows)
    boxes = add("GatherND", [BOXES, box_index], "nms.box", ("selected", BOX_SIDES))

    padded = "selected_and_padding"
    padding = [
        constant("nms.no_boxes", np.zeros((kept, BOX_SIDES), np.float32)),
        constant("nms.no_classes", np.full(kept, -1, np.int64)),
    ]
    all_boxes = add("Concat", [boxes, padding[0]], "nms.all_boxes", (padded, BOX_SIDES), axis=0)
    all_classes = add("Concat", [classes, padding[1]], "nms.all_classes", (padded,), dtype=int64, axis=0)

    images = _image_numbers(builder, batch)
    mine = add("Equal", [image, images], "nms.mine", (batch, "selected"), dtype=boolean)
    other = constant("nms.other", np.array(-1.0, np.float32))
    own_scores = add("Where", [mine, scores, other], "nms.own_scores", (batch, "selected"))
    zeros = _zero_scores(builder, batch, kept)
    all_scores = add("Concat", [own_scores, zeros], "nms.all_scores", (batch, padded), axis=1)

    builder.nodes(
        "TopK",
        [all_scores, constant("nms.kept", np.array([kept], np.int64))],
        {DETECTION_SCORES: ((batch, kept), TensorProto.FLOAT), "nms.best": ((batch, kept), int64)},
        name="nms.top",
        axis=1,
        largest=1,
        sorted=1,
    )
    add("Gather", [all_boxes, "nms.best"], DETECTION_BOXES, (batch, kept, BOX_SIDES), axis=0)
    best_class = add("Gather", [all_classes, "nms.best"], "nms.best_class", (batch, kept), dtype=int64, axis=0)
    with_background = add("Add", [best_class, one], "nms.class_with_background", (batch, kept), dtype=int64)
    add("Cast", [with_background], DETECTION_CLASSES, (batch, kept), dtype=int32, to=int32)

    zero = constant("nms.zero", np.array(0.0, np.float32))
    found = add("Greater", [DETECTION_SCORES, zero], "nms.found", (batch, kept), dtype=boolean)
    # Summed as floats: TensorRT before 10 lists no ReduceSum of integers.
    counted = add("Cast", [found], "nms.counted", (batch, kept), to=TensorProto.FLOAT)
    total = add("ReduceSum", [counted, axis1], "nms.total", (batch, 1), keepdims=1)
    add("Cast", [total], NUM_DETECTIONS, (batch, 1), dtype=int32, to=int32)


def _image_numbers(builder: GraphBuilder, batch: Dim) -> str:
    """[N, 1]: 0, 1, ..., N-1. A constant where N is known; else the only shape arithmetic in any exported graph."""
    if isinstance(batch, int):
        return builder.constant("nms.images", np.arange(batch, dtype=np.int64)[:, None])
    add, constant = builder.node, builder.constant
    int64 = TensorProto.INT64
    shape = add("Shape", [BOXES], "nms.shape", (3,), dtype=int64)
    first = constant("nms.first", np.array(0, np.int64))
    count = add("Gather", [shape, first], "nms.batch", (), dtype=int64, axis=0)
    unit = constant("nms.step", np.array(1, np.int64))
    numbers = add("Range", [first, count, unit], "nms.numbers", (BATCH_AXIS,), dtype=int64)
    return add(
        "Unsqueeze",
        [numbers, constant("nms.axis_1", np.array([1], np.int64))],
        "nms.images",
        (BATCH_AXIS, 1),
        dtype=int64,
    )


def _zero_scores(builder: GraphBuilder, batch: Dim, kept: int) -> str:
    """[N, K] zeros."""
    if isinstance(batch, int):
        return builder.constant("nms.no_scores", np.zeros((batch, kept), np.float32))
    row = builder.constant("nms.no_score_row", np.zeros((1, kept), np.float32))
    count = builder.node(
        "Unsqueeze",
        ["nms.batch", builder.constant("nms.axis_0", np.array([0], np.int64))],
        "nms.batch_1d",
        (1,),
        dtype=TensorProto.INT64,
    )
    one = builder.constant("nms.one", np.array([1], np.int64))
    shape = builder.node("Concat", [count, one], "nms.zeros_shape", (2,), dtype=TensorProto.INT64, axis=0)
    return builder.node("Expand", [row, shape], "nms.no_scores", (BATCH_AXIS, kept))

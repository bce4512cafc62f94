"""From the heads' outputs to boxes and scores: softmax and SSD decoding in float32 inside the graph.

With priors (cx, cy, w, h) and variances (v0, v1), from loc = (dx, dy, dw, dh):

    centre = prior_centre + (dx, dy) * v0 * prior_size
    half   = exp((dw, dh) * v1) * prior_size / 2
    box    = (centre - half, centre + half)

Source: ``decode`` in utils/box_utils.py of PingoLH/PytorchSSD-HarDNet; here v0 * size and size / 2 are constants.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hardnet_deploy.export.graph_builder import GraphBuilder, Shape
from hardnet_deploy.specs import DetectorHead
from hardnet_deploy.tensor_names import BOXES, CONF, LOC, SCORES

BOX_SIDES: Final = 4


def write_detection_tail(builder: GraphBuilder, head: DetectorHead) -> None:
    """Add ``boxes`` [N, P, 4] (corner form, not clipped) and ``scores`` [N, P, C] (background first) to the graph."""
    batch = builder.shapes[LOC][0]
    pairs: Shape = (batch, head.num_priors, BOX_SIDES // 2)
    add, constant = builder.node, builder.constant

    priors = head.priors64()
    centre, size = priors[None, :, :2], priors[None, :, 2:]
    position_variance, size_variance = head.variances

    axis = constant("decode.axis", np.array([2], np.int64))
    bounds = [constant(f"decode.at_{edge}", np.array([edge], np.int64)) for edge in (0, 2, BOX_SIDES)]
    offset = add("Slice", [LOC, bounds[0], bounds[1], axis], "decode.offset", pairs)
    log_size = add("Slice", [LOC, bounds[1], bounds[2], axis], "decode.log_size", pairs)

    step = constant("priors.step", (position_variance * size).astype(np.float32))
    shift = add("Mul", [offset, step], "decode.shift", pairs)
    middle = add("Add", [shift, constant("priors.centre", centre.astype(np.float32))], "decode.centre", pairs)

    variance = constant("priors.size_variance", np.array(size_variance, np.float32))
    scaled = add("Mul", [log_size, variance], "decode.scaled_log_size", pairs)
    growth = add("Exp", [scaled], "decode.growth", pairs)
    half = add("Mul", [growth, constant("priors.half", (size / 2).astype(np.float32))], "decode.half", pairs)

    low = add("Sub", [middle, half], "decode.low", pairs)
    high = add("Add", [middle, half], "decode.high", pairs)
    add("Concat", [low, high], BOXES, (batch, head.num_priors, BOX_SIDES), axis=2)
    add("Softmax", [CONF], SCORES, builder.shapes[CONF], axis=-1)

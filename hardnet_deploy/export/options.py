"""What an exported graph should look like: values only, no torch and no onnx."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from hardnet_deploy.specs import ModelSpec, Thresholds
from hardnet_deploy.target_spec import NmsKind
from hardnet_deploy.tensor_names import BOXES, CONF, DETECTION_OUTPUTS, LOC, LOGITS, SCORES

Outputs = Literal["raw", "boxes", "detections"]

MIN_OPSET: Final = 13  # the first with per-channel quantisation, and the newest that TensorRT 8.2 reads
MAX_OPSET: Final = 21  # every operator written here means the same from 13 to this one


@dataclass(frozen=True, kw_only=True)
class GraphOptions:
    """What the exported graph looks like.

    Args:
        outputs: Where the graph of a detector ends. Backbones always end at ``logits``.
        nms: Which NMS closes a graph of detections.
        thresholds: Of that NMS; None where the graph has none.
        opset: Standard operator set, 13 to 21.
        batch: Images in a batch; None for any number.
    """

    outputs: Outputs
    nms: NmsKind
    thresholds: Thresholds | None
    opset: int
    batch: int | None


def output_names(spec: ModelSpec, options: GraphOptions) -> tuple[str, ...]:
    """Names of the graph's outputs, in order."""
    if spec.head is None:
        return (LOGITS,)
    return {"raw": (LOC, CONF), "boxes": (BOXES, SCORES), "detections": DETECTION_OUTPUTS}[options.outputs]

"""What can be asked of a side."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from hardnet_deploy.bench.sides import Side, SideFacts, boundary_of, network_text
from hardnet_deploy.errors import UsageError
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.tensor_names import BOXES, CONF, DETECTION_OUTPUTS, LOC, LOGITS, SCORES

TORCH: dict[str, Any] = {"key": "k", "kind": "torch", "network": "hardnet68", "size": 224}
GRAPH: dict[str, Any] = {"key": "k", "kind": "onnxruntime", "artifact": "f.onnx", "size": 224}
PLAN: dict[str, Any] = {"key": "k", "kind": "tensorrt", "artifact": "f.engine", "size": 224, "device": "cuda"}
LIMITS = Thresholds(score=0.02, iou=0.45, max_detections=200)


@pytest.mark.parametrize(
    "record", [{**TORCH, "options": ("fused", "channels-last")}, {**TORCH, "thresholds": LIMITS}, GRAPH, PLAN]
)
def test_a_side_goes_through_json_unchanged(record: dict[str, Any]) -> None:
    side = Side(**record)
    assert Side.from_dict(json.loads(json.dumps(side.as_dict()))) == side


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({**TORCH, "options": ("faster",)}, "no option faster"),
        ({**GRAPH, "options": ("fused",)}, "no option fused"),
        ({**TORCH, "options": ("fp16", "bf16")}, "fp16 and bf16"),
        ({**TORCH, "options": ("cuda-graph",)}, "cuda-graph on the CPU"),
        ({**TORCH, "options": ("tf32",)}, "tf32 on the CPU"),
        ({**TORCH, "network": ""}, "needs a network"),
        ({**TORCH, "artifact": "f.onnx"}, "not both"),
        ({**GRAPH, "artifact": None}, "needs a network"),
        ({**GRAPH, "device": "cuda"}, "ONNX Runtime on the CPU"),
        ({**PLAN, "device": "cpu"}, "TensorRT runs on CUDA"),
        ({**TORCH, "batch": 0}, "under 1"),
        ({**TORCH, "threads": 0}, "under 1"),
    ],
)
def test_what_does_not_go_together_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Side(**record)


@pytest.mark.parametrize(
    ("outputs", "boundary", "words"),
    [
        (DETECTION_OUTPUTS, "network+NMS", "NMS in"),
        ((BOXES, SCORES), "network", "softmax and decoding in, NMS out"),
        ((LOC, CONF), "network", "softmax, decoding and NMS out"),
        ((LOGITS,), "network", "to logits"),
    ],
)
def test_outputs_tell_the_boundary(outputs: tuple[str, ...], boundary: str, words: str) -> None:
    assert boundary_of(outputs) == boundary
    assert words in network_text(outputs)


@pytest.mark.parametrize("facts", [SideFacts(), SideFacts(notes=("a", "b"), thresholds=LIMITS, nms="numpy")])
def test_facts_go_through_json_unchanged(facts: SideFacts) -> None:
    assert SideFacts.from_dict(json.loads(json.dumps(dataclasses.asdict(facts)))) == facts


def test_the_limits_of_an_nms_inside_are_told() -> None:
    assert "NMS (score 0.02, IoU 0.45, at most 200) in" in network_text(DETECTION_OUTPUTS, LIMITS)
    assert "score" not in network_text((LOC, CONF), LIMITS)

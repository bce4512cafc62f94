"""What reaches an NMS, counted as the NMS would."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_detector import BLUE, BOTH, NONE, RED, THRESHOLDS, TOY, toy_graph

from hardnet_deploy.bench.nms_candidates import MOST_BATCHES, candidates, candidates_in_graph
from hardnet_deploy.data.preprocess import preprocess_batch
from hardnet_deploy.export.options import GraphOptions, Outputs
from hardnet_deploy.specs import F32, Thresholds
from hardnet_deploy.target_spec import NmsKind

LIMITS = Thresholds(score=0.25, iou=0.5, max_detections=10)


def counted(*scores: F32) -> int:
    fed = [np.full((1,), number, np.float32) for number in range(len(scores))]
    return candidates(lambda one: scores[int(one[0])], fed, LIMITS)


def test_scores_at_the_threshold_count_and_background_and_nan_do_not() -> None:
    scores = np.array([[[0.9, 0.25, 0.2499], [0.9, np.nan, 0.3], [0.9, 0.0, 0.1]]], np.float32)
    assert counted(scores) == 2


def test_it_is_the_mean_over_images_of_the_first_batches() -> None:
    none, many = np.zeros((1, 8, 2), np.float32), np.ones((1, 8, 2), np.float32)
    assert counted(np.concatenate((none, many, many, many))) == 6
    assert counted(*[none] * MOST_BATCHES, many) == 0


def graph(*, outputs: Outputs = "detections", nms: NmsKind = "efficient") -> GraphOptions:
    return GraphOptions(outputs=outputs, nms=nms, thresholds=THRESHOLDS, opset=13, batch=1)


@pytest.mark.parametrize("nms", ["efficient", "onnx"])
def test_a_graph_is_counted_before_its_nms_whatever_that_is(nms: NmsKind) -> None:
    model = toy_graph(graph(nms=nms))
    found = [
        candidates_in_graph(
            model,
            [preprocess_batch([np.full((8, 8, 3), colour, np.uint8)], TOY.preprocess)],
            THRESHOLDS,
            threads=1,
        )
        for colour in (RED, BLUE, BOTH, NONE)
    ]
    assert found == [1, 1, 2, 0]


def test_a_graph_without_scores_is_not_counted() -> None:
    images = np.zeros((1, 3, 32, 32), np.float32)
    assert candidates_in_graph(toy_graph(graph(outputs="raw")), [images], THRESHOLDS, threads=1) is None

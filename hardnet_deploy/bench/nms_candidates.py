"""How much an NMS has to do: the pairs of a box and a class that reach its score threshold, in what is timed.

NMS is the one part of a detector whose time depends on what the network finds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.specs import F32, Thresholds
from hardnet_deploy.tensor_names import SCORES

if TYPE_CHECKING:
    import onnx

MOST_BATCHES: Final = 4
"""Batches that are counted, so that loading takes no longer than it must."""


def candidates(scores_of: Callable[[F32], F32], tensors: Iterable[F32], thresholds: Thresholds) -> int:
    """The mean over images, rounded.

    Args:
        scores_of: Inputs [N, 3, S, S] to scores [N, P, C], background first.
        tensors: Inputs; of many the first :data:`MOST_BATCHES`.
        thresholds: Of the NMS. As in EfficientNMS a score that equals the threshold counts; NaN and background do not.
    """
    counts: list[int] = []
    for tensor in islice(tensors, MOST_BATCHES):
        passed = scores_of(tensor)[..., 1:] >= np.float32(thresholds.score)
        counts += [int(one) for one in passed.sum(axis=(1, 2))]
    return round(statistics.fmean(counts))


def candidates_in_graph(
    model: onnx.ModelProto, tensors: Iterable[F32], thresholds: Thresholds, *, threads: int
) -> int | None:
    """The same for a graph with its NMS inside, in a session of its own that ends at its scores and is closed again.

    Args:
        model: With one input, which takes ``tensors``.
        tensors: Inputs.
        thresholds: Of its NMS.
        threads: Of that session.

    Returns:
        None for a graph in which nothing is called ``scores``.
    """
    from hardnet_deploy.runners.graph import cut
    from hardnet_deploy.runners.ort import OrtRunner

    try:
        runner = OrtRunner(cut(model, [SCORES]), threads=threads)
    except InputFileError:
        return None
    name = runner.inputs[0].name
    return candidates(lambda tensor: runner.infer({name: tensor})[SCORES], tensors, thresholds)

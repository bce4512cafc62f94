"""Images as the network's pixels, and what PyTorch makes of them: what a device is held against."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hardnet_deploy.data.loading import load_inputs
from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import InputFileError
from hardnet_deploy.nms.efficient import efficient_nms
from hardnet_deploy.runners.base import Runner
from hardnet_deploy.specs import F32, ModelSpec, Preprocess, Thresholds
from hardnet_deploy.tensor_names import BOXES, INPUT, SCORES

U8 = NDArray[np.uint8]
VALUES: Final = 1024
"""Values of each output that are kept of one sample; a wrong layer moves all of them."""
SEED: Final = 0


def read_pixels(paths: Sequence[Path], preprocess: Preprocess) -> U8:
    """Images resized, in the network's channel order, before mean and scale: uint8 [n, 3, S, S].

    Raises:
        InputFileError: An image cannot be read.
    """
    plain = replace(preprocess, divisor=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    found = []
    with contextlib.closing(load_inputs(paths, plain)) as images:
        for image in images:
            if isinstance(image, InputFileError):
                raise image
            found.append(image.pixels.astype(np.uint8))
    return np.stack(found)


def references(
    runner: Runner, spec: ModelSpec, pixels: U8, *, thresholds: Thresholds | None, candidate_cap: int
) -> dict[str, NDArray[Any]]:
    """What PyTorch makes of the samples, as ``run_engine.py parity`` reads it.

    A detector's ``detections_<i>`` come from PyTorch's boxes and scores by the NumPy reference of the engine's own
    NMS with the candidates that its GPU looks at, so that the two sides differ by precision alone.

    Args:
        runner: PyTorch.
        spec: Of its model.
        pixels: Of :func:`read_pixels`; pre-processed by the device's own arithmetic.
        thresholds: Of the NMS in the graph; None for a backbone.
        candidate_cap: Candidates that the plugin looks at.

    Returns:
        ``detections_<i>`` float32 [m, 6]: class, x1, y1, x2, y2 in fractions of the image, score. Of every output
        either all values, ``<name>`` float32 [n, ...], or ``<name>.index`` int64 [k] into one sample's flattened
        output and ``<name>.values`` float32 [n, k].
    """
    results = [
        runner.infer({INPUT: run_engine.to_input(pixels[index : index + 1], asdict(spec.preprocess))})
        for index in range(len(pixels))
    ]
    stored: dict[str, NDArray[Any]] = {}
    for name in runner.outputs:
        values: F32 = np.stack([result[name][0] for result in results])
        size = values[0].size
        if size <= VALUES:
            stored[name] = values
            continue
        index = np.sort(np.random.default_rng(SEED).choice(size, VALUES, replace=False)).astype(np.int64)
        stored[f"{name}.index"] = index
        stored[f"{name}.values"] = values.reshape(len(values), -1)[:, index]
    if thresholds is not None:
        for number, result in enumerate(results):
            stored[f"detections_{number}"] = _detections(result[BOXES], result[SCORES], thresholds, candidate_cap)
    return stored


def _detections(boxes: F32, scores: F32, thresholds: Thresholds, candidate_cap: int) -> F32:
    found = efficient_nms(
        boxes,
        scores,
        score_threshold=thresholds.score,
        iou_threshold=thresholds.iou,
        max_output_boxes=thresholds.max_detections,
        background_class=0,
        candidate_cap=candidate_cap,
    )
    count = int(found.num_detections[0, 0])
    columns = (found.detection_classes[0, :count], found.detection_boxes[0, :count], found.detection_scores[0, :count])
    return np.column_stack(columns).astype(np.float32).reshape(-1, 6)

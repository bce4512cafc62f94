"""A small calibration table whose tensors have every awkward name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from calibration.table import CalibrationTable, Fingerprint, Snapshot, TensorStatistics

PREPROCESS = {"size": 300, "channel_order": "bgr", "mean": (104.0, 117.0, 123.0), "divisor": 1.0}
AWKWARD_NAMES = ("images", "model/base.0: conv, ReLU", "(Unnamed Layer* 3) [Convolution]_output", 'quote"\\é')


def statistics(low: float, high: float, share: float = 0.001) -> TensorStatistics:
    peak = max(abs(low), abs(high))
    return TensorStatistics(
        minimum=low,
        maximum=high,
        elements=12_345,
        thresholds={"entropy": peak * 0.7, "percentile": peak * 0.9, "minmax": peak, "mse": peak / 3},
        saturated={"entropy": share, "percentile": share / 2, "minmax": 0.0, "mse": share * 3},
    )


def table(**changes: Any) -> CalibrationTable:
    tensors = {name: statistics(-index / 3, index + 0.1) for index, name in enumerate(AWKWARD_NAMES)}
    whole = CalibrationTable(
        method="entropy",
        fingerprint=Fingerprint(
            graph="a" * 64,
            weights="b" * 64,
            preprocess=PREPROCESS,
            data="demo:calibration",
            images="c" * 64,
            count=64,
            seed=7,
        ),
        tensors=tensors,
        snapshots={
            "mse": tuple(Snapshot(count, dict.fromkeys(tensors, count / 7)) for count in (32, 64)),
            "entropy": (Snapshot(32, {"images": 0.0}),),
        },
        versions={"onnxruntime": "1.20.0", "numpy": "2.0.0"},
        command=("hardnet-deploy", "calibrate", "model.onnx"),
    )
    return replace(whole, **changes)


SOURCE = "demo.calib.json"


def read(text: str) -> CalibrationTable:
    return CalibrationTable.from_json(text, source=SOURCE)

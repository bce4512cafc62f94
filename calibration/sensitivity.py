# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""How much of the outputs' signal each layer costs when it alone is quantised."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from calibration.errors import CalibrationError
from calibration.graph import GraphMap
from calibration.qdq import Choice, Writing
from calibration.ranges import Ranges

Feeds = Mapping[str, NDArray[np.float32]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class LayerNoise:
    """One layer, quantised alone.

    Args:
        name: Of the layer.
        macs: Its multiply-accumulates for one image.
        sqnr: Signal to quantisation noise of each output, in dB; infinite where nothing changed.
    """

    name: str
    macs: int
    sqnr: Mapping[str, float]

    @property
    def worst(self) -> float:
        """Of the output that suffers most, in dB."""
        return min(self.sqnr.values())


def sqnr_db(reference: NDArray[Any], candidate: NDArray[Any]) -> float:
    """``10 log10(sum(reference^2) / sum((reference - candidate)^2))``; infinite where both are equal.

    Raises:
        CalibrationError: Shapes differ, there is no value, or one is no finite number.
    """
    if reference.shape != candidate.shape or not reference.size:
        raise CalibrationError("two outputs cannot be compared", got=f"{reference.shape} and {candidate.shape}")
    if not (np.isfinite(reference).all() and np.isfinite(candidate).all()):
        raise CalibrationError("an output holds values that are no finite numbers")
    signal = float(np.square(reference, dtype=np.float64).sum())
    noise = float(np.square(reference.astype(np.float64) - candidate).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def layer_noise(
    graph: GraphMap,
    ranges: Ranges,
    writing: Writing,
    images: Sequence[Feeds],
    outputs: Sequence[str],
    *,
    done: Mapping[str, Mapping[str, float]] | None = None,
    keep: Callable[[LayerNoise], None] | None = None,
    progress: Progress | None = None,
) -> tuple[LayerNoise, ...]:
    """Every layer quantised alone, the most harmful first.

    Args:
        graph: The float graph.
        ranges: Its scales.
        writing: How a graph is quantised.
        images: Inputs to compare on; all are held in memory.
        outputs: Tensors of the graph to compare: the heads' outputs.
        done: Results of an interrupted run, by layer; they are taken as they are.
        keep: Given every layer as soon as it is measured, so that an interrupted run can be continued.
        progress: Told (layers done, layers).

    Raises:
        CalibrationError: No image, an output that is not in the graph, or a graph that does not run.
    """
    if not images:
        raise CalibrationError("there is no image to compare on", wanted="at least one")
    absent = [name for name in outputs if name not in graph.producers]
    if absent or not outputs:
        raise CalibrationError(f"the graph has no tensor called {absent[0] if absent else 'anything'}")
    reference = _run(graph.model, images, outputs)
    everything = frozenset(unit.name for unit in graph.units)
    found = []
    for number, unit in enumerate(graph.units):
        known = (done or {}).get(unit.name)
        if known is not None:
            found.append(LayerNoise(name=unit.name, macs=unit.macs, sqnr=dict(known)))
        else:
            quantised = _run(writing(graph, ranges, Choice(float_units=everything - {unit.name})), images, outputs)
            sqnr = {name: sqnr_db(reference[name], quantised[name]) for name in outputs}
            found.append(LayerNoise(name=unit.name, macs=unit.macs, sqnr=sqnr))
            if keep:
                keep(found[-1])
        if progress:
            progress(number + 1, len(graph.units))
    return tuple(sorted(found, key=lambda one: one.worst))


def _run(model: onnx.ModelProto, images: Sequence[Feeds], outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
    import onnxruntime

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            probe.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        rows = [session.run(list(outputs), dict(feeds)) for feeds in images]
    except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CalibrationError("ONNX Runtime does not take the graph", got=reason) from error
    return {name: np.stack([row[place] for row in rows]) for place, name in enumerate(outputs)}

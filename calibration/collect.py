# ruff: noqa: TID253  (this module is onnx code; whoever imports it wants onnx)
"""Measuring ranges in one pass: every tensor's extremes exactly, and a histogram of a sample of its values.

The graph itself computes each tensor's smallest and largest value and its sum (which is no number where any value is
none), and takes every k-th value, beginning at another place in each image. Only these leave ONNX Runtime: memory does
not grow with the number of images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from calibration.errors import CalibrationError
from calibration.graph import GraphMap
from calibration.histogram import MagnitudeHistogram

SAMPLE: Final = 1 << 14  # values of a tensor that one image adds to its histogram, where it has more
_GOLDEN: Final = 0.6180339887498949  # multiples of it, modulo 1, spread evenly: which value of k comes first


@dataclass(kw_only=True)
class Measured:
    """One tensor, over all images so far.

    Args:
        minimum: Exact; behind a ReLU it is taken as 0, which every range holds anyway.
        maximum: Exact.
        histogram: Of a sample of the values; of all where they are few.
    """

    minimum: float = math.inf
    maximum: float = -math.inf
    histogram: MagnitudeHistogram

    @property
    def largest(self) -> float:
        """Largest magnitude."""
        return max(abs(self.minimum), abs(self.maximum))


class RangeCollector:
    """Runs images through a graph and keeps what they say of its ranges.

    Args:
        graph: What is measured is :attr:`GraphMap.measured`.
        threads: Of ONNX Runtime; None leaves its default.

    Raises:
        CalibrationError: ONNX Runtime does not take the graph.
    """

    def __init__(self, graph: GraphMap, *, threads: int | None = None) -> None:
        import onnxruntime

        self._names = graph.measured
        self._strides = {name: _stride(graph.shape(name)) for name in self._names}
        probes, self._fetched = _with_probes(graph, self._names, self._strides)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                probes.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise CalibrationError("ONNX Runtime does not take the graph", got=_first_line(error)) from error
        self.images = 0
        self.whole = True  # false while an image is being added: an interrupt there leaves it half counted
        self.measured = {name: Measured(histogram=MagnitudeHistogram()) for name in self._names}

    def add(self, feeds: Mapping[str, NDArray[np.float32]]) -> None:
        """Run one image and add what it says.

        Args:
            feeds: The graph's inputs, one image.

        Raises:
            CalibrationError: A tensor holds a value that is no finite number, or the graph does not take the image;
                nothing was added.
        """
        place = (self.images + 1) * _GOLDEN % 1.0
        offsets = {
            _probe(name, "offset"): np.array([int(place * stride)], np.int64)
            for name, stride in self._strides.items()
            if stride > 1
        }
        try:
            fetched = self._session.run(self._fetched, {**feeds, **offsets})
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            raise CalibrationError(
                f"the graph does not take image {self.images + 1}",
                got=_first_line(error),
                wanted="its inputs, one image",
            ) from error
        values = dict(zip(self._fetched, fetched, strict=True))
        for name in self._names:
            if not math.isfinite(float(values[_probe(name, "sum")])):
                raise CalibrationError(
                    f"'{name}' holds a value that is no finite number (image {self.images + 1})",
                    next_step="look at the image and at the weights; ranges cannot be taken from it",
                )
        self.whole = False
        for name, one in self.measured.items():
            lowest = values.get(_probe(name, "min"))
            one.minimum = min(one.minimum, 0.0 if lowest is None else float(lowest))
            one.maximum = max(one.maximum, float(values[_probe(name, "max")]))
            one.histogram.add(values[_probe(name, "sample")])
        self.images += 1
        self.whole = True

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything that was measured, as arrays: :meth:`restore` goes on as if nothing had happened."""
        found: dict[str, NDArray[Any]] = {"images": np.array(self.images, np.int64)}
        for number, one in enumerate(self.measured.values()):
            found[f"{number}.extremes"] = np.array([one.minimum, one.maximum], np.float64)
            found |= {f"{number}.{key}": value for key, value in one.histogram.state().items()}
        return found

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what :meth:`state` gave, for the same graph.

        Raises:
            CalibrationError: It is not such a state.
        """
        refusal = "the interrupted calibration cannot be continued"
        if state.keys() != self.state().keys():
            raise CalibrationError(refusal, got="a state of another graph", next_step="calibrate anew")
        found: dict[str, Measured] = {}
        try:
            for number, name in enumerate(self._names):
                lowest, highest = (float(value) for value in state[f"{number}.extremes"])
                prefix = f"{number}."
                parts = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
                del parts["extremes"]
                histogram = MagnitudeHistogram.from_state(parts)
                found[name] = Measured(minimum=lowest, maximum=highest, histogram=histogram)
            images = int(state["images"])
        except (TypeError, ValueError, CalibrationError) as error:
            raise CalibrationError(refusal, got=str(error), next_step="calibrate anew") from error
        self.measured, self.images = found, images


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _probe(name: str, kind: str) -> str:
    """What a measurement of a tensor is called; no exported graph has names like it."""
    return f"calibration.{kind}.{name}"


def _stride(shape: tuple[int, ...] | None) -> int:
    """Every how many values one is taken; it has no divisor in common with a row's length: all columns are visited.

    1, that is every value, where the shape is not known.
    """
    values = math.prod(shape[1:]) if shape and min(shape[1:], default=0) > 0 else 0
    stride = max(1, values // SAMPLE)
    while stride > 1 and shape is not None and math.gcd(stride, shape[-1]) > 1:
        stride += 1
    return stride


def _with_probes(
    graph: GraphMap, names: tuple[str, ...], strides: Mapping[str, int]
) -> tuple[onnx.ModelProto, list[str]]:
    """The part of the graph up to the last measured tensor, with the measurements as its outputs."""
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    needed = graph.leading_to(names)
    nodes = [node for node in graph.model.graph.node if needed.intersection(node.output)]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    constants = {"calibration.flat": np.array([-1], np.int64), "calibration.all": np.array([2**62], np.int64)}
    fetched: list[str] = []

    def add(op_type: str, inputs: list[str], output: str, *, fetch: bool = True, **attributes: Any) -> None:
        model.graph.node.append(helper.make_node(op_type, inputs, [output], **attributes))
        if fetch:
            fetched.append(output)
            model.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))

    for name in names:
        producer = graph.producers.get(name)
        if producer is None or producer.op_type != "Relu":
            add("ReduceMin", [name], _probe(name, "min"), keepdims=0)
        add("ReduceMax", [name], _probe(name, "max"), keepdims=0)
        add("ReduceSum", [name], _probe(name, "sum"), keepdims=0)
        add("Reshape", [name, "calibration.flat"], _probe(name, "flat"), fetch=False)
        stride = strides[name]
        if stride > 1:
            constants[f"calibration.every.{stride}"] = np.array([stride], np.int64)
            model.graph.input.append(helper.make_tensor_value_info(_probe(name, "offset"), TensorProto.INT64, [1]))
            constants["calibration.axis"] = np.array([0], np.int64)
            every = f"calibration.every.{stride}"
            inputs = [_probe(name, "flat"), _probe(name, "offset"), "calibration.all", "calibration.axis", every]
            add("Slice", inputs, _probe(name, "sample"))
        else:
            add("Identity", [_probe(name, "flat")], _probe(name, "sample"))
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model, fetched

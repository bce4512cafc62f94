"""Small convolutional graphs, and their ranges taken with numpy from every value of every tensor."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from calibration.graph import GraphMap
from calibration.qdq import Choice, write_uint8
from calibration.ranges import ConcatScales, Ranges
from calibration.table import METHODS, CalibrationTable, Fingerprint, TensorStatistics

F32 = NDArray[np.float32]
IMAGE = "image"
SIZE = 16
BLOCK = ("stem.out", "block.0.out", "block.1.out", "block.2.out", "block.3.out")
"""The tensors that meet in the detector's block."""


class Net:
    """Collects nodes; weights are He-initialised, so that values keep their size from layer to layer."""

    def __init__(self, *, seed: int = 0, batch: int | str = 1, channels: int = 3, size: int = SIZE) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._width = {IMAGE: channels}
        self._input = helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, [batch, channels, size, size])

    def node(self, op_type: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name=output, **attributes))
        self._width[output] = self._width.get(inputs[0], 0)
        return output

    def conv(
        self,
        name: str,
        source: str,
        width: int,
        *,
        kernel: int = 3,
        activation: str | None = "Relu",
        bias: bool = True,
        weight: F32 | None = None,
        **attributes: Any,
    ) -> str:
        """A convolution ``name``; what leaves it is ``name.out``, what it makes before an activation ``name.conv``."""
        fan_in = self._width[source] * kernel**2
        if weight is None:
            shape = (width, self._width[source], kernel, kernel)
            weight = (self.rng.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
        self.constants[f"{name}.weight"] = weight
        inputs = [source, f"{name}.weight"]
        if bias:
            self.constants[f"{name}.bias"] = (self.rng.standard_normal(width) * 0.2).astype(np.float32)
            inputs.append(f"{name}.bias")
        made = f"{name}.out" if activation is None else f"{name}.conv"
        attributes = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4, **attributes}
        self.nodes.append(helper.make_node("Conv", inputs, [made], name=name, **attributes))
        self._width[made] = width
        if activation == "Clip":
            self.constants.setdefault("zero", np.array(0, np.float32))
            self.constants.setdefault("six", np.array(6, np.float32))
            return self.node("Clip", [made, "zero", "six"], f"{name}.out")
        return made if activation is None else self.node(activation, [made], f"{name}.out")

    def concat(self, sources: Sequence[str], output: str) -> str:
        self.node("Concat", sources, output, axis=1)
        self._width[output] = sum(self._width[source] for source in sources)
        return output

    def pool(self, source: str, output: str) -> str:
        return self.node("MaxPool", [source], output, kernel_shape=[2, 2], strides=[2, 2])

    def l2norm(self, source: str, output: str) -> str:
        """``gamma * x / ||x||`` over the channels, as float operators."""
        self.constants["channel"] = np.array([1], np.int64)
        self.constants["gamma"] = np.full((1, self._width[source], 1, 1), 4, np.float32)
        self.node("Mul", [source, source], f"{output}.squares")
        self.node("ReduceSum", [f"{output}.squares", "channel"], f"{output}.sum", keepdims=1)
        self.constants["least"] = np.array(1e-6, np.float32)
        self.node("Add", [f"{output}.sum", "least"], f"{output}.positive")
        self.node("Sqrt", [f"{output}.positive"], f"{output}.norm")
        self.node("Div", [source, f"{output}.norm"], f"{output}.unit")
        return self.node("Mul", [f"{output}.unit", "gamma"], output)

    def flat(self, source: str, width: int) -> str:
        """A head's map as (batch, boxes, width)."""
        self.constants[f"rows.{width}"] = np.array([0, -1, width], np.int64)
        self.node("Transpose", [source], f"{source}.last", perm=[0, 2, 3, 1])
        return self.node("Reshape", [f"{source}.last", f"rows.{width}"], f"{source}.rows")

    def model(self, outputs: Iterable[str], *, opset: int = 13, declared: bool = True) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [self._input],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        inferred = shape_inference.infer_shapes(model, strict_mode=True)
        onnx.checker.check_model(inferred, full_check=True)
        return inferred if declared else model


def chain(**options: Any) -> Net:
    """Two convolutions with ReLU, the second without bias, a pool, and a convolution without ReLU."""
    net = Net(**options)
    net.conv("first", IMAGE, 8)
    net.conv("second", "first.out", 8, bias=False)
    net.pool("second.out", "pooled")
    net.conv("last", "pooled", 4, activation=None)
    return net


def detector_net(*, activation: str = "Relu", **options: Any) -> Net:
    """A block like HarDNet's, a pool with a skip around a convolution, an L2Norm, and two heads with loc and conf."""
    net = Net(**options)

    def conv(name: str, source: str, width: int, **more: Any) -> str:
        return net.conv(name, source, width, activation=activation, **more)

    stem = conv("stem", IMAGE, 8, strides=[2, 2])
    zero = conv("block.0", stem, 4)
    one = conv("block.1", net.concat([zero, stem], "block.1.in"), 6)
    two = conv("block.2", one, 4)
    three = conv("block.3", net.concat([two, one, stem], "block.3.in"), 6)
    block = net.concat([net.concat([zero, two], "block.inner"), three], "block.all")
    wide = conv("transition", block, 8, kernel=1)
    pooled = net.pool(wide, "pooled")
    extra = conv("extra", pooled, 8, bias=False)
    top = conv("top", net.concat([pooled, extra], "skip"), 8)
    parts: dict[str, list[str]] = {"loc": [], "conf": []}
    for level, source in enumerate((net.l2norm(wide, "normed"), top)):
        for head, width in (("loc", 4), ("conf", 3)):
            made = net.conv(f"{head}.{level}", source, 2 * width, activation=None)
            parts[head].append(net.flat(made, width))
    for head, rows in parts.items():
        net.concat(rows, head)
    return net


def detector(**options: Any) -> onnx.ModelProto:
    return detector_net(**options).model(["loc", "conf"])


def images(count: int = 3, *, seed: int = 1, channels: int = 3, size: int = SIZE) -> list[F32]:
    """Images with values around 0, each of shape (1, channels, size, size)."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((1, channels, size, size)).astype(np.float32) for _ in range(count)]


def run(model: onnx.ModelProto, image: F32, names: Sequence[str] | None = None) -> dict[str, F32]:
    """Values of the named tensors, or of the outputs."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    if names is not None:
        del probe.graph.output[:]
        probe.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [value.name for value in session.get_outputs()]
    return dict(zip(wanted, session.run(wanted, {IMAGE: image}), strict=True))


def optimised(model: onnx.ModelProto) -> onnx.ModelProto:
    """What ONNX Runtime makes of a graph here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


def named(model: onnx.ModelProto, op_type: str) -> list[onnx.NodeProto]:
    """All nodes of an operator."""
    return [node for node in model.graph.node if node.op_type == op_type]


def steps_away(model: onnx.ModelProto, quantised: onnx.ModelProto, image: F32 | None = None) -> float:
    """Largest difference of any output between two models, in 1/255 of that output's extent."""
    image = images(1, seed=9)[0] if image is None else image
    expected, got = run(model, image), run(quantised, image)
    assert expected.keys() == got.keys()
    return max(float(np.abs(expected[name] - got[name]).max() / (np.ptp(expected[name]) / 255)) for name in got)


def values_of(graph: GraphMap, inputs: Sequence[F32]) -> dict[str, F32]:
    """Every value of every measured tensor, over all images."""
    made = [name for name in graph.measured if name != IMAGE]
    rows = [{IMAGE: image, **run(graph.model, image, made)} for image in inputs]
    return {name: np.concatenate([row[name].ravel() for row in rows]) for name in graph.measured}


def table_of(graph: GraphMap, inputs: Sequence[F32]) -> CalibrationTable:
    """A table of the exact extremes; every method has the largest magnitude as its threshold."""
    tensors = {
        name: TensorStatistics(
            minimum=float(values.min()),
            maximum=float(values.max()),
            elements=values.size,
            thresholds=dict.fromkeys(METHODS, float(np.abs(values).max())),
            saturated=dict.fromkeys(METHODS, 0.0),
        )
        for name, values in values_of(graph, inputs).items()
    }
    structure, weights = graph.fingerprint()
    return CalibrationTable(
        method="minmax",
        fingerprint=Fingerprint(
            graph=structure, weights=weights, preprocess={}, data="noise", images="", count=len(inputs), seed=1
        ),
        tensors=tensors,
        snapshots={},
        versions={},
        command=(),
    )


def with_ranges(table: CalibrationTable, ranges: Mapping[str, tuple[float, float]]) -> CalibrationTable:
    """The table with other extremes for some tensors, and thresholds that go with them."""
    changed = {
        name: replace(
            table.tensors[name],
            minimum=low,
            maximum=high,
            thresholds=dict.fromkeys(METHODS, max(abs(low), abs(high))),
        )
        for name, (low, high) in ranges.items()
    }
    return replace(table, tensors={**table.tensors, **changed})


def ranges_of(graph: GraphMap, inputs: Sequence[F32] = (), *, concat_scales: ConcatScales = "unified") -> Ranges:
    return Ranges(graph, table_of(graph, inputs or images()), concat_scales)


def array(model: onnx.ModelProto, name: str) -> NDArray[Any]:
    """An initialiser's values."""
    return numpy_helper.to_array(next(tensor for tensor in model.graph.initializer if tensor.name == name))


def producer(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    """The node that makes a tensor."""
    return next(node for node in model.graph.node if name in node.output)


def written_uint8(net: Net, *outputs: str, choice: Choice | None = None) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A net's float model and its writing."""
    model = net.model(outputs)
    graph = GraphMap(model)
    quantised = write_uint8(graph, ranges_of(graph), choice or Choice())
    onnx.checker.check_model(quantised, full_check=True)
    return model, quantised

# ruff: noqa: TID253  (this module is torch and onnx code; whoever imports it wants both)
"""Writing a traced HarDNet network as ONNX nodes, one small function for each kind of module."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from hardnet_deploy.errors import ExportError
from hardnet_deploy.export.graph_builder import BATCH_AXIS, GraphBuilder, Shape
from hardnet_deploy.models.layers import concat
from hardnet_deploy.models.ssd import L2NORM_EPSILON, L2Norm, concat_rows, head_rows
from hardnet_deploy.models.trace import TracedNetwork, passes_through


def _array(tensor: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array


class NetworkWriter:
    """Writes the nodes of one traced network into a :class:`GraphBuilder`.

    Args:
        builder: Receives nodes and initialisers.
        traced: The network, in eval mode.
        batch: Images in a batch, or None for any number.
        size: Side of the input, in pixels.
    """

    def __init__(self, builder: GraphBuilder, traced: TracedNetwork, *, batch: int | None, size: int) -> None:
        self._builder = builder
        self._traced = traced
        probe = 1 if batch is None else batch
        first: str | int = BATCH_AXIS if batch is None else batch
        self._shapes = {node: (first, *shape[1:]) for node, shape in traced.shapes((probe, 3, size, size)).items()}

    def write(self) -> tuple[str, ...]:
        """Write every node; returns the names of the network's outputs."""
        for node in self._traced.module.graph.nodes:
            if node.op == "placeholder":
                self._builder.input(self._name(node), self._shape(node))
            elif node.op == "call_module":
                self._module(node)
            elif node.op == "call_function":
                self._function(node)
        return tuple(self._name(node) for node in self._traced.output_nodes)

    def _name(self, node: Any) -> str:
        return self._traced.names[node]

    def _shape(self, node: fx.Node) -> Shape:
        return self._shapes[node]

    def _module(self, node: fx.Node) -> None:
        path = str(node.target)
        module = self._traced.module.get_submodule(path)
        if passes_through(module):
            return
        writer = _MODULE_WRITERS.get(type(module))
        if writer is None:
            raise ExportError(f"no ONNX writer for {type(module).__name__} at {path}")
        writer(self, module, path, node)

    def _function(self, node: fx.Node) -> None:
        writer = _FUNCTION_WRITERS.get(node.target)
        if writer is None:
            raise ExportError(f"no ONNX writer for the function {node.target}")
        writer(self, node)

    def _conv(self, module: nn.Conv2d, path: str, node: fx.Node) -> None:
        if isinstance(module.padding, str) or module.padding_mode != "zeros":
            raise ExportError(f"the convolution {path} pads by {module.padding_mode} {module.padding}: not exportable")
        inputs = [self._name(node.args[0]), self._builder.constant(f"{path}.weight", _array(module.weight))]
        if module.bias is not None:
            inputs.append(self._builder.constant(f"{path}.bias", _array(module.bias)))
        vertical, horizontal = module.padding
        self._builder.node(
            "Conv",
            inputs,
            self._name(node),
            self._shape(node),
            name=path,
            dilations=list(module.dilation),
            group=module.groups,
            kernel_shape=list(module.kernel_size),
            pads=[vertical, horizontal, vertical, horizontal],
            strides=list(module.stride),
        )

    def _batch_norm(self, module: nn.BatchNorm2d, path: str, node: fx.Node) -> None:
        parts = {name: getattr(module, name) for name in ("weight", "bias", "running_mean", "running_var")}
        inputs = [self._builder.constant(f"{path}.{name}", _array(value)) for name, value in parts.items()]
        self._builder.node(
            "BatchNormalization",
            [self._name(node.args[0]), *inputs],
            self._name(node),
            self._shape(node),
            name=path,
            epsilon=module.eps,
        )

    def _relu(self, _module: nn.ReLU, path: str, node: fx.Node) -> None:
        self._builder.node("Relu", [self._name(node.args[0])], self._name(node), self._shape(node), name=path)

    def _relu6(self, _module: nn.ReLU6, path: str, node: fx.Node) -> None:
        bounds = [
            self._builder.constant(f"relu6.{label}", np.array(value, np.float32))
            for label, value in (("min", 0.0), ("max", 6.0))
        ]
        self._builder.node("Clip", [self._name(node.args[0]), *bounds], self._name(node), self._shape(node), name=path)

    def _max_pool(self, module: nn.MaxPool2d, path: str, node: fx.Node) -> None:
        kernel, stride, padding = int(module.kernel_size), int(module.stride), int(module.padding)  # type: ignore[arg-type]  # square in every HarDNet
        source = node.args[0]
        assert isinstance(source, fx.Node)
        side = self._shape(source)[-1]
        assert isinstance(side, int)
        rounds_up = module.ceil_mode and (side + 2 * padding - kernel) % stride != 0
        self._builder.node(
            "MaxPool",
            [self._name(source)],
            self._name(node),
            self._shape(node),
            name=path,
            kernel_shape=[kernel, kernel],
            pads=[padding] * 4,
            strides=[stride, stride],
            # Written only where it changes the size: parsers disagree most about this attribute.
            **({"ceil_mode": 1} if rounds_up else {}),
        )

    def _global_pool(self, _module: nn.AdaptiveAvgPool2d, path: str, node: fx.Node) -> None:
        self._builder.node(
            "GlobalAveragePool", [self._name(node.args[0])], self._name(node), self._shape(node), name=path
        )

    def _flatten(self, _module: nn.Flatten, path: str, node: fx.Node) -> None:
        self._builder.node(
            "Flatten", [self._name(node.args[0])], self._name(node), self._shape(node), name=path, axis=1
        )

    def _linear(self, module: nn.Linear, path: str, node: fx.Node) -> None:
        weight = self._builder.constant(f"{path}.weight", _array(module.weight))
        bias = self._builder.constant(f"{path}.bias", _array(module.bias))
        inputs = [self._name(node.args[0]), weight, bias]
        self._builder.node("Gemm", inputs, self._name(node), self._shape(node), name=path, transB=1)

    def _l2norm(self, module: L2Norm, path: str, node: fx.Node) -> None:
        """X / (sqrt(sum_c x^2) + 1e-10) * weight, spelled out: LpNormalization guards division differently."""
        source_node = node.args[0]
        assert isinstance(source_node, fx.Node)
        source = self._name(source_node)
        full = self._shape(source_node)
        single: Shape = (full[0], 1, *full[2:])
        add, constant = self._builder.node, self._builder.constant
        square = add("Mul", [source, source], f"{path}.square", full)
        axes = constant(f"{path}.axes", np.array([1], np.int64))
        total = add("ReduceSum", [square, axes], f"{path}.sum", single, keepdims=1)
        root = add("Sqrt", [total], f"{path}.root", single)
        epsilon = constant(f"{path}.epsilon", np.array(L2NORM_EPSILON, np.float32))
        norm = add("Add", [root, epsilon], f"{path}.norm", single)
        unit = add("Div", [source, norm], f"{path}.unit", full)
        weight = constant(f"{path}.weight", _array(module.weight).reshape(1, -1, 1, 1))
        add("Mul", [unit, weight], self._name(node), full)

    def _concat(self, node: fx.Node) -> None:
        parts = node.args[0]
        assert isinstance(parts, list | tuple)
        self._builder.node("Concat", [self._name(part) for part in parts], self._name(node), self._shape(node), axis=1)

    def _head_rows(self, node: fx.Node) -> None:
        source, row = node.args
        assert isinstance(source, fx.Node)
        assert isinstance(row, int)
        first, channels, height, width = self._shape(source)
        name = self._name(source)
        nhwc = self._builder.node(
            "Transpose", [name], f"{name}.nhwc", (first, height, width, channels), perm=[0, 2, 3, 1]
        )
        # 0 copies the batch dimension, so that one graph serves any batch without shape arithmetic.
        shape = self._builder.constant(f"rows_of_{row}.shape", np.array([0, -1, row], np.int64))
        self._builder.node("Reshape", [nhwc, shape], self._name(node), self._shape(node))

    def _function_relu(self, node: fx.Node) -> None:
        self._builder.node("Relu", [self._name(node.args[0])], self._name(node), self._shape(node))

    def _item(self, node: fx.Node) -> None:
        """Both results of L2Norm are written already, under these names."""


_MODULE_WRITERS: dict[type[nn.Module], Callable[..., None]] = {
    nn.Conv2d: NetworkWriter._conv,
    nn.BatchNorm2d: NetworkWriter._batch_norm,
    nn.ReLU: NetworkWriter._relu,
    nn.ReLU6: NetworkWriter._relu6,
    nn.MaxPool2d: NetworkWriter._max_pool,
    nn.AdaptiveAvgPool2d: NetworkWriter._global_pool,
    nn.Flatten: NetworkWriter._flatten,
    nn.Linear: NetworkWriter._linear,
    L2Norm: NetworkWriter._l2norm,
}
_FUNCTION_WRITERS: dict[Any, Callable[[NetworkWriter, fx.Node], None]] = {
    concat: NetworkWriter._concat,
    concat_rows: NetworkWriter._concat,
    head_rows: NetworkWriter._head_rows,
    torch.relu: NetworkWriter._function_relu,
    operator.getitem: NetworkWriter._item,
}

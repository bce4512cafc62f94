# ruff: noqa: TID253  (this module is torch and onnx code; whoever imports it wants both)
"""A rival written as ONNX, so that ONNX Runtime and the quantiser have the same network that PyTorch is timed on.

HarDNet's own exporter knows HarDNet's operators; rivals are classifiers of a dozen operators, walked here by torch.fx.
What is written is compared with PyTorch before anybody times it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn

from hardnet_deploy.errors import ExportError
from hardnet_deploy.tensor_names import INPUT, LOGITS

OPSET: Final = 13
IR_VERSION: Final = 8
LARGEST_ERROR: Final = 1e-4
"""Of the logits' largest magnitude: the bar that every export against PyTorch has."""
SEED: Final = 0


def rival_onnx(module: nn.Module, *, name: str, size: int, batch: int = 1) -> onnx.ModelProto:
    """The network as ONNX: ``images`` [batch, 3, S, S] to ``logits`` [batch, 1000].

    Args:
        module: In eval mode, in float32, batch norms folded or not.
        name: Of the graph.
        size: S.
        batch: Fixed.

    Raises:
        ExportError: It has an operator that is not known here, or ONNX Runtime computes something else.
    """
    writer = _Writer(module, size, batch)
    model = writer.write(name)
    _hold_against(module, model, size, batch)
    return model


class _Writer:
    def __init__(self, module: nn.Module, size: int, batch: int) -> None:
        self._module, self._size, self._batch = module, size, batch
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._names: dict[fx.Node, str] = {}

    def write(self, name: str) -> onnx.ModelProto:
        traced = fx.symbolic_trace(self._module)
        shapes = _Shapes(traced)
        with torch.no_grad():
            shapes.run(torch.zeros(self._batch, 3, self._size, self._size))
        self._shapes = shapes.of
        for node in traced.graph.nodes:
            if node.op == "placeholder":
                self._names[node] = INPUT
            elif node.op == "output":
                (last,) = node.all_input_nodes
                self._node("Identity", [self._names[last]], LOGITS)
            else:
                self._names[node] = self._written(node, traced)
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [self._batch, 3, self._size, self._size])],
            [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, [self._batch, 1000])],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="hardnet-deploy"
        )
        onnx.checker.check_model(model)
        return model

    def _written(self, node: fx.Node, traced: fx.GraphModule) -> str:
        """The name of the node's output."""
        inputs = [self._names[one] for one in node.all_input_nodes]
        if node.op == "call_module":
            path = str(node.target)
            return self._layer(path, traced.get_submodule(path), node, inputs)
        if node.target in {operator.add, operator.iadd, torch.add} and len(inputs) == 2:
            return self._node("Add", inputs, node.name)
        if node.target is torch.flatten and node.args[1:] == (1,):
            return self._node("Flatten", inputs, node.name, axis=1)
        if node.target is nn.functional.adaptive_avg_pool2d:
            return self._averaged(node, inputs[0], node.args[1])
        raise ExportError(f"{node.op} {node.target} is not known to the writer of rivals' graphs")

    def _layer(self, path: str, layer: nn.Module, node: fx.Node, inputs: list[str]) -> str:
        writers: dict[type[nn.Module], Callable[[], str]] = {
            nn.Conv2d: lambda: self._conv(path, layer, inputs),  # type: ignore[arg-type]  # of that type by the key
            nn.Linear: lambda: self._node("Gemm", [*inputs, *self._weights(path, layer)], path, transB=1),
            nn.BatchNorm2d: lambda: self._batch_norm(path, layer, inputs),  # type: ignore[arg-type]  # as above
            nn.ReLU: lambda: self._node("Relu", inputs, node.name),
            nn.ReLU6: lambda: self._node("Clip", [*inputs, *self._bounds()], node.name),
            nn.MaxPool2d: lambda: self._max_pool(layer, node, inputs),  # type: ignore[arg-type]  # as above
            nn.AdaptiveAvgPool2d: lambda: self._averaged(node, inputs[0], getattr(layer, "output_size", None)),
            nn.Dropout: lambda: inputs[0],
            nn.Identity: lambda: inputs[0],
        }
        if type(layer) not in writers:
            raise ExportError(f"{path} is a {type(layer).__name__}, which the writer of rivals' graphs does not know")
        return writers[type(layer)]()

    def _conv(self, path: str, layer: nn.Conv2d, inputs: list[str]) -> str:
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise ExportError(f"{path} pads with something else than a number of zeros")
        rows, columns = layer.padding
        return self._node(
            "Conv",
            [*inputs, *self._weights(path, layer)],
            path,
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[rows, columns, rows, columns],
            dilations=list(layer.dilation),
            group=layer.groups,
        )

    def _batch_norm(self, path: str, layer: nn.BatchNorm2d, inputs: list[str]) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        names = [self._constant(f"{path}.{part}", getattr(layer, part).detach().numpy()) for part in parts]
        return self._node("BatchNormalization", [*inputs, *names], path, epsilon=layer.eps)

    def _max_pool(self, layer: nn.MaxPool2d, node: fx.Node, inputs: list[str]) -> str:
        kernel, stride, padding = (_pair(value) for value in (layer.kernel_size, layer.stride, layer.padding))
        if layer.ceil_mode or _pair(layer.dilation) != [1, 1]:
            raise ExportError(f"{node.name} rounds up or is dilated")
        return self._node("MaxPool", inputs, node.name, kernel_shape=kernel, strides=stride, pads=padding * 2)

    def _averaged(self, node: fx.Node, source: str, wanted: Any) -> str:
        """Adaptive average pooling to a fixed grid.

        Onto one cell it is GlobalAveragePool, onto cells of equal size AveragePool. Else cells overlap, and it is
        exactly a product with an averaging matrix from each side: A X B^T.
        """
        height, width = self._shapes[node.all_input_nodes[0]][2:]
        rows, columns = _pair(wanted)
        if (rows, columns) == (1, 1):
            return self._node("GlobalAveragePool", [source], node.name)
        if height % rows == width % columns == 0:
            kernel = [height // rows, width // columns]
            return self._node("AveragePool", [source], node.name, kernel_shape=kernel, strides=kernel)
        left = self._constant(f"{node.name}.rows", averaging(height, rows))
        right = self._constant(f"{node.name}.columns", np.ascontiguousarray(averaging(width, columns).T))
        half = self._node("MatMul", [left, source], f"{node.name}.half")
        return self._node("MatMul", [half, right], node.name)

    def _weights(self, path: str, layer: nn.Module) -> list[str]:
        return [self._constant(f"{path}.{key}", value.detach().numpy()) for key, value in layer.named_parameters()]

    def _bounds(self) -> list[str]:
        return [self._constant(name, np.float32(value)) for name, value in (("zero", 0), ("six", 6))]

    def _constant(self, name: str, value: NDArray[np.float32] | np.float32) -> str:
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value, np.float32), name)
        return name

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output


class _Shapes(fx.Interpreter):
    """Keeps the shape of every tensor."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.of: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor):
            self.of[n] = tuple(result.shape)
        return result


def averaging(size: int, cells: int) -> NDArray[np.float32]:
    """[cells, size]: row i averages from floor(i size / cells) to ceil((i + 1) size / cells), as torch pools."""
    matrix = np.zeros((cells, size), np.float32)
    for cell in range(cells):
        start, end = cell * size // cells, -(-(cell + 1) * size // cells)
        matrix[cell, start:end] = 1 / (end - start)
    return matrix


def _pair(value: Any) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


def _hold_against(module: nn.Module, model: onnx.ModelProto, size: int, batch: int) -> None:
    from hardnet_deploy.runners.ort import OrtRunner

    images = np.random.default_rng(SEED).standard_normal((batch, 3, size, size), np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(images)).numpy()
    found = OrtRunner(model).infer({INPUT: images})[LOGITS]
    worst, scale = float(np.abs(found - expected).max()), float(np.abs(expected).max())
    if not worst <= LARGEST_ERROR * scale:  # so that a NaN is refused
        raise ExportError(
            f"the ONNX graph of {model.graph.name} computes something else than PyTorch",
            got=f"off by {worst:.2e} of {scale:.2e}",
            wanted=f"at most {LARGEST_ERROR} of the largest logit",
        )

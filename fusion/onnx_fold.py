"""Batch norms of any ONNX graph folded into the Conv, ConvTranspose or Gemm before them.

Tensor names that other nodes read stay: the layer takes over the name of the batch norm's output. Its weight and bias
keep their names; a new bias is named after the weight.
"""
# ruff: noqa: TID253 - this file is ONNX code and is imported only by those who need onnx

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from fusion.conv_bn import Array, BatchNormStats, fold_batchnorm
from fusion.errors import FusionShapeError, FusionValueError
from fusion.onnx_graph import (
    GraphIndex,
    attribute,
    check_nodes,
    drop_names,
    drop_unread,
    first_name,
    float_array,
    is_standard,
    set_initializer,
    subgraphs,
)
from fusion.report import FoldedPair, FoldReport, NotFolded, Reason

_VERSIONS = {"BatchNormalization": (9, 14, 15), "Conv": (1, 11, 22), "ConvTranspose": (1, 11, 22), "Gemm": (9, 11, 13)}
"""Definitions of the operators that were read when this was written (onnx/onnx, docs/Changelog.md)."""
_FIRST_OPSET = 9  # before, BatchNormalization could normalise each position by itself
_LAYERS = ("Conv", "ConvTranspose", "Gemm")
_DTYPES = (np.float16, np.float32, np.float64)


@dataclass(frozen=True, kw_only=True)
class OnnxFoldResult:
    """A folded graph and what was done to it.

    Args:
        model: A new model.
        report: Every batch norm of the original, folded or not, with the reason. Nodes are called by their names, or by
            their first output where the name is missing or not unique.
    """

    model: onnx.ModelProto
    report: FoldReport

    @property
    def folded(self) -> tuple[FoldedPair, ...]:
        """The batch norms that are gone."""
        return self.report.folded

    @property
    def not_folded(self) -> tuple[NotFolded, ...]:
        """The batch norms that stay, each with its reason."""
        return self.report.not_folded

    @property
    def conv_to_batchnorm(self) -> Mapping[str, str]:
        """Name of each folded layer -> name of the batch norm whose output the layer computes now."""
        return self.report.conv_to_batchnorm


def fold_onnx(model: onnx.ModelProto) -> OnnxFoldResult:
    """A copy of ``model`` in which every batch norm that can be is part of the layer before it.

    Operator sets 9 to 22, and later ones that leave the definitions of the operators as they are. Weights and
    statistics are initializers or Constant nodes of float16, float32 or float64; computed in float64, rounded once.
    What only the folded nodes read is removed. Bodies of If, Loop and Scan and local functions are left alone; what
    they read of the main graph counts as a reader.

    Args:
        model: A valid model with its tensors loaded; not changed.

    Returns:
        The new model and a report in which each BatchNormalization node stands once.

    Raises:
        FusionModelError: A node lacks an input or output that ONNX demands, or a tensor does not fill its shape.
    """
    check_nodes(model.graph)
    index = GraphIndex(model)
    plans = [_plan(index, node, _opset(model)) for node in model.graph.node if is_standard(node, "BatchNormalization")]
    folded = onnx.ModelProto()
    folded.CopyFrom(model)
    _apply(folded, index, [plan for plan in plans if isinstance(plan, _Plan)])
    report = FoldReport(
        folded=tuple(plan.pair for plan in plans if isinstance(plan, _Plan)),
        not_folded=(*(plan for plan in plans if isinstance(plan, NotFolded)), *_nested(model)),
    )
    return OnnxFoldResult(model=folded, report=report)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plan:
    """One fold, worked out: the two nodes (by their first outputs, which are unique) and the new numbers."""

    pair: FoldedPair
    layer_output: str
    batchnorm_output: str
    weight: Array
    bias: Array


def _plan(index: GraphIndex, batchnorm: onnx.NodeProto, opset: int) -> _Plan | NotFolded:
    path = index.label(batchnorm)
    found = next(_obstacles(index, batchnorm, opset), None)
    if found is not None:
        return NotFolded(path=path, reason=found[0], detail=found[1])
    layer = index.producers[batchnorm.input[0]]
    try:
        weight, bias = _folded(index, layer, batchnorm)
    except FusionShapeError as error:
        return NotFolded(path=path, reason=Reason.CHANNEL_MISMATCH, detail=str(error))
    except FusionValueError as error:
        return NotFolded(path=path, reason=Reason.NUMBERS, detail=str(error))
    pair = FoldedPair(conv=index.label(layer), batchnorm=path, kind=layer.op_type, channels=len(bias))
    return _Plan(
        pair=pair, layer_output=layer.output[0], batchnorm_output=batchnorm.output[0], weight=weight, bias=bias
    )


def _obstacles(index: GraphIndex, batchnorm: onnx.NodeProto, opset: int) -> Iterator[tuple[Reason, str]]:
    """Why this batch norm stays; the first one decides."""
    source = batchnorm.input[0]
    layer = index.producers.get(source)
    if not _knows(opset, "BatchNormalization"):
        yield Reason.OPSET, f"opset {opset}"
    if attribute(batchnorm, "training_mode", 0):
        yield Reason.TRAIN_MODE, ""
    if any(batchnorm.output[1:]):
        yield Reason.EXTRA_OUTPUTS, ", ".join(name for name in batchnorm.output[1:] if name)
    if layer is None:
        first = source in index.inputs
        yield (Reason.BATCHNORM_FIRST if first else Reason.AFTER_OTHER), f"its input is {source}"
        return
    if not is_standard(layer, *_LAYERS):
        yield Reason.AFTER_OTHER, f"it follows {layer.op_type} {index.label(layer)}"
    if not _knows(opset, layer.op_type):
        yield Reason.OPSET, f"{layer.op_type} of opset {opset}"
    if source in index.outputs:
        yield Reason.CONV_OUTPUT_USED, f"{source} is an output of the graph"
    if index.reads[source] > 1:
        yield Reason.CONV_OUTPUT_USED, f"{source} is read {index.reads[source]} times"
    yield from _constant_obstacles(index, layer, batchnorm)


def _constant_obstacles(
    index: GraphIndex, layer: onnx.NodeProto, batchnorm: onnx.NodeProto
) -> Iterator[tuple[Reason, str]]:
    own = [name for name in layer.input[1:] if name]
    for name in (*own, *batchnorm.input[1:]):
        if index.constant(name) is None:
            yield Reason.WEIGHT_NOT_CONSTANT, name
        elif float_array(index.constant(name)) is None:
            yield Reason.DTYPE, f"{name} is not a floating tensor with its values loaded"
    for name in own:
        if any(index.reads[behind] > 1 for behind in index.sources(name)):
            yield Reason.WEIGHT_SHARED, name
    dtype = _array(index, own[0]).dtype
    if dtype not in _DTYPES:
        yield Reason.DTYPE, f"{own[0]} is {dtype}"


def _folded(index: GraphIndex, layer: onnx.NodeProto, batchnorm: onnx.NodeProto) -> tuple[Array, Array]:
    gamma, beta, mean, var = (_array(index, name) for name in batchnorm.input[1:5])
    stats = BatchNormStats(gamma=gamma, beta=beta, mean=mean, var=var, eps=attribute(batchnorm, "epsilon", 1e-5))
    weight = _array(index, layer.input[1])
    bias = _array(index, layer.input[2]) if len(layer.input) > 2 and layer.input[2] else None
    if layer.op_type == "Gemm":
        # alpha A B + beta C: alpha stays an attribute, beta goes into the bias, which has one number for each column.
        out_axis = 0 if attribute(layer, "transB", 0) else 1
        if weight.ndim != 2:
            raise FusionShapeError(f"a weight of shape {weight.shape} is no matrix")
        columns = weight.shape[out_axis]
        if bias is not None:
            bias = _columns(bias, columns) * np.float64(attribute(layer, "beta", 1.0))
        return fold_batchnorm(weight, bias, stats, out_axis=out_axis)
    transposed = layer.op_type == "ConvTranspose"
    groups = int(attribute(layer, "group", 1)) if transposed else 1
    return fold_batchnorm(weight, bias, stats, out_axis=1 if transposed else 0, groups=groups)


def _columns(bias: Array, columns: int) -> Array:
    if any(side != 1 for side in bias.shape[:-1]) or bias.size not in (1, columns):
        raise FusionShapeError(f"bias of shape {bias.shape} is not one number for each of {columns} columns")
    return np.broadcast_to(bias.reshape(-1), (columns,))


def _apply(model: onnx.ModelProto, index: GraphIndex, plans: list[_Plan]) -> None:
    """Carry out ``plans``, which were made on the graph of ``index``, in its copy ``model``."""
    nodes = {node.output[0]: node for node in model.graph.node if node.output}
    taken = index.names()
    unread: set[str] = set()
    for plan in plans:
        layer = nodes[plan.layer_output]
        for name in (*layer.input[1:], *nodes[plan.batchnorm_output].input[1:]):
            unread.update(index.sources(name))
        weight = layer.input[1]
        bias = layer.input[2] if len(layer.input) > 2 and layer.input[2] else _bias_name(weight, taken)
        set_initializer(model, weight, plan.weight)
        set_initializer(model, bias, plan.bias)
        del layer.input[2:]
        layer.input.append(bias)
        if layer.op_type == "Gemm":
            _drop_attribute(layer, "beta")
    # The order matters: only when the batch norm is gone may the layer take over the name of its output.
    for plan in plans:
        model.graph.node.remove(nodes[plan.batchnorm_output])
        nodes[plan.layer_output].output[0] = plan.batchnorm_output
    drop_names(model, {plan.layer_output for plan in plans})
    drop_unread(model, unread)


def _bias_name(weight: str, taken: set[str]) -> str:
    name = f"{weight.removesuffix('.weight')}.bias" if weight.endswith(".weight") else f"{weight}_bias"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _drop_attribute(node: onnx.NodeProto, name: str) -> None:
    kept = [one for one in node.attribute if one.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _array(index: GraphIndex, name: str) -> Array:
    array = float_array(index.constant(name))
    assert array is not None, name  # _obstacles has looked
    return array


def _opset(model: onnx.ModelProto) -> int:
    return max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=0)


def _knows(opset: int, operator: str) -> bool:
    if not _FIRST_OPSET <= opset <= onnx.defs.onnx_opset_version():
        return False
    return onnx.defs.get_schema(operator, max_inclusive_version=opset).since_version in _VERSIONS[operator]


def _nested(model: onnx.ModelProto) -> Iterator[NotFolded]:
    """The batch norms in bodies of control-flow nodes and in local functions."""
    for node in model.graph.node:
        yield from _in_bodies(node, node.name or first_name(node.output))
    for function in model.functions:
        for node in function.node:
            yield from _batchnorms_of(node, function.name)


def _in_bodies(node: onnx.NodeProto, path: str) -> Iterator[NotFolded]:
    for body in subgraphs(node):
        for inner in body.node:
            yield from _batchnorms_of(inner, f"{path}/{body.name}")


def _batchnorms_of(node: onnx.NodeProto, around: str) -> Iterator[NotFolded]:
    path = f"{around}/{node.name or first_name(node.output)}"
    if is_standard(node, "BatchNormalization"):
        yield NotFolded(path=path, reason=Reason.IN_SUBGRAPH, detail=around)
    yield from _in_bodies(node, path)

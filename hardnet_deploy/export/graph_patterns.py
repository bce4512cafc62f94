"""Parts of a graph that several checks and passes look for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hardnet_deploy.export.graph_view import QDQ, GraphView

if TYPE_CHECKING:
    import onnx

WEIGHTED: Final = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_NORM: Final = frozenset({"Add", "Max", "Clip", "Expand", "Sqrt", "ReduceSum", "ReduceL2", "Mul", "Pow"})
_NORM_BEGINS: Final = frozenset({"Mul", "Pow", "ReduceL2"})


def l2norm_outputs(view: GraphView) -> Iterator[str]:
    """Outputs of the nodes of each L2 norm: x / (sqrt(sum(x * x)) + epsilon) * weight, or an operator that is one."""
    for node in view.graph.node:
        if node.op_type in {"LpNormalization", "ReduceL2"}:
            yield node.output[0]
        if node.op_type != "Div":
            continue
        chain, name = [node], node.input[1]
        while (maker := view.makers.get(view.before_quantisation(name))) is not None:
            if maker.op_type not in _NORM:
                break
            chain.append(maker)
            if maker.op_type in _NORM_BEGINS:
                break
            name = next((one for one in maker.input if not view.is_constant(one)), "")
        operators = {one.op_type for one in chain}
        if {"Sqrt", "ReduceSum"} <= operators or "ReduceL2" in operators:
            gains = [one for one in readers_behind(view, node.output[0]) if one.op_type == "Mul"]
            yield from (one.output[0] for one in (*chain, *gains))


def readers_behind(view: GraphView, name: str, through: frozenset[str] = QDQ) -> Iterator[onnx.NodeProto]:
    """What reads a tensor, looking through operators of these types."""
    for node in view.readers(name):
        if node.op_type in through:
            yield from readers_behind(view, node.output[0], through)
        else:
            yield node

"""What a weakly typed network (8.x, and 10 with flags) holds in FP32: the same for a plan built here and for a kit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hardnet_deploy.target_spec import Precision

if TYPE_CHECKING:
    import onnx

    from calibration.graph import GraphMap


@dataclass(frozen=True, kw_only=True)
class FloatParts:
    """Names of ONNX nodes, as :data:`hardnet_deploy.device.run_engine.SETTINGS` has them.

    Args:
        fp32_layers: Compute and write in FP32.
        fp32_outputs: May compute in INT8, and write in FP32.
    """

    fp32_layers: tuple[str, ...] = ()
    fp32_outputs: tuple[str, ...] = ()

    def settings(self) -> dict[str, list[str]]:
        """For :func:`hardnet_deploy.device.run_engine.build`, and for JSON."""
        return {name: list(nodes) for name, nodes in asdict(self).items()}


def float_parts(
    model: onnx.ModelProto,
    precision: Precision,
    *,
    graph: GraphMap | None = None,
    left: frozenset[str] = frozenset(),
) -> FloatParts:
    """Decide them.

    L2Norm, softmax, decoding and NMS stay FP32. With INT8 scales beside the graph, so does everything from the heads'
    outputs on: the scale of a head's output is one for all that it is joined with, too coarse for logits.

    A layer that computes in INT8 and feeds one that is held has a scale for its output, too, and an output type that is
    not set TensorRT chooses by what the layer computes in (TensorRT 8.6, NvInfer.h, ``ILayer::setOutputType``): the
    held one would read 8 bits. So such layers write FP32, as they do in the Q/DQ writing, where quantisation stands on
    the inputs of INT8 layers alone; it is that writing whose mAP a search measures. What only moves values on the way,
    a pooling or a concatenation, has a scale of its own and is held as well. Behind a concatenation that may be half of
    a block: the price of every layer that reads one and is left in float.

    Args:
        model: As TensorRT's parser gets it.
        precision: Of the build.
        graph: The layers that can be INT8 by a scale; None without INT8, and for a graph that has Q/DQ itself.
        left: Names of those that stay float.
    """
    from hardnet_deploy.export.islands import float32_islands

    islands = () if precision == "fp32" else float32_islands(model)
    if graph is None:
        return FloatParts(fp32_layers=islands)
    heads, movers = _heads(graph)
    first = (unit.name for unit in graph.units if unit.name in left)
    held = dict.fromkeys([*first, *islands, *movers])
    sources = _sources(graph, frozenset(held))
    on_the_way = (node.name for node in graph.model.graph.node if sources.intersection(_moved_by(graph, node)))
    layers = tuple(dict.fromkeys([*held, *filter(None, on_the_way)]))
    wanted = heads | sources
    makers = [graph.producers[unit.output].name for unit in graph.units if unit.output in wanted]
    return FloatParts(fp32_layers=layers, fp32_outputs=tuple(name for name in makers if name and name not in layers))


def _sources(graph: GraphMap, held: frozenset[str]) -> set[str]:
    """Tensors that held nodes read, and those whose values are in them."""
    found: set[str] = set()
    pending = [name for node in graph.model.graph.node if node.name in held for name in node.input]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += graph.moved(name)
    return found


def _moved_by(graph: GraphMap, node: onnx.NodeProto) -> tuple[str, ...]:
    """What a node writes, where it only moves values; nothing of any other."""
    return tuple(name for name in node.output if graph.moved(name))


def _heads(graph: GraphMap) -> tuple[set[str], tuple[str, ...]]:
    """The heads' outputs, and nodes that only move them."""
    from calibration.graph import MOVES

    ahead: set[str] = set()
    layers = {unit.source for unit in graph.units}
    for node in reversed(graph.model.graph.node):
        if (layers | ahead).intersection(node.output):
            ahead.update(node.input)
    heads = {unit.output for unit in graph.units if unit.output not in layers | ahead}
    moved, movers = set(heads), []
    for node in graph.model.graph.node:
        if node.op_type in MOVES and moved.intersection(node.input):
            movers.append(node.name)
            moved.update(node.output)
    return heads, tuple(filter(None, movers))

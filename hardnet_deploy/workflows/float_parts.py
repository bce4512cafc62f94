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
    outputs on: the scale of a head's output is one for all that it is joined with, too coarse for logits, and where a
    layer's output type is not set, TensorRT chooses it by what the layer computes in (TensorRT 8.6, NvInfer.h,
    ``ILayer::setOutputType``). The Q/DQ writing has no pair there.

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
    makers, movers = _heads(graph)
    first = (unit.name for unit in graph.units if unit.name in left)
    layers = tuple(dict.fromkeys([*first, *islands, *movers]))
    return FloatParts(fp32_layers=layers, fp32_outputs=tuple(name for name in makers if name not in layers))


def _heads(graph: GraphMap) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Nodes that make the heads' outputs, and nodes that only move them."""
    from calibration.graph import MOVES

    ahead: set[str] = set()
    layers = {unit.source for unit in graph.units}
    for node in reversed(graph.model.graph.node):
        if (layers | ahead).intersection(node.output):
            ahead.update(node.input)
    heads = [unit.output for unit in graph.units if unit.output not in layers | ahead]
    makers = [graph.producers[name].name for name in heads]
    moved, movers = set(heads), []
    for node in graph.model.graph.node:
        if node.op_type in MOVES and moved.intersection(node.input):
            movers.append(node.name)
            moved.update(node.output)
    return tuple(filter(None, makers)), tuple(filter(None, movers))

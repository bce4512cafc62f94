"""What ONNX Runtime makes of a graph on this machine: which convolutions really run in INT8."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hardnet_deploy.errors import ExportError

if TYPE_CHECKING:
    import onnx

INTEGER_CONVOLUTIONS: Final = frozenset({"QLinearConv", "ConvInteger"})
FLOAT_CONVOLUTIONS: Final = frozenset({"Conv", "FusedConv", "NhwcFusedConv"})
RENAMED: Final = re.compile(r"_token_[0-9]+$")  # what ONNX Runtime adds to the name of a node that it makes anew


@dataclass(frozen=True, kw_only=True)
class OptimisedGraph:
    """What is left after ONNX Runtime's optimisations.

    Args:
        achieved: For each convolution asked for ``int8`` or ``fp32``.
        integer_convolutions: How many convolutions compute on integers.
        float_convolutions: Names of those that compute on floats.
        float_relus: Names of ReLUs that stand alone, in float, and whose values become integers again behind them. One
            that only floats follow, such as the average pooling at the end of a ResNet, is none.
        operators: How often each operator occurs.
        unasked: Names of integer convolutions whose weight nobody stored as integers: ONNX Runtime did it by itself.
    """

    achieved: Mapping[str, str]
    integer_convolutions: int
    float_convolutions: tuple[str, ...]
    float_relus: tuple[str, ...]
    operators: Mapping[str, int]
    unasked: tuple[str, ...] = ()


def optimise(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph that ONNX Runtime executes on this machine, every optimisation applied.

    Raises:
        ExportError: ONNX Runtime refuses the graph.
    """
    import onnx as onnx_package
    import onnxruntime

    with tempfile.TemporaryDirectory(prefix="hardnet-deploy-") as folder:
        path = Path(folder) / "optimised.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # it warns that this file suits this machine only: that is what is asked
        options.optimized_model_filepath = str(path)
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base but Exception
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ExportError("ONNX Runtime does not take the engine's graph", got=reason) from error
        return onnx_package.load(path)


def inspect(optimised: onnx.ModelProto, weights: Mapping[str, str]) -> OptimisedGraph:
    """Which convolutions became integer ones.

    Args:
        optimised: What :func:`optimise` gave.
        weights: Name of each convolution's weight, by the convolution's name: of its integers where it is stored as
            some. A convolution is recognised by its weight: optimisations rename nodes, not initialisers.
    """
    asked, integer, rounded = set(weights.values()), set[str](), _rounded_later(optimised)
    count = 0
    floats, relus, unasked = [], [], []
    operators: dict[str, int] = {}
    for node in optimised.graph.node:
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
        if node.op_type in INTEGER_CONVOLUTIONS:
            count += 1
            integer.update(node.input)
            if asked.isdisjoint(node.input):
                unasked.append(RENAMED.sub("", node.name))
        elif node.op_type in FLOAT_CONVOLUTIONS:
            floats.append(node.name)
        elif node.op_type == "Relu" and not rounded.isdisjoint(node.output):
            relus.append(node.name)
    return OptimisedGraph(
        achieved={name: "int8" if weight in integer else "fp32" for name, weight in weights.items()},
        integer_convolutions=count,
        float_convolutions=tuple(floats),
        float_relus=tuple(relus),
        operators=operators,
        unasked=tuple(unasked),
    )


def _rounded_later(model: onnx.ModelProto) -> set[str]:
    """Tensors that go into a QuantizeLinear, or into something that does."""
    found: set[str] = set()
    for node in reversed(model.graph.node):  # ONNX has them in topological order
        if node.op_type == "QuantizeLinear" or not found.isdisjoint(node.output):
            found.update(node.input)
    return found


def fallbacks(found: OptimisedGraph, requested: Iterable[str]) -> tuple[str, ...]:
    """Convolutions that were to be INT8 and are not."""
    return tuple(name for name in requested if found.achieved.get(name) != "int8")

"""What is asked of an fp16-typed graph: its islands are float32, and its target takes precision from the graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from hardnet_deploy.export.graph_view import Finding, GraphView, dtype_name, node_finding
from hardnet_deploy.export.islands import Island, islands
from hardnet_deploy.export.parser_table import PLUGIN_SOURCE, WEAKLY_TYPED
from hardnet_deploy.targets import Target

if TYPE_CHECKING:
    import onnx

_HALF: Final = "FLOAT16"
_L2NORM: Final = "https://github.com/NVIDIA/TensorRT/issues/1954"
_TYPING: Final = (
    "https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/advanced.html (strongly typed networks)"
)
_FORBIDDEN: Final[Mapping[Island, tuple[str, str]]] = MappingProxyType(
    {
        "l2norm": ("an L2 norm must compute in float32: in float16 its sum overflows and its epsilon is 0", _L2NORM),
        "softmax": ("softmax must compute in float32: scores near 1 are told apart by their last bits", _L2NORM),
        "decode": ("boxes must be decoded in float32: 11 bits are over a pixel at 512", PLUGIN_SOURCE),
        "nms": ("the NMS and all behind it must be float32: boxes and scores lose their order", PLUGIN_SOURCE),
    }
)


def is_half_typed(view: GraphView) -> bool:
    """True where a stored or computed tensor of the main graph is float16."""
    names = (*(tensor.name for tensor in view.graph.initializer), *view.makers)
    return any(dtype_name(view.dtype(name)) == _HALF for name in names)


def check_half(view: GraphView, target: Target) -> Iterator[Finding]:
    """Nothing for a float32 graph; for an fp16-typed one what must not be float16 and is.

    Args:
        view: Its element types are read from ``value_info``.
        target: One whose TensorRT is only weakly typed is refused: there fp16 is a flag of the build.
    """
    if not is_half_typed(view):
        return
    kinds = islands(view)
    decodes = any(node.op_type == "Exp" for node in view.graph.node)  # else what ends the graph is no decoding
    for node, kind in zip(view.graph.node, kinds, strict=True):
        if kind is None or kind not in _FORBIDDEN or (kind == "decode" and not decodes):
            continue
        if _touches_half(node, view):
            yield node_finding("error", node, f"half-{kind}", *_FORBIDDEN[kind])
    families = [family for family in target.tensorrt_families if family in WEAKLY_TYPED]
    if families:
        yield Finding(
            severity="error",
            node="",
            rule="half-typed",
            message=f"TensorRT {families[0]} takes fp16 as a flag of the build: give it the float32 graph",
            source=_TYPING,
        )


def _touches_half(node: onnx.NodeProto, view: GraphView) -> bool:
    if node.op_type == "Cast":
        return False
    return any(dtype_name(view.dtype(name)) == _HALF for name in (*node.input, *node.output) if name)

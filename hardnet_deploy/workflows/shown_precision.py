"""Whether an engine's layers bear out the precision that it was built in."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.kit.document import KitFolder
from hardnet_deploy.kit.layout import MODEL

NOT_SHOWN: Final = "not shown"


def node_names(layers: Iterable[str]) -> list[str]:
    """Names of nodes in names of layers, such as ``a + b``, ``PWN(a)`` and ``{ForeignNode[a...b]}``."""
    return [word for name in layers for word in re.split(r"[\s,+|()\[\]{}]+|\.{3}", name) if word]


def convolutions(kit: KitFolder) -> tuple[str, ...]:
    """Names of the convolutions in a kit's graph."""
    nodes = run_engine.onnx_nodes((kit.folder / MODEL).read_bytes())
    return tuple(node.name for node in nodes if node.op == "Conv" and node.name)


def asked_of_kit(kit: KitFolder) -> tuple[str, ...]:
    """Names of the convolutions that a kit's engine is to compute in its precision: all but those it holds in FP32."""
    held = kit.document["settings"].get("fp32_layers")
    return tuple(name for name in convolutions(kit) if name not in (held if isinstance(held, list) else ()))


def shortfall(precision: str, asked: Sequence[str], achieved: Mapping[str, str]) -> str | None:
    """A sentence where not all of ``asked`` compute in ``precision``; None where they do.

    Args:
        precision: Of the engine.
        asked: Names of the nodes that are to compute in it.
        achieved: Precision of each layer by the layer's name, which has the names of all its nodes.
    """
    by_node = {node: kind for layer, kind in achieved.items() for node in node_names([layer])}
    found = Counter(by_node.get(name, NOT_SHOWN) for name in asked)
    reached = found.pop(precision, 0)
    if reached == len(asked) and reached:
        return None
    others = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
    return f"{reached} of {len(asked)} convolution layers achieved {precision}" + (f" ({others})" if others else "")


def refuse_other_precision(kit: KitFolder, counts: Mapping[str, int]) -> None:
    """Refuse layers of which none, or in an FP32 engine some, are of a lower precision than FP32.

    Args:
        kit: It.
        counts: Number of layers by precision.

    Raises:
        ArtifactMismatchError: They are not of the kit.
    """
    precision = str(kit.document["precision"])
    lower = {"fp16", "int8"} & set(counts)
    if (precision == "fp32" and lower) or (precision != "fp32" and precision not in lower):
        raise ArtifactMismatchError(
            f"the layers are not of the kit {kit.folder}, whose engine is {precision}",
            got=", ".join(f"{count} layers in {name}" for name, count in sorted(counts.items())),
            next_step="build with the README's trtexec line, or leave --kit out",
        )


def asked_of_manifest(precision: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the layers that a manifest says were to compute in the engine's precision; empty where it does not."""
    by_layer = precision.get("requested_by_layer")
    wanted = precision.get("requested")
    return tuple(name for name, kind in by_layer.items() if kind == wanted) if isinstance(by_layer, Mapping) else ()

"""Builds of the small detector with the device file, on simulated modules."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from simulated_tensorrt import make
from small_int8 import detector_graph

from hardnet_deploy.device import run_engine
from hardnet_deploy.device.run_engine import EngineError, build, layer_precisions

NMS = "EfficientNMS_TRT"


@cache
def graph(batch: int | None = 1) -> bytes:
    return bytes(detector_graph(batch=batch).SerializeToString())


@cache
def nodes() -> dict[str, run_engine.Node]:
    return {node.name: node for node in run_engine.onnx_nodes(graph())}


def plugin_node() -> str:
    (name,) = [node.name for node in nodes().values() if node.op == NMS]
    return name


def module(device: tuple[str, str], **switches: Any) -> Any:
    return make(*device, console=False, **switches)


def refused(device: tuple[str, str], settings: dict[str, Any], *, content: bytes | None = None, **switches: Any) -> Any:
    with pytest.raises(EngineError) as caught:
        build(module(device, **switches), graph() if content is None else content, settings)
    return caught.value


def precision_of(built: dict[str, Any], node: str) -> str:
    """Of the layer that the node ended in; the builder joins the names of what it fuses by plus signs."""
    (found,) = [kind for name, kind in layer_precisions(built["layers"]).items() if node in name.split(" + ")]
    return found

"""What the reader of a roofline should know: of what model the bound is, and whose times are held against it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from hardnet_deploy.bench.graph_precision import FLOAT, typed_as
from hardnet_deploy.bench.layer_times import overhead_told
from hardnet_deploy.bench.peaks import DEVICES
from hardnet_deploy.bench.roofline import Roofline
from hardnet_deploy.workflows.roofline_fit import is_device_told
from hardnet_deploy.workflows.roofline_graph import RooflineGraph
from hardnet_deploy.workflows.roofline_times import LayerTimes

if TYPE_CHECKING:
    from hardnet_deploy.bench.graph_cost import LayerCost

DEFINITION: Final = (
    "bound of a layer = max(operations / peak, bytes / bandwidth); 2 operations a multiply-accumulate; direct"
    " convolution; every tensor and weight read once and written once a layer, no cache between layers, activations and"
    " batch norm in their convolution; of the network, the sum"
)
MODEL: Final = (
    "the bound is of direct convolution with every tensor once through DRAM: Winograd's algorithm needs fewer products,"
    " and caches hold tensors, so layers and networks can be faster than it"
)
NOMINAL: Final = "peaks of data sheets are dense rates at the nominal boost clock, which a card may exceed"
MEASURED: Final = "this machine's peaks are what it reached just now"
WITHOUT_NMS: Final = (
    "a model by name is counted up to its boxes and scores: NMS, whose cost depends on the boxes, is not"
)
HASH_DIGITS: Final = 12
NAMED: Final = 3
"""Layers without a time that are named."""


def notes(
    found: Sequence[Roofline], costs: Sequence[LayerCost], graph: RooflineGraph, times: LayerTimes | None
) -> tuple[str, ...]:
    """Sentences that belong beside the bounds and shares.

    Args:
        found: One for each target and precision.
        costs: Of the graph's layers.
        graph: What the bounds are of.
        times: What the shares are of.
    """
    texts = [MODEL]
    if any(one.device.name in DEVICES for one in found):
        texts.append(NOMINAL)
    if any(one.device.name not in DEVICES for one in found):
        texts.append(MEASURED)
    typed = typed_as(costs)
    if typed.mixed:
        rest = f", the rest {FLOAT}" if FLOAT in typed.macs else ""
        texts.append(
            f"{typed.words} of the multiply-accumulates{rest}: each layer is bounded by the peak of its own precision"
        )
    if any(one.data_dependent for one in costs):
        texts.append("NMS depends on the boxes: only its part that does not is counted")
    elif graph.detector and graph.identity["sha256"] is None:
        texts.append(WITHOUT_NMS)
    if times is not None and not times.is_of(graph):
        texts.append(
            f"the times are of another file, {times.label} ({_digest(times.sha256)}); the bounds are of"
            f" {graph.identity['label']} ({_digest(graph.identity['sha256'])})"
        )
    if times is not None and times.simulated:
        texts.append("a stand-in of TensorRT ran: these times, and shares of them, say nothing about any device")
    if times is not None:
        texts += _about_times(times, graph, next((one for one in found if one.measured_ms is not None), None))
    over = [layer.name for one in found for layer in one.layers if layer.share is not None and layer.share > 1]
    if over:
        are = "1 layer is faster than its" if len(over) == 1 else f"{len(over)} layers are faster than their"
        texts.append(f"{are} bound")
    return tuple(texts)


def _about_times(times: LayerTimes, graph: RooflineGraph, held: Roofline | None) -> Iterator[str]:
    """Of what the shares are, and what the times carry."""
    if held is None or held.measured_ms is None:
        return
    if held.run_ms:
        yield (
            f"the network's share is of a run without the profiler, {held.run_ms:.3f} ms (median); its layers sum up to"
            f" {held.measured_ms:.3f} ms with it"
        )
    else:
        yield (
            f"the network's share is of the layers that have a time, {held.measured_ms:.3f} ms with the profiler on:"
            " the time of a run without it is not known"
        )
    if times.overhead_percent is None:
        yield "times and shares of layers carry what the profiler adds, and how much that is was not measured"
    else:
        yield f"times and shares of layers carry what the profiler adds: {overhead_told(times.overhead_percent)}"
    if held.untimed:
        more = len(held.untimed) - NAMED
        names = f"{', '.join(held.untimed[:NAMED])}{f' and {more} more' if more > 0 else ''}"
        yield f"{len(held.untimed)} of {len(held.layers)} layers have no time: {names}"
    if held.device.name in DEVICES and not is_device_told(times):
        yield f"the profile does not tell which GPU ran it: {held.device.title} is what was asked for"
    if times.batch is None:
        yield f"the profile does not tell its batch: taken for {graph.identity['batch']}"
    yield from times.notes


def _digest(sha256: Any) -> str:
    return f"SHA-256 {sha256[:HASH_DIGITS]}" if sha256 else "no file"

from __future__ import annotations

from half_graphs import quantised
from small_int8 import FIRST, HEADS, LAYERS, backbone_graph, detector_graph

from hardnet_deploy.engines.requested import requested_precisions
from hardnet_deploy.export.half import to_half
from hardnet_deploy.target_spec import Precision

OPSET_OF_HALF_QDQ = 19
FP16: tuple[Precision, ...] = ("fp16",)
INT8: tuple[Precision, ...] = ("int8",)


def test_a_float_graph_is_asked_for_what_the_flags_and_layers_say() -> None:
    model = detector_graph()
    assert requested_precisions(model) == dict.fromkeys(LAYERS, "fp32")
    half = requested_precisions(model, flags=FP16, fp32_layers=HEADS)
    assert half == {**dict.fromkeys(LAYERS, "fp16"), **dict.fromkeys(HEADS, "fp32")}


def test_int8_needs_a_scale_and_no_other_wish() -> None:
    model = detector_graph()
    sources = {node.name: node.input[0] for node in model.graph.node if node.op_type == "Conv"}
    scaled = set(sources.values()) - {sources[LAYERS[1]]}
    found = requested_precisions(model, flags=(*INT8, *FP16), fp32_layers=(FIRST,), scaled=scaled)
    unscaled = [name for name in LAYERS if sources[name] == sources[LAYERS[1]]]
    assert found[FIRST] == "fp32"
    assert all(found[name] == "fp16" for name in unscaled)
    assert all(found[name] == "int8" for name in LAYERS if name not in {FIRST, *unscaled})
    assert requested_precisions(model, flags=INT8, scaled=set())[LAYERS[2]] == "fp32"


def test_the_types_of_a_typed_graph_say_it_all() -> None:
    assert set(requested_precisions(to_half(detector_graph()).model).values()) == {"fp16"}
    both = requested_precisions(to_half(quantised(opset=OPSET_OF_HALF_QDQ)).model)
    assert set(both.values()) == {"int8"}


def test_a_product_of_matrices_is_a_layer_and_is_never_asked_to_be_int8() -> None:
    model = backbone_graph()
    everything = {name for node in model.graph.node for name in node.input}
    found = requested_precisions(model, flags=INT8, scaled=everything)
    assert found["fc"] == "fp32"
    assert "int8" in found.values()

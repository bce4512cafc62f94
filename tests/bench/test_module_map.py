"""Titles of engines' layers back to the modules of the network."""

from __future__ import annotations

import pytest

from hardnet_deploy.bench.module_map import OTHER, REFORMATS, group_order, parts, place
from hardnet_deploy.models import registry
from hardnet_deploy.models.trace import trace

FOREIGN = "{ForeignNode[decode.offset...boxes]}"


@pytest.mark.parametrize(
    ("title", "module", "group"),
    [
        # ONNX Runtime
        ("base.0.relu_nchwc", "base.0", "stem"),
        ("base.3.layers.1.conv_token_40", "base.3.layers.1", "block base.3"),
        ("base.3.layers.1.layer2.norm_nchwc", "base.3.layers.1", "block base.3"),
        ("base.11.in.5", "base.11.in.5", "concatenations"),
        ("base.11.out", "base.11.out", "concatenations"),
        ("base.5_token_226", "base.5", "transitions"),
        ("base.13.1_token_144", "base.13", "bridge"),
        ("base.9.relu.dequantize/duplicated_token_11", "base.9", "reformats"),
        ("ReorderOutput_token_152", "", "reformats"),
        ("Transpose", "", "reformats"),
        ("conf.0.rows_dq", "conf.0", "heads"),
        ("decode.log_size/GatherSliceToSplitFusion", "decode", "softmax and decode"),
        ("scores", "scores", "softmax and decode"),
        ("nms.box_index", "nms", "NMS"),
        ("detection_classes", "nms", "NMS"),
        ("L2Norm.square", "L2Norm", "L2Norm"),
        # TensorRT
        ("base.0.conv + base.0.relu", "base.0", "stem"),
        ("PWN(base.8.layers.3.relu)", "base.8.layers.3", "block base.8"),
        ("loc.0 || conf.0", "loc.0 ... conf.0", "heads"),
        ("base.3.layers.0.relu copy", "base.3.layers.0", "concatenations"),
        ("Reformatting CopyNode for Input Tensor 0 to base.3.layers.1.conv + base.3.layers.1.relu", "base.3.layers.1",
         "reformats"),
        (FOREIGN, "decode ... boxes", "softmax and decode"),
        ("base.8.layers.7.conv + base.8.out", "base.8.layers.7 ... base.8.out", "block base.8"),
        ("base.1.relu.quantize + base.3.layers.0.conv", "base.3.layers.0", "block base.3"),
        ("L2Norm.norm_12", "L2Norm", "L2Norm"),
        ("bridge.1.conv + bridge.1.relu", "bridge.1", "bridge"),
        ("extras.0.relu", "extras.0", "extras"),
    ],
)  # fmt: skip
def test_a_title_finds_its_module(title: str, module: str, group: str) -> None:
    found = place(title, detector=True)
    assert (found.module, found.group) == (module, group)


def test_the_end_of_a_backbone_is_a_classifier_and_of_a_detector_a_bridge() -> None:
    assert place("base.16.3", detector=False).group == "classifier"
    assert place("base.16.3", detector=True).group == "bridge"


def test_a_foreign_title_is_told_by_the_nodes_in_it() -> None:
    found = place("__myl_ConvAddRelu_myl0_3", detector=True, nodes=("base.6.layers.2.conv", "base.6.layers.2.relu"))
    assert (found.module, found.group) == ("base.6.layers.2", "block base.6")


def test_its_own_name_goes_before_the_tensors_that_it_makes() -> None:
    assert place("base.0.conv", detector=True, nodes=("base.12.relu",)).module == "base.0"


@pytest.mark.parametrize(
    "title", ["__myl_Move_myl0_1", "(Unnamed Layer* 12) [Shuffle]", "{ForeignNode[base.0.conv...boxes]}", "database.0"]
)
def test_what_cannot_be_placed_says_why(title: str) -> None:
    found = place(title, detector=True)
    assert found.group == OTHER
    assert found.reason


def test_a_reformat_without_a_layer_says_so() -> None:
    found = place("ReorderInput", detector=True, op="ReorderInput")
    assert found.group == REFORMATS
    assert found.reason


@pytest.mark.parametrize("name", registry.names())
def test_every_tensor_of_every_model_has_its_place(name: str) -> None:
    spec = registry.get(name)
    for node, tensor in trace(registry.build(spec, device="meta")).names.items():
        if node.op == "output":
            continue
        found = place(tensor, detector=spec.is_detector)
        assert found.module, tensor
        assert found.group not in ({OTHER} if tensor == "images" else {OTHER, REFORMATS}), tensor


def test_parts_are_names_that_a_graph_may_have() -> None:
    assert parts("PWN(PWN(base.0.sigmoid), base.0.mul)_2") == ("base.0.sigmoid", "base.0.mul", "_2")
    assert parts(FOREIGN) == ("decode.offset", "boxes")
    assert parts("Reformatting CopyNode for Output Tensor 0 to loc.0") == ("loc.0",)


def test_groups_come_in_the_order_of_the_data() -> None:
    shuffled = ["NMS", "block base.11", "other", "block base.3", "stem", "heads", "reformats"]
    ordered = ["stem", "block base.3", "block base.11", "heads", "NMS", "reformats", "other"]
    assert sorted(shuffled, key=group_order) == ordered

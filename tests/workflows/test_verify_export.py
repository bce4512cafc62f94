"""The check that runs after every export: it passes what is right and names what is wrong."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from hardnet_deploy.export.onnx_export import build_graph
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.models import registry
from hardnet_deploy.models.initialise import initialise
from hardnet_deploy.specs import ModelSpec, Thresholds
from hardnet_deploy.workflows.seeded_inputs import crafted_candidates, seeded_pixels
from hardnet_deploy.workflows.verify_export import (
    DetectionParity,
    ExportVerification,
    verify_export,
)

BACKBONE = GraphOptions(outputs="detections", nms="efficient", thresholds=None, opset=13, batch=1)
DETECTOR = dataclasses.replace(BACKBONE, thresholds=Thresholds(score=0.03, iou=0.45, max_detections=100))


@pytest.fixture(scope="module")
def backbone() -> tuple[ModelSpec, nn.Module]:
    spec = registry.get("hardnet39ds")
    model = registry.build(spec)
    initialise(model, preprocess=spec.preprocess)
    return spec, model


@pytest.fixture(scope="module")
def detector() -> tuple[ModelSpec, nn.Module]:
    spec = registry.with_classes(registry.get("ssd300-hardnet68-voc"), ("cat", "dog"))
    model = registry.build(spec)
    initialise(model, preprocess=spec.preprocess)
    return spec, model


def exported(made: tuple[ModelSpec, nn.Module], options: GraphOptions) -> onnx.ModelProto:
    return build_graph(made[1], made[0], options, renames={}, doc="test")


def change(model: onnx.ModelProto, name: str, how: object) -> None:
    (tensor,) = [one for one in model.graph.initializer if one.name == name]
    tensor.CopyFrom(numpy_helper.from_array(how(numpy_helper.to_array(tensor)), name))  # type: ignore[operator]


def test_a_right_export_passes_and_says_what_was_compared(backbone: tuple[ModelSpec, nn.Module]) -> None:
    result = verify_export(backbone[1], exported(backbone, BACKBONE), backbone[0], BACKBONE)
    assert result.ok
    assert result.failures() == ()
    assert [tensor.name for tensor in result.tensors] == ["logits", "logits"]  # on noise and on pixels
    assert all(tensor.compared == 1000 for tensor in result.tensors)
    assert result.divergence is None


def test_a_dynamic_batch_is_run_at_more_than_one_size(backbone: tuple[ModelSpec, nn.Module]) -> None:
    options = dataclasses.replace(BACKBONE, batch=None)
    result = verify_export(backbone[1], exported(backbone, options), backbone[0], options)
    assert result.batches == (1, 2)
    assert [tensor.compared for tensor in result.tensors] == [1000, 1000, 2000, 2000]


@pytest.mark.parametrize(
    ("initialiser", "names"),
    [
        ("base.0.norm.bias", "base.0.norm"),
        ("base.6.layers.7.layer1.conv.weight", "base.6.layers.7.layer1.conv"),
        ("base.14.3.bias", "logits"),
    ],
)
def test_the_first_layer_that_diverges_is_named(
    backbone: tuple[ModelSpec, nn.Module], initialiser: str, names: str
) -> None:
    broken = exported(backbone, BACKBONE)
    change(broken, initialiser, lambda values: values + np.float32(0.05))
    result = verify_export(backbone[1], broken, backbone[0], BACKBONE)
    assert not result.ok
    assert result.divergence is not None
    assert result.divergence.name == names
    assert not result.divergence.within
    assert any(names in sentence for sentence in result.failures())


def test_a_wrong_prior_shows_in_the_boxes(detector: tuple[ModelSpec, nn.Module]) -> None:
    broken = exported(detector, DETECTOR)
    change(broken, "priors.centre", lambda values: np.roll(values, 1, axis=1))
    result = verify_export(detector[1], broken, detector[0], DETECTOR)
    failed = {tensor.name for tensor in result.tensors if not tensor.ok}
    assert failed == {"boxes"}


def test_an_nms_with_another_threshold_is_caught_on_crafted_boxes_even_without_detections(
    detector: tuple[ModelSpec, nn.Module],
) -> None:
    """The network itself finds nothing above 0.999; only the crafted boxes can show the wrong IoU threshold."""
    spec, model = detector
    options = dataclasses.replace(
        DETECTOR, nms="onnx", thresholds=Thresholds(score=0.999, iou=0.45, max_detections=100)
    )
    right = verify_export(model, exported(detector, options), spec, options)
    assert right.ok
    assert [part.reference for part in right.detections][:-1] == [0, 0, 0, 0]
    assert right.detections[-1].matched > 0
    broken = exported(detector, options)
    change(broken, "nms.iou_threshold", lambda values: values * np.float32(1.8))
    wrong = verify_export(model, broken, spec, options)
    assert not wrong.ok
    assert all(tensor.ok for tensor in wrong.tensors)
    assert "crafted" in " ".join(wrong.failures())


def test_nothing_compared_is_a_failure() -> None:
    nothing = ExportVerification(runner="none", batches=(), tensors=(), detections=())
    assert not nothing.ok
    assert nothing.failures() == ("nothing was compared",)
    empty = DetectionParity(what="x", reference=0, candidate=0, matched=0, share_wanted=1.0, required=True)
    assert not empty.ok


def test_nan_is_a_failure(backbone: tuple[ModelSpec, nn.Module]) -> None:
    broken = exported(backbone, BACKBONE)
    change(broken, "base.14.3.bias", lambda values: np.full_like(values, np.nan))
    result = verify_export(backbone[1], broken, backbone[0], BACKBONE)
    assert not result.ok
    assert result.as_dict()["tensors"][0]["max_abs"] is None


def test_inputs_are_the_same_every_time_and_in_the_range_of_pixels(backbone: tuple[ModelSpec, nn.Module]) -> None:
    preprocess = registry.get("ssd300-hardnet68-voc").preprocess
    first, second = seeded_pixels(preprocess, 2), seeded_pixels(preprocess, 2)
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])
    assert first.min() >= -123
    assert first.max() <= 255 - 104


def test_crafted_candidates_overlap_and_pass_the_threshold(detector: tuple[ModelSpec, nn.Module]) -> None:
    boxes, scores = crafted_candidates(detector[0], DETECTOR, 2)
    assert boxes.shape == (2, 11620, 4)
    assert scores.shape == (2, 11620, 3)
    passing = scores[scores > 0]
    assert passing.min() > 0.03
    for image in range(2):
        own = scores[image][scores[image] > 0]
        assert len(set(own.tolist())) == len(own)


def test_the_plugin_is_not_said_to_have_been_compared_with_itself(detector: tuple[ModelSpec, nn.Module]) -> None:
    result = verify_export(detector[1], exported(detector, DETECTOR), detector[0], DETECTOR)
    assert result.ok
    assert "NumPy reference" in result.runner
    assert not any("NMS of the file against its reference" in part.what for part in result.detections)
    assert "both by the NumPy reference" in result.detections[-1].what


def test_a_plugin_attribute_that_is_not_what_was_asked_is_caught(detector: tuple[ModelSpec, nn.Module]) -> None:
    broken = exported(detector, DETECTOR)
    (node,) = [node for node in broken.graph.node if node.op_type == "EfficientNMS_TRT"]
    (attribute,) = [entry for entry in node.attribute if entry.name == "iou_threshold"]
    attribute.f = 0.9
    assert not verify_export(detector[1], broken, detector[0], DETECTOR).ok


@pytest.mark.parametrize("name", ["loc", "conf"])
def test_an_inner_tensor_that_lost_its_name_is_not_skipped(detector: tuple[ModelSpec, nn.Module], name: str) -> None:
    renamed = exported(detector, DETECTOR)
    for node in renamed.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"{name}.lost" if entry == name else entry for entry in names]
    result = verify_export(detector[1], renamed, detector[0], DETECTOR)
    assert {tensor.name for tensor in result.tensors if not tensor.ok} == {name}


def test_boxes_are_compared_on_pixels_too(detector: tuple[ModelSpec, nn.Module]) -> None:
    result = verify_export(detector[1], exported(detector, DETECTOR), detector[0], DETECTOR)
    assert {(tensor.name, tensor.case.split(",")[0]) for tensor in result.tensors} == {
        (name, kind) for name in ("loc", "conf", "boxes", "scores") for kind in ("noise", "pixels")
    }
    assert result.skipped == ()


def test_boxes_that_are_infinite_in_pytorch_too_are_said_to_be_skipped(
    detector: tuple[ModelSpec, nn.Module],
) -> None:
    spec, model = detector
    wild = copy.deepcopy(model)
    with torch.no_grad():
        wild.get_parameter("base.0.conv.weight").mul_(5000)
    options = dataclasses.replace(DETECTOR, outputs="boxes", thresholds=None)
    result = verify_export(wild, exported((spec, wild), options), spec, options)
    assert any("overflows" in text for text in result.skipped)
    assert "skipped" in result.as_dict()


def test_the_targets_candidate_cap_reaches_the_reference_and_the_runner(detector: tuple[ModelSpec, nn.Module]) -> None:
    result = verify_export(detector[1], exported(detector, DETECTOR), detector[0], DETECTOR, candidate_cap=7)
    crafted = result.detections[-1]
    assert crafted.ok
    assert 0 < crafted.reference <= 7


def test_weights_that_make_huge_logits_on_pixels_are_not_refused(detector: tuple[ModelSpec, nn.Module]) -> None:
    """Weights made for inputs around 1: on pixels softmax would turn the logits' rounding into errors above 1e-4."""
    spec, model = detector
    loud = copy.deepcopy(model)
    with torch.no_grad():
        loud.get_parameter("base.0.conv.weight").mul_(64)
    result = verify_export(loud, exported((spec, loud), DETECTOR), spec, DETECTOR)
    assert result.ok, result.failures()
    assert any("image sides" in text for text in result.skipped)

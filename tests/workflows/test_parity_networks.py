"""Parity of a real network: PyTorch, unfused, fused, either NMS; and the first layer that diverges, by module name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from parity_pair import PICTURES, SPEC, change, pair

from hardnet_deploy.errors import UsageError
from hardnet_deploy.evaluate import layers
from hardnet_deploy.evaluate.tolerances import INNER_TENSOR
from hardnet_deploy.export.onnx_export import build_graph
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.models import registry
from hardnet_deploy.models.initialise import initialise
from hardnet_deploy.workflows.parity import run_parity
from hardnet_deploy.workflows.parity_inner import OnnxInner, TorchInner
from hardnet_deploy.workflows.parity_options import ParityRequest
from hardnet_deploy.workflows.parity_result import ParityResult

IMAGES = 2
SLOW = pytest.mark.slow
CLASSES = len(SPEC.class_names)
SAME_RESULT = 1e-6  # relative: another split of a sum of float32 products


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A second one gains nothing at this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def compare(candidate: Path | str, *, reference: Path | str | None = None, **options: Any) -> ParityResult:
    settings: dict[str, Any] = {"count": IMAGES, "tensor_images": 1, "resamples": 20, "data": pair().data} | options
    request = ParityRequest(reference=str(reference or pair().file), candidate=str(candidate), **settings)
    return run_parity(request, lambda *_: None)


def sentences(result: ParityResult) -> str:
    return " | ".join(failure.what for failure in result.failures)


def fails(candidate: Path, **options: Any) -> ParityResult:
    result = compare(candidate, **options)
    assert result.exit_code == 5
    assert result.detections is not None
    assert result.metric is not None
    return result


def test_pytorch_against_the_fused_export_passes_and_shares_every_layer_but_the_folded(tmp_path: Path) -> None:
    result = compare(pair().file, reference=pair().torch)
    assert result.passed, sentences(result)
    found = result.tensors.layers
    folded = [layer for layer in found.layers if layer.operation.startswith("BatchNorm2d")]
    assert {layer.candidate.split()[0] for layer in folded} == {"Conv"}
    assert found.only_reference == len(folded)  # the convolutions' outputs, gone into the batch norms'
    assert [layer.parity.name for layer in found.layers][:3] == ["images", "base.0.norm", "base.0.relu"]
    assert {layer.parity.name for layer in found.layers} >= {"loc", "conf", "L2Norm", "base.0.relu"}
    assert result.detections is not None
    assert result.detections.shown.reference > 10
    assert result.metric is not None
    assert result.metric.reference is not None
    assert result.metric.reference > 0.3
    identity = result.as_dict()["reference"]
    assert len(identity["state_sha256"]) == 64
    assert identity["engine"] == pair().torch


@pytest.mark.parametrize(
    "graph",
    [
        {"fused": False},
        {"nms": "onnx"},
        pytest.param({"outputs": "raw"}, marks=SLOW),
        pytest.param({"batch": 3}, marks=SLOW),
    ],
)
def test_fused_and_unfused_either_nms_and_any_batch_pass(tmp_path: Path, graph: dict[str, Any]) -> None:
    thresholds = {"thresholds": None} if graph.get("outputs") == "raw" else {}
    model = pair().graph(**graph, **thresholds)
    candidate = pair().save(tmp_path / "candidate.onnx", model, **thresholds)
    result = compare(candidate)
    assert result.passed, sentences(result)


@SLOW
def test_a_file_may_be_the_reference_and_pytorch_the_candidate() -> None:
    result = compare(pair().torch)
    assert result.passed, sentences(result)
    assert result.tensors.layers.only_candidate > 0


def test_pytorch_against_itself_is_exact() -> None:
    result = compare(pair().torch, reference=pair().torch, count=1)
    assert result.passed, sentences(result)
    assert {one.sqnr_text for one in result.tensors.outputs} == {"exact"}
    assert result.tensors.layers.only_reference == result.tensors.layers.only_candidate == 0


@pytest.mark.parametrize(
    ("initialiser", "layer", "operation", "against_pytorch"),
    [
        pytest.param("base.0.conv.bias", "base.0.norm", "Conv base.0.conv", False, marks=SLOW),
        ("base.8.layers.2.conv.bias", "base.8.layers.2.norm", "BatchNorm2d base.8.layers.2.norm -> Conv", True),
        pytest.param("conf.1.bias", "conf.1", "Conv conf.1", False, marks=SLOW),
    ],
)
def test_a_convolution_without_its_bias_is_named(
    tmp_path: Path, initialiser: str, layer: str, operation: str, against_pytorch: bool
) -> None:
    broken = change(pair().graph(), initialiser, np.zeros_like)
    reference = pair().torch if against_pytorch else None
    result = fails(pair().save(tmp_path / "broken.onnx", broken), reference=reference)
    first = result.tensors.layers.first
    assert first is not None
    assert first.parity.name == layer
    assert first.operation.startswith(operation)
    assert f"the first of {len(result.tensors.layers.layers)} inner tensors to diverge is '{layer}'" in sentences(
        result
    )


def test_the_layer_is_named_between_a_fused_and_an_unfused_file_too(tmp_path: Path) -> None:
    broken = change(pair().graph(fused=False), "base.8.layers.0.norm.bias", np.zeros_like)
    first = fails(pair().save(tmp_path / "broken.onnx", broken)).tensors.layers.first
    assert first is not None
    assert first.parity.name == "base.8.layers.0.norm"
    assert first.operation == "Conv base.8.layers.0.conv -> BatchNormalization base.8.layers.0.norm"


@pytest.mark.parametrize(
    "changes", [{"channel_order": "rgb"}, pytest.param({"mean": (123.0, 117.0, 104.0)}, marks=SLOW)]
)
def test_rgb_for_bgr_and_a_wrong_mean_are_named_as_pre_processing(tmp_path: Path, changes: dict[str, Any]) -> None:
    spec = dataclasses.replace(SPEC, preprocess=dataclasses.replace(SPEC.preprocess, **changes))
    result = fails(pair().save(tmp_path / "other.onnx", spec=spec))
    first = result.tensors.layers.first
    assert first is not None
    assert first.title == "images (pre-processing)"
    assert "'images (pre-processing)'" in sentences(result)


def swap(values: np.ndarray) -> np.ndarray:
    """Two classes of every default box exchanged in a class head's rows."""
    order = np.arange(CLASSES)
    order[[4, 11]] = 11, 4
    return values.reshape(-1, CLASSES, *values.shape[1:])[:, order].reshape(values.shape)


def test_swapped_class_channels_fail_in_tensors_detections_and_metric(tmp_path: Path) -> None:
    model = pair().graph()
    heads = [one.name for one in model.graph.initializer if one.name.startswith("conf.")]
    assert len(heads) == 12
    for name in heads:
        change(model, name, swap)
    result = fails(pair().save(tmp_path / "swapped.onnx", model))
    assert {failure.part for failure in result.failures} == {"tensors", "detections", "metric"}
    first = result.tensors.layers.first
    assert first is not None
    assert first.parity.name == "conf.0"


@SLOW
def test_a_wrong_prior_is_seen_in_the_decoding_and_nowhere_before(tmp_path: Path) -> None:
    model = change(pair().graph(), "priors.centre", lambda values: values + np.float32(0.05))
    result = fails(pair().save(tmp_path / "broken.onnx", model))
    assert {one.name for one in result.tensors.outputs if not one.ok} == {"boxes"}
    first = result.tensors.layers.first
    assert first is not None
    assert first.parity.name == "decode.centre"


def test_nan_weights_fail(tmp_path: Path) -> None:
    model = change(pair().graph(), "base.8.layers.2.conv.bias", lambda values: np.full_like(values, np.nan))
    result = fails(pair().save(tmp_path / "broken.onnx", model))
    assert "NaN in" in sentences(result)
    first = result.tensors.layers.first
    assert first is not None
    assert first.parity.name == "base.8.layers.2.norm"


@SLOW
def test_another_model_fails(tmp_path: Path) -> None:
    """The same architecture and head, but weights of its own: everything differs from the first layer on."""
    model = change(pair().graph(), "base.0.conv.weight", lambda values: values[::-1])
    first = fails(pair().save(tmp_path / "other.onnx", model)).tensors.layers.first
    assert first is not None
    assert first.parity.name == "base.0.norm"


def backbone(path: Path) -> Path:
    spec = registry.get("hardnet39ds")
    network = registry.build(spec)
    initialise(network, preprocess=spec.preprocess)
    options = GraphOptions(outputs="detections", nms="efficient", thresholds=None, opset=13, batch=1)
    model = build_graph(network, spec, options, renames={}, doc="test")
    return pair().save(path, model, spec=spec, thresholds=None)


@SLOW
def test_a_backbone_is_compared_by_its_tensors_alone_and_is_no_detector(tmp_path: Path) -> None:
    file = backbone(tmp_path / "backbone.onnx")
    result = compare(file, reference=file)
    assert result.passed, sentences(result)
    assert [one.name for one in result.tensors.outputs] == ["images", "logits"]
    assert result.detections is None
    assert result.metric is None
    document = result.as_dict()
    assert document["metric"] is None
    assert document["data"]["name"] == f"{pair().data}:val2017, first {IMAGES} of {PICTURES} images"
    assert document["data"]["images"] == IMAGES
    assert document["data"]["metric"] is None
    folder = compare(file, reference=file, data=str(pair().folder / "coco" / "val2017"))
    assert folder.passed, sentences(folder)
    assert folder.as_dict()["data"]["digest"] == document["data"]["digest"]  # the same images

    result = compare(file)
    assert result.exit_code == 5
    assert "the reference is a detector, the candidate a backbone" in sentences(result)
    assert "no common outputs" in sentences(result)


@SLOW
def test_detectors_are_not_compared_on_images_without_labels() -> None:
    with pytest.raises(UsageError, match="names no labelled data"):
        compare(pair().file, data=str(pair().folder / "coco" / "val2017"))


def inner(model: onnx.ModelProto, batch: int | None = 1) -> OnnxInner:
    return OnnxInner(model, batch=batch)


def test_both_kinds_of_network_give_the_same_tensors_under_the_same_names() -> None:
    draw = np.random.default_rng(0)
    images = draw.standard_normal((1, 3, 300, 300), dtype=np.float32)
    sides = TorchInner(pair().network, size=300), inner(pair().graph(fused=False))
    shared = [name for name in sides[1].tensors if name in sides[0].tensors]
    assert set(sides[0].tensors) == set(shared)
    assert shared[0] == "images"
    wanted, got = (side.values(images, shared) for side in sides)
    for name in shared:
        scale = np.abs(wanted[name]).max()
        assert np.abs(wanted[name] - got[name]).max() <= 1e2 * SAME_RESULT * scale, name
        for side, values in zip(sides, (wanted, got), strict=True):
            assert side.tensors[name].bytes == values[name].nbytes


def test_nothing_behind_the_boxes_and_scores_is_looked_at() -> None:
    names = inner(pair().graph(nms="onnx")).tensors
    assert {"boxes", "scores", "decode.centre", "images"} <= set(names)
    assert not any(name.startswith(("nms", "detection", "num_")) for name in names)


def test_a_fixed_batch_is_filled_up_and_cut_off() -> None:
    images = np.random.default_rng(0).standard_normal((1, 3, 300, 300), dtype=np.float32)
    single, triple = inner(pair().graph()), inner(pair().graph(batch=3), batch=3)
    names = ["images", "base.0.norm", "conf"]
    one, three = single.values(images, names), triple.values(images, names)
    for name in names:
        assert three[name].shape == one[name].shape
        assert np.abs(three[name] - one[name]).max() <= SAME_RESULT * np.abs(one[name]).max()


def test_memory_stays_within_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    original = OnnxInner.values

    def recorded(self: OnnxInner, images: np.ndarray, names: Any) -> Any:
        found = original(self, images, names)
        fetched.append(sum(value.nbytes for value in found.values()))
        return found

    monkeypatch.setattr(OnnxInner, "values", recorded)
    bound = 16 * 1024**2
    monkeypatch.setattr(layers, "BYTES_AT_ONCE", bound)
    images = np.zeros((1, 3, 300, 300), np.float32)
    side = inner(pair().graph())
    found = layers.compare_layers(side, inner(pair().graph()), [(images, images)], INNER_TENSOR)
    assert len(found.layers) > 100
    assert len(fetched) > 4
    assert max(fetched) <= bound

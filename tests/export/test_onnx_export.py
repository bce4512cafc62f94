"""What an exported graph is, and that it computes what PyTorch computes."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from fusion.torch_fold import FoldResult, fold_module
from hardnet_deploy.errors import ExportError
from hardnet_deploy.evaluate.tolerances import ONNX_AGAINST_TORCH
from hardnet_deploy.export.graph_checks import check_clean
from hardnet_deploy.export.onnx_export import build_graph
from hardnet_deploy.export.options import MAX_OPSET, MIN_OPSET, GraphOptions
from hardnet_deploy.models import registry
from hardnet_deploy.models.initialise import initialise
from hardnet_deploy.nms.boxes import decode_boxes, softmax
from hardnet_deploy.specs import ModelSpec, Thresholds

VOC = "ssd300-hardnet68-voc"
OPTIONS = GraphOptions(
    outputs="detections",
    nms="efficient",
    thresholds=Thresholds(score=0.03, iou=0.45, max_detections=300),
    opset=13,
    batch=1,
)


def made(
    name: str, *, classes: tuple[str, ...] | None = None, code_line: str = "pingolh"
) -> tuple[ModelSpec, nn.Module]:
    spec = registry.get(name)
    if classes:
        spec = registry.with_classes(spec, classes)
    model = registry.build(spec, code_line=code_line)
    initialise(model, preprocess=spec.preprocess)
    return spec, model


@pytest.fixture(scope="module")
def detector() -> tuple[ModelSpec, nn.Module]:
    return made(VOC)


@pytest.fixture(scope="module")
def folded_detector() -> tuple[ModelSpec, FoldResult]:
    spec, model = made(VOC, classes=("cat",))
    return spec, fold_module(model, torch.zeros(1, 3, 300, 300))


@pytest.fixture(scope="module")
def backbone() -> tuple[ModelSpec, nn.Module]:
    return made("hardnet39ds")


def images(spec: ModelSpec, batch: int) -> np.ndarray:
    size = spec.preprocess.size
    return np.random.default_rng(7).normal(0, 40, (batch, 3, size, size)).astype(np.float32)


def run(model: onnx.ModelProto, feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": feeds}), strict=True))


def write(made_model: tuple[ModelSpec, nn.Module], **changes: object) -> onnx.ModelProto:
    spec, model = made_model
    options = dataclasses.replace(OPTIONS, **changes)  # type: ignore[arg-type]  # a test's keywords
    return build_graph(model, spec, options, renames={}, doc="test")


def ops(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def close(got: np.ndarray, wanted: np.ndarray) -> None:
    assert_allclose(got, wanted, atol=ONNX_AGAINST_TORCH.atol, rtol=ONNX_AGAINST_TORCH.rtol)


@pytest.mark.parametrize("batch", [1, 3, None], ids=["1", "3", "dynamic"])
def test_backbone_logits_equal_torch(backbone: tuple[ModelSpec, nn.Module], batch: int | None) -> None:
    spec, model = backbone
    exported = write(backbone, batch=batch, thresholds=None)
    assert [value.name for value in exported.graph.output] == ["logits"]
    for size in (batch,) if batch else (1, 2, 5):
        feeds = images(spec, size)
        with torch.inference_mode():
            wanted = model(torch.from_numpy(feeds)).numpy()
        close(run(exported, feeds)["logits"], wanted)


def test_a_backbone_of_another_size(backbone: tuple[ModelSpec, nn.Module]) -> None:
    spec = registry.with_size(backbone[0], 160)
    exported = build_graph(backbone[1], spec, OPTIONS, renames={}, doc="test")
    feeds = images(spec, 1)
    with torch.inference_mode():
        close(run(exported, feeds)["logits"], backbone[1](torch.from_numpy(feeds)).numpy())


@pytest.mark.parametrize("code_line", registry.CODE_LINES)
def test_raw_and_boxes_equal_torch_and_the_reference_decoding(code_line: str) -> None:
    detector = made(VOC, classes=("cat", "dog"), code_line=code_line)
    spec, model = detector
    assert spec.head is not None
    feeds = images(spec, 2)
    with torch.inference_mode():
        loc, conf = (tensor.numpy() for tensor in model(torch.from_numpy(feeds)))
    raw = run(write(detector, outputs="raw", thresholds=None, batch=2), feeds)
    assert list(raw) == ["loc", "conf"]
    close(raw["loc"], loc)
    close(raw["conf"], conf)
    boxes = run(write(detector, outputs="boxes", thresholds=None, batch=2), feeds)
    assert list(boxes) == ["boxes", "scores"]
    close(boxes["boxes"], decode_boxes(loc, spec.head.priors(), spec.head.variances))
    close(boxes["scores"], softmax(conf))


@pytest.mark.parametrize("opset", range(MIN_OPSET, MAX_OPSET + 1))
def test_the_opset_asked_for_is_the_opset_in_the_file(detector: tuple[ModelSpec, nn.Module], opset: int) -> None:
    exported = write(detector, opset=opset, nms="onnx")
    assert [entry.version for entry in exported.opset_import if entry.domain == ""] == [opset]


@pytest.mark.parametrize("opset", [MIN_OPSET, 17, MAX_OPSET])
def test_every_opset_means_the_same(backbone: tuple[ModelSpec, nn.Module], opset: int) -> None:
    feeds = images(backbone[0], 1)
    base = run(write(backbone, thresholds=None), feeds)["logits"]
    close(run(write(backbone, opset=opset, thresholds=None), feeds)["logits"], base)


@pytest.mark.parametrize("opset", [MIN_OPSET - 1, MAX_OPSET + 1])
def test_other_opsets_are_refused(backbone: tuple[ModelSpec, nn.Module], opset: int) -> None:
    with pytest.raises(ExportError, match="opset"):
        write(backbone, opset=opset, thresholds=None)


def test_detections_have_the_documented_names_shapes_and_types(detector: tuple[ModelSpec, nn.Module]) -> None:
    wanted = {
        "num_detections": ((1, 1), "int32"),
        "detection_boxes": ((1, 300, 4), "float32"),
        "detection_scores": ((1, 300), "float32"),
        "detection_classes": ((1, 300), "int32"),
    }
    feeds = images(detector[0], 1)
    for nms in ("efficient", "onnx"):
        exported = write(detector, nms=nms)
        declared = {
            value.name: (
                tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim),
                onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name,
            )
            for value in exported.graph.output
        }
        assert declared == wanted
        (entry,) = exported.graph.input
        assert entry.name == "images"
        assert [dim.dim_value for dim in entry.type.tensor_type.shape.dim] == [1, 3, 300, 300]
        if nms == "onnx":
            got = run(exported, feeds)
            assert {name: (value.shape, value.dtype.name) for name, value in got.items()} == wanted


@pytest.mark.parametrize("outputs", ["raw", "boxes", "detections"])
def test_inner_tensors_keep_their_names(detector: tuple[ModelSpec, nn.Module], outputs: str) -> None:
    inside = {name for node in write(detector, outputs=outputs).graph.node for name in node.output}
    assert {"loc", "conf"} <= inside
    if outputs != "raw":
        assert {"boxes", "scores"} <= inside


def test_the_plugin_node_writes_every_attribute(detector: tuple[ModelSpec, nn.Module]) -> None:
    exported = write(detector, thresholds=Thresholds(score=0.25, iou=0.6, max_detections=77))
    (node,) = [node for node in exported.graph.node if node.op_type == "EfficientNMS_TRT"]
    attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
    assert attributes == {
        "plugin_version": b"1",
        "plugin_namespace": b"",
        "score_threshold": pytest.approx(0.25),
        "iou_threshold": pytest.approx(0.6),
        "max_output_boxes": 77,
        "background_class": 0,
        "score_activation": 0,
        "box_coding": 0,
        "class_agnostic": 0,
    }
    assert node.domain == "TRT"
    assert {entry.domain: entry.version for entry in exported.opset_import} == {"": 13, "TRT": 1}


def test_the_plugin_is_never_given_a_threshold_that_it_does_not_honour(detector: tuple[ModelSpec, nn.Module]) -> None:
    low = Thresholds(score=0.0069, iou=0.45, max_detections=10)
    with pytest.raises(ExportError, match="threshold"):
        write(detector, thresholds=low)
    write(detector, nms="onnx", thresholds=low)


@pytest.mark.parametrize(
    ("outputs", "nms", "batch"),
    [
        *itertools.product(["detections"], ["efficient", "onnx"], [1, 4, None]),
        ("raw", "onnx", None),
        ("boxes", "onnx", 2),
    ],
)
def test_graphs_are_clean(
    folded_detector: tuple[ModelSpec, FoldResult], outputs: str, nms: str, batch: int | None
) -> None:
    spec, folded = folded_detector
    options = dataclasses.replace(OPTIONS, outputs=outputs, nms=nms, batch=batch)  # type: ignore[arg-type]
    exported = build_graph(folded.model, spec, options, renames=folded.conv_to_batchnorm, doc="test")
    assert check_clean(exported, fused=True) == []
    used = ops(exported)
    assert not used & {"BatchNormalization", "Identity", "Dropout", "Pad", "Constant"}
    if not (nms == "onnx" and batch is None and outputs == "detections"):
        assert not used & {"Shape", "Range", "Expand", "Unsqueeze", "ConstantOfShape"}
    assert all(tensor.data_type != onnx.TensorProto.DOUBLE for tensor in exported.graph.initializer)
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in exported.graph.initializer)
    (softmax_node,) = [node for node in exported.graph.node if node.op_type == "Softmax"] or [None]
    if softmax_node is not None:
        assert onnx.helper.get_attribute_value(softmax_node.attribute[0]) == -1


def test_an_unfused_graph_keeps_its_batch_norms(detector: tuple[ModelSpec, nn.Module]) -> None:
    exported = write(detector)
    count = sum(node.op_type == "BatchNormalization" for node in exported.graph.node)
    assert count == sum(isinstance(module, nn.BatchNorm2d) for module in detector[1].modules())


def test_a_folded_convolution_carries_the_name_of_the_batch_norm_it_absorbed() -> None:
    spec, model = made("hardnet39ds")
    folded = fold_module(model, torch.zeros(1, 3, 224, 224))
    fused = build_graph(folded.model, spec, OPTIONS, renames=folded.conv_to_batchnorm, doc="test")
    plain = build_graph(model, spec, OPTIONS, renames={}, doc="test")
    after = {name for node in fused.graph.node for name in node.output}
    before = {name for node in plain.graph.node for name in node.output}
    assert after < before
    assert "base.0.norm" in after
    assert "base.0.conv" not in after
    assert {node.name for node in fused.graph.node} >= {"base.0.conv"}


def test_rounding_up_is_written_only_where_it_changes_the_size(detector: tuple[ModelSpec, nn.Module]) -> None:
    def rounding_up(exported: onnx.ModelProto) -> list[str]:
        return [
            node.name
            for node in exported.graph.node
            if node.op_type == "MaxPool" and any(entry.name == "ceil_mode" and entry.i for entry in node.attribute)
        ]

    assert rounding_up(write(detector)) == ["base.5"]
    at_512 = made("ssd512-hardnet68-voc", classes=("cat",))
    assert rounding_up(build_graph(at_512[1], at_512[0], OPTIONS, renames={}, doc="test")) == []


def test_the_same_weights_give_the_same_bytes(detector: tuple[ModelSpec, nn.Module]) -> None:
    first, second = (write(detector).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_an_unknown_layer_is_refused_by_its_path(backbone: tuple[ModelSpec, nn.Module]) -> None:
    spec, model = made("hardnet39ds")
    model.base[0].relu = nn.Hardswish()  # type: ignore[union-attr,index]  # a Sequential
    with pytest.raises(ExportError, match=r"Hardswish at base\.0\.relu"):
        build_graph(model, spec, OPTIONS, renames={}, doc="test")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter warns of its own deprecations
def test_pytorchs_own_exporter_agrees(detector: tuple[ModelSpec, nn.Module]) -> None:
    spec, model = detector
    feeds = images(spec, 1)
    program = torch.onnx.export(model, (torch.from_numpy(feeds),), dynamo=True, opset_version=18, verbose=False)
    assert program is not None
    wanted = run_any(program.model_proto, feeds)
    got = run(write(detector, outputs="raw", thresholds=None), feeds)
    close(got["loc"], wanted[0])
    close(got["conf"], wanted[1])


def run_any(model: onnx.ModelProto, feeds: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {session.get_inputs()[0].name: feeds}))

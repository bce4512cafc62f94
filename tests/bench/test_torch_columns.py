"""PyTorch's columns, loaded in this process."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hardnet_deploy.bench import torch_columns, torch_detections
from hardnet_deploy.bench.loaded import WallClock
from hardnet_deploy.bench.rivals import OWN_SOURCE, own_network
from hardnet_deploy.bench.sides import Side, SideError
from hardnet_deploy.bench.torch_columns import load_torch, state_sha256, to_host
from hardnet_deploy.bench.torch_detections import one_image
from hardnet_deploy.bench.torch_precision import in_dtype
from hardnet_deploy.models import registry
from hardnet_deploy.models.ssd import L2Norm
from hardnet_deploy.nms.efficient import efficient_nms
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows.bench_worker import PARTS

BACKBONE: dict[str, Any] = {"key": "k", "kind": "torch", "network": "hardnet39ds", "size": 64}
DETECTOR: dict[str, Any] = {"key": "k", "kind": "torch", "network": registry.DEMO_MODEL, "size": 300, "threads": 2}
FOLDED_ERROR = 1e-4  # of the largest logit: the bar of folding and of every other rearrangement of float32 sums
BFLOAT16_ERROR = 0.1  # likewise: eight bits of mantissa through some seventy layers


def loaded(**options: Any) -> WallClock:
    found = load_torch(Side(**options), PARTS)
    assert isinstance(found, WallClock)
    return found


def output(one: WallClock, number: int = 0) -> Any:
    with one._context():
        return one._run(number)


def test_a_backbone_is_timed_and_told() -> None:
    one = loaded(**BACKBONE)
    times = one.turn(3, warm_up_ms=0, least_warm_up=1)
    assert len(times) == 3
    assert min(times) > 0
    facts = one.facts
    assert facts.trained is False
    assert facts.source == OWN_SOURCE
    assert facts.precision_note == "float32"
    assert facts.boundary_text == "input tensor to logits"
    assert facts.engine.endswith("(CPU), eager")
    assert facts.parameters == 3_488_228
    assert len(facts.artifact_sha256 or "") == 64
    assert json.dumps(vars(facts))


@pytest.mark.parametrize("options", [("fused",), ("channels-last",), ("fused", "channels-last")])
def test_columns_in_float32_compute_what_eager_does(options: tuple[str, ...]) -> None:
    eager, other = loaded(**BACKBONE), loaded(**BACKBONE, options=options)
    expected, found = output(eager), output(other)
    assert float((found - expected).abs().max()) <= FOLDED_ERROR * float(expected.abs().max())
    assert other.facts.engine.endswith(", ".join(options))
    assert other.facts.artifact_sha256 == eager.facts.artifact_sha256
    assert (other.facts.parameters, other.facts.macs) == (eager.facts.parameters, eager.facts.macs)


def test_a_fused_network_has_no_batch_norm_left() -> None:
    module, notes = torch_columns._fused(
        Side(**BACKBONE, options=("fused",)), registry.build("hardnet39ds"), PARTS, example=64
    )
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in module.modules())
    assert notes == []


def test_what_cannot_be_folded_is_told() -> None:
    network = own_network("mobilenet_v2")
    network.train()  # batch norms in training mode stay
    module, notes = torch_columns._fused(Side(**BACKBONE, options=("fused",)), network, PARTS, example=64)
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in module.modules())
    assert "52 batch norms are left" in notes[0]


def test_a_network_without_batch_norm_says_that_fusing_changes_nothing() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1))
    module, notes = torch_columns._fused(Side(**BACKBONE, options=("fused",)), network, PARTS, example=64)
    assert module is network
    assert "no batch norm" in notes[0]


def test_bfloat16_is_computed_in_bfloat16() -> None:
    expected, found = output(loaded(**BACKBONE)), output(loaded(**BACKBONE, options=("bf16",)))
    assert found.dtype == torch.bfloat16
    assert float((found.float() - expected).abs().max()) <= BFLOAT16_ERROR * float(expected.abs().max())


def test_l2norm_stays_in_float32_in_a_half_precision_network() -> None:
    """Its squares leave float16 from a channel RMS of 14.3 upwards."""
    layer = torch.nn.Sequential(L2Norm(320))
    large = torch.full((1, 320, 2, 2), 100.0)
    expected = layer(large)[0]
    found = in_dtype(layer, torch.float16)(large.half())[0]
    assert found.dtype == torch.float16
    assert torch.isfinite(found).all()
    assert torch.allclose(found.float(), expected, rtol=2**-10)  # one rounding to float16


def test_a_detector_has_a_boundary_before_and_after_its_nms(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), np.uint8)
    file = tmp_path / "images.npy"
    np.save(file, images)
    network = loaded(**DETECTOR)
    loc, conf = output(network)
    assert loc.shape[-1] == 4
    assert conf.shape[1] == loc.shape[1]
    assert network.facts.boundary_text == "input tensor to raw loc and conf"
    assert network.facts.trained is True
    assert (network.facts.nms, network.facts.thresholds, network.facts.nms_candidates) == (None, None, None)

    with_nms = loaded(**DETECTOR, boundary="network+NMS", data=str(file))
    assert "NMS by" in with_nms.facts.boundary_text
    assert "at most 200" in with_nms.facts.boundary_text
    assert "3 images in turn" in with_nms.facts.notes[-1]
    from_start = loaded(**DETECTOR, boundary="end-to-end", data=str(file))
    assert from_start.facts.boundary_text.startswith("8-bit image to results")
    assert with_nms.facts.nms in {"numpy", "torchvision"}
    assert with_nms.facts.thresholds == Thresholds(score=0.02, iou=0.45, max_detections=200)
    assert with_nms.facts.nms_candidates == from_start.facts.nms_candidates
    assert with_nms.facts.weights_sha256 == network.facts.weights_sha256 == network.facts.artifact_sha256
    for number in (0, 2, 3):
        for one, other in zip(output(with_nms, number), output(from_start, number), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_sides_own_limits_are_those_of_its_nms() -> None:
    low, high = (Thresholds(score=score, iou=0.45, max_detections=7) for score in (0.01, 0.9))
    many, few = (loaded(**{**DETECTOR, "boundary": "network+NMS", "thresholds": one}) for one in (low, high))
    assert (many.facts.thresholds, few.facts.thresholds) == (low, high)
    assert "score 0.9, IoU 0.45, at most 7" in few.facts.boundary_text
    assert (many.facts.nms_candidates or 0) > (few.facts.nms_candidates or 0)


def test_torchvisions_nms_keeps_what_the_reference_keeps() -> None:
    """With a stand-in for torchvision's function, on boxes whose overlaps are not near the threshold."""
    draw = np.random.default_rng(4)
    grid = draw.integers(0, 4, (60, 2)) / 4
    boxes = np.concatenate((grid, grid + 0.2), 1).astype(np.float32)
    scores = draw.random((60, 4)).astype(np.float32)
    limits = Thresholds(score=0.3, iou=0.5, max_detections=15)

    def batched_nms(found: Tensor, values: Tensor, labels: Tensor, iou: float) -> Tensor:
        assert iou == limits.iou
        kept: list[int] = []
        for index in values.argsort(descending=True).tolist():
            if not any(labels[index] == labels[other] and bool((found[index] == found[other]).all()) for other in kept):
                kept.append(index)
        return torch.tensor(kept)

    found = one_image(torch.from_numpy(boxes), torch.from_numpy(scores), limits, batched_nms)
    expected = efficient_nms(
        boxes[None], scores[None], score_threshold=0.3, iou_threshold=0.5, max_output_boxes=15, background_class=0
    )
    count = int(expected.num_detections[0, 0])
    assert len(found[1]) == count == 15
    np.testing.assert_array_equal(found[0].numpy(), expected.detection_boxes[0, :count])
    np.testing.assert_array_equal(found[1].numpy(), expected.detection_scores[0, :count])


def test_the_nms_that_is_timed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = Thresholds(score=0.3, iou=0.5, max_detections=15)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    found = torch_detections.suppression(limits, "cpu")
    assert "NumPy reference" in found.text
    assert found.kind == "numpy"


def test_a_torchvision_that_works_on_the_cpu_alone_does_no_nms_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a fake torchvision, and PyTorch's ``meta`` pretending to be the GPU."""

    def batched_nms(boxes: Tensor, *_: Any) -> Tensor:
        if boxes.device.type != "cpu":
            raise NotImplementedError("Could not run 'torchvision::nms' with arguments from the 'CUDA' backend")
        return torch.zeros(1, dtype=torch.long)

    fake = types.ModuleType("torchvision")
    ops = types.ModuleType("torchvision.ops")
    vars(fake)["__version__"], vars(ops)["batched_nms"] = "0.0+fake", batched_nms
    monkeypatch.setitem(sys.modules, "torchvision", fake)
    monkeypatch.setitem(sys.modules, "torchvision.ops", ops)
    limits = Thresholds(score=0.3, iou=0.5, max_detections=15)
    assert torch_detections.suppression(limits, "cpu").kind == "torchvision"
    assert torch_detections.suppression(limits, "meta").kind == "numpy"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({**DETECTOR, "size": 512}, "takes 300x300"),
        ({**BACKBONE, "boundary": "network+NMS"}, "no detector"),
        ({**BACKBONE, "data": "nowhere.npy"}, "cannot be read"),
        ({**BACKBONE, "network": "resnet50", "weights": "w.pth"}, "takes no checkpoint"),
    ],
)
def test_a_side_that_makes_no_sense_says_so(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SideError, match=message):
        loaded(**options)


def test_without_a_gpu_a_cuda_side_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SideError, match="no NVIDIA GPU that PyTorch can use"):
        loaded(**BACKBONE, device="cuda")


def test_the_digest_is_of_names_and_values() -> None:
    one, same, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Linear(2, 2))
    same.load_state_dict(one.state_dict())
    other[0].load_state_dict(one.state_dict())
    assert state_sha256(one) == state_sha256(same) != state_sha256(other)
    with torch.no_grad():
        same.bias += 1
    assert state_sha256(one) != state_sha256(same)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:`torch.jit.script:DeprecationWarning"
)  # torch's own compiler uses what it deprecates
def test_a_compiled_network_computes_what_eager_does() -> None:
    expected, found = output(loaded(**BACKBONE)), output(loaded(**BACKBONE, options=("compile",)))
    assert float((found - expected).abs().max()) <= FOLDED_ERROR * float(expected.abs().max())


class FakeOnDevice(Tensor):
    """A tensor that pretends to lie on a GPU until ``cpu`` has copied it."""

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        return self.as_subclass(Tensor)


def test_results_are_copied_to_the_host_however_deep_they_lie() -> None:
    """As torchvision's NMS gives them: a list of images, of each a tuple."""

    def far() -> Tensor:
        return torch.ones(2).as_subclass(FakeOnDevice)

    found = to_host([(far(), far()), ({"deep": far()}, [far()]), np.ones(2)])
    (one, other), (named, (listed,)), array = found
    assert [type(value) for value in (one, other, named["deep"], listed)] == [Tensor] * 4
    assert isinstance(array, np.ndarray)
    assert type(to_host(far())) is Tensor

"""The re-implemented networks against outputs of the original code on the same weights."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from oracle_fill import fill, golden_input

from hardnet_deploy.evaluate.postprocess import upstream_postprocess
from hardnet_deploy.evaluate.tolerances import Tolerance
from hardnet_deploy.models import registry
from hardnet_deploy.nms.boxes import decode_boxes, softmax

GOLDEN = Path(__file__).parents[1] / "golden" / "models"
BACKBONES = {"hardnet39ds": "hardnet39ds", "hardnet68": "hardnet68"}
DETECTORS = {"ssd300-hardnet68-voc": "SSD_HarDNet68_300_c21", "ssd512-hardnet68-coco": "SSD_HarDNet68_512_c81"}
# Ten times the difference of the originals' own float32 and float64 outputs.
F32_DIFFERENCE = {
    "hardnet39ds": 3e-6,
    "hardnet68": 1e-6,
    "ssd300-hardnet68-voc": 1.4e-5,
    "ssd512-hardnet68-coco": 1.2e-5,
}
F64 = Tolerance(atol=1e-10, rtol=0.0, why="the order of float64 sums differs between machines, nothing else")


def tolerance(name: str, precision: str) -> Tolerance:
    if precision == "f64":
        return F64
    return Tolerance(
        atol=10 * F32_DIFFERENCE[name], rtol=0.0, why="ten times the originals' float32-float64 difference"
    )


DTYPES = {"f32": torch.float32, "f64": torch.float64}


def golden(tag: str, precision: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name in (f"golden_{tag}.{precision}.npz", f"golden_{tag}.conf_{precision}.npz"):
        if (GOLDEN / name).exists():
            found |= dict(np.load(GOLDEN / name))
    return found


@pytest.mark.parametrize(("name", "tag"), [*BACKBONES.items(), *DETECTORS.items()])
def test_state_dict_is_upstreams_key_by_key(name: str, tag: str) -> None:
    manifest = json.loads((GOLDEN / f"manifest_{tag}.json").read_text())
    model = registry.build(name)
    fill(model)
    state = model.state_dict()
    assert [(key, list(value.shape)) for key, value in state.items()] == [
        (entry["key"], entry["shape"]) for entry in manifest["state_dict"]
    ]
    # The filler's own check: the same bytes as the originals were run with, so the outputs below mean something.
    for entry in manifest["state_dict"]:
        assert zlib.crc32(state[entry["key"]].numpy().tobytes()) == entry["fill_crc32"], entry["key"]


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize(
    ("case", "shape"), [("b2_224", (2, 3, 224, 224)), ("b1_193x257", (1, 3, 193, 257)), ("b1_320", (1, 3, 320, 320))]
)
@pytest.mark.parametrize(("name", "tag"), BACKBONES.items())
def test_backbone_logits(name: str, tag: str, case: str, shape: tuple[int, ...], precision: str) -> None:
    wanted = np.load(GOLDEN / f"golden_{tag}.npz")[f"{case}_{precision}"]
    model = registry.build(name)
    fill(model)
    with torch.inference_mode():
        logits = model.to(DTYPES[precision])(golden_input(*shape).to(DTYPES[precision])).numpy()
    assert logits.shape == wanted.shape
    assert_allclose(logits, wanted, atol=tolerance(name, precision).atol, rtol=0)


@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize(("name", "tag"), DETECTORS.items())
def test_detector_outputs_boxes_scores_and_detections(name: str, tag: str, precision: str) -> None:
    wanted = golden(tag, precision)
    spec = registry.get(name)
    assert spec.head is not None
    model = registry.build(name)
    fill(model)
    dtype, atol = DTYPES[precision], tolerance(name, precision).atol
    # Two different images, so that a mix-up inside a batch cannot go unseen; the golden one is the first.
    size = spec.preprocess.size
    images = torch.cat([golden_input(1, 3, size, size), torch.zeros(1, 3, size, size)]).to(dtype)
    with torch.inference_mode():
        loc, conf = (tensor[0].numpy() for tensor in model.to(dtype)(images))
    priors = spec.head.priors() if precision == "f32" else spec.head.priors().astype(np.float64)
    boxes, scores = decode_boxes(loc, priors, spec.head.variances), softmax(conf)
    assert loc.shape == (spec.head.num_priors, 4)
    assert conf.shape == (spec.head.num_priors, spec.head.num_classes)
    assert_allclose(loc[wanted["idx_loc"]], wanted["loc"], atol=atol, rtol=0)
    assert_allclose(conf[wanted["idx_conf"]], wanted["conf"], atol=atol, rtol=0)
    # A box moves by its prior's size times the offset's error; priors differ by one float32 rounding.
    assert_allclose(boxes[wanted["idx_loc"]], wanted["boxes"], atol=max(atol, 1e-6), rtol=0)
    assert_allclose(scores[wanted["idx_scores"]], wanted["scores"], atol=atol, rtol=0)
    if precision == "f32":
        detections = np.load(GOLDEN / f"golden_{tag}.dets.npz")["dets_cls_x1y1x2y2_score"]
        threshold, most = (0.03, 300) if spec.dataset == "voc" else (0.02, 200)
        found = upstream_postprocess(boxes, scores, (375, 500), threshold=threshold, max_per_image=most)
        assert found.shape == detections.shape
        assert_allclose(found[:, 0], detections[:, 0])
        assert_allclose(found[:, 1:5], detections[:, 1:5], atol=0.05, rtol=0)  # pixels
        assert_allclose(found[:, 5], detections[:, 5], atol=atol, rtol=0)


@pytest.mark.parametrize(("name", "file"), [("ssd300-hardnet68-voc", "VOC_300"), ("ssd512-hardnet68-coco", "COCO_512")])
def test_priors(name: str, file: str) -> None:
    wanted = np.load(GOLDEN / f"priors_{file}.npz")
    head = registry.get(name).head
    assert head is not None
    exact, rounded = head.priors64(), head.priors()
    assert_allclose(exact[:50], wanted["first50_f64"], atol=1e-15, rtol=0)
    assert_allclose(exact[-50:], wanted["last50_f64"], atol=1e-15, rtol=0)
    assert_allclose(exact[::101], wanted["every101_f64"], atol=1e-15, rtol=0)
    assert np.array_equal(rounded[:50], wanted["first50_f32"])
    assert np.array_equal(rounded[-50:], wanted["last50_f32"])


def test_the_sister_repository_trains_another_network_with_the_same_keys() -> None:
    fork, sister = (registry.build("ssd300-hardnet68-voc", code_line=line) for line in registry.CODE_LINES)
    assert list(fork.state_dict()) == list(sister.state_dict())
    images = golden_input(1, 3, 300, 300)
    outputs = []
    for model in (fork, sister):
        fill(model)
        with torch.inference_mode():
            outputs.append(model(images)[0][0].numpy())
    first_level = 38 * 38 * 6
    assert_allclose(outputs[0][:first_level], outputs[1][:first_level], atol=1e-6, rtol=0)
    # Measured on the originals: the other levels' loc differ by up to 9.09.
    assert np.abs(outputs[0] - outputs[1]).max() == pytest.approx(9.09, abs=0.01)

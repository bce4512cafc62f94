"""Two engines of the toy detector: what passes, what is refused, and what the result says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_datasets import SmallImage, toy_images, write_coco, write_voc
from tiny_detector import write_toy
from toy_parity import blind, compare, fill_folder, save, sentences

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.data.images import load_image
from hardnet_deploy.errors import (
    ArtifactMismatchError,
    HardnetDeployError,
    InputFileError,
    OutputFileError,
    UsageError,
)
from hardnet_deploy.files import sha256_file
from hardnet_deploy.specs import Thresholds

SAME_MAP = 1e-12


@pytest.fixture(autouse=True)
def in_a_folder_with_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder()


def test_an_engine_is_equal_to_itself() -> None:
    result = compare()
    assert result.passed, sentences(result)
    assert result.exit_code == 0
    assert [one.sqnr_text for one in result.tensors.outputs if one.case == "from the images"] == ["exact"] * 4
    assert result.tensors.layers.first is None
    assert result.detections is not None
    assert result.detections.everything.shares == (1.0, 1.0)
    assert result.metric is not None
    assert result.metric.reference == result.metric.candidate == pytest.approx(1.0)
    assert result.metric.drop is not None
    assert result.metric.drop.two_sided == (0.0, 0.0)
    assert "0.50 % of --max-drop" in result.metric.verdict()


@pytest.mark.parametrize(
    "options",
    [
        {"nms": "onnx"},
        {"outputs": "boxes"},
        {"outputs": "raw"},
        {"batch": 4},
        {"batch": None},
        {"batch": None, "nms": "onnx"},
    ],
)
def test_what_does_not_change_what_is_detected_passes(options: dict[str, Any]) -> None:
    candidate = write_toy(Path("candidate.onnx"), **options)
    if options.get("outputs", "detections") == "detections":
        result = compare(candidate)
    else:  # its thresholds are the data set's usual ones, as it has no NMS of its own
        write_toy(Path("usual.onnx"), thresholds=Thresholds(score=0.03, iou=0.45, max_detections=300))
        result = compare(candidate, reference="usual.onnx")
    assert result.passed, sentences(result)
    assert result.metric is not None
    separation = result.metric.separation
    assert separation.network == pytest.approx(0.0, abs=SAME_MAP)
    assert separation.nms == pytest.approx(0.0, abs=SAME_MAP)


def test_the_same_comparison_says_the_same() -> None:
    candidate = save("candidate.onnx", loc_b=lambda values: values + 0.5)
    first, again = (compare(candidate).as_dict() for _ in range(2))
    assert first == again
    assert first["metric"]["drop"]["drop"] > 0


def test_voc_data_work_alike() -> None:
    write_voc(Path("voc"), toy_images())
    result = compare(data="voc:voc")
    assert result.passed, sentences(result)
    assert result.metric is not None
    assert result.metric.metric == "voc07"
    assert result.metric.reference == pytest.approx(1.0)


def test_the_authors_post_processing_can_be_judged() -> None:
    result = compare(postprocess="upstream")
    assert result.passed, sentences(result)
    assert result.matched is not None
    assert "authors" in result.matched


def test_no_images_no_objects_and_unreadable_images_are_refused() -> None:
    write_coco(Path("empty"), [])
    write_coco(Path("bare"), [SmallImage(name="1")])
    for data in ("coco:empty", "coco:bare", "coco:nowhere"):
        with pytest.raises(InputFileError):
            compare(data=data)
    Path("data/val2017/000003.png").write_bytes(b"no picture")
    with pytest.raises(InputFileError, match="000003"):
        compare()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"count": 0}, UsageError),
        ({"tensor_images": 0}, UsageError),
        ({"resamples": 0}, UsageError),
        ({"seed": -1}, UsageError),
        ({"max_drop": -0.1}, UsageError),
        ({"max_drop": float("nan")}, UsageError),
        ({"code_line": "lzx1413"}, UsageError),
        ({"code_line": "other"}, UsageError),
        ({"output": Path("reference.onnx")}, UsageError),
        ({"output": Path("reference.onnx.json")}, UsageError),
        ({"output": Path("data")}, OutputFileError),
        ({"pictures": Path("data/val2017")}, UsageError),
        ({"pictures": Path("reference.onnx")}, OutputFileError),
        ({"candidate": "missing.onnx"}, InputFileError),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], error: type[HardnetDeployError]) -> None:
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    with pytest.raises(error):
        compare(**{"candidate": "reference.onnx", **options})
    assert before == {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_an_artifact_that_changed_is_refused_or_trusted_with_a_mark() -> None:
    candidate = write_toy(Path("candidate.onnx"))
    manifest_path(candidate).unlink()
    with pytest.raises(ArtifactMismatchError):
        compare(candidate)
    save("candidate.onnx")
    candidate.write_bytes(Path("reference.onnx").read_bytes() + b"\x82\x02\x00")
    with pytest.raises(ArtifactMismatchError):
        compare(candidate)
    trusted = compare(candidate, trust=True)
    assert trusted.passed, sentences(trusted)
    assert "changed" in str(trusted.as_dict()["candidate"]["warning"])


def test_count_takes_the_first_images_and_says_so() -> None:
    result = compare(count=2, tensor_images=1)
    data = result.as_dict()["data"]
    assert data["images"] == 2
    assert "first 2 of 6" in data["name"]
    assert result.tensors.images == 1
    assert compare(tensor_images=50).tensors.images == 6


def test_the_result_carries_what_both_sides_and_the_data_are() -> None:
    document = compare(write_toy(Path("candidate.onnx"), nms="onnx")).as_dict()
    assert (document["kind"], document["schema"]) == ("parity", 1)
    assert document["command"][:2] == ["hardnet-deploy", "parity"]
    assert len(document["reference"]["sha256"]) == len(document["candidate"]["sha256"]) == 64
    assert document["reference"]["sha256"] != document["candidate"]["sha256"]
    assert document["reference"]["thresholds"] == {"score": 0.03, "iou": 0.45, "max_detections": 10}
    assert document["candidate"]["precision"] == "fp32"
    assert len(document["data"]["digest"]) == 64
    assert document["metric"]["max_drop"] == 0.005
    assert document["metric"]["drop"]["seed"] == 0
    assert all("why" in row["tolerance"] for row in document["tensors"]["outputs"] if row["tolerance"])


def test_the_worst_images_are_drawn_side_by_side() -> None:
    result = compare(blind(), pictures=Path("pictures"))
    names = [picture.path.name for picture in result.pictures]
    assert names == sorted(path.name for path in Path("pictures").iterdir())
    assert result.detections is not None
    assert len(result.pictures) == len(result.detections.worst) > 2
    worst = result.as_dict()["detections"]["worst_images"][0]
    assert (worst["lost"], worst["invented"]) == (2, 0)
    assert Path(worst["path"]).stem in result.pictures[0].path.name
    document = result.as_dict()
    assert document["pictures"] == [str(picture.path) for picture in result.pictures]
    assert document["pictures_sha256"] == [sha256_file(picture.path) for picture in result.pictures]
    picture = load_image(result.pictures[0].path)
    assert picture.shape[1] > 2 * picture.shape[0]
    left, right = picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]
    assert len(np.unique(left.reshape(-1, 3), axis=0)) > len(np.unique(right.reshape(-1, 3), axis=0))


def test_equal_engines_have_no_pictures() -> None:
    assert compare(pictures=Path("pictures")).pictures == ()


def test_every_image_is_run_once_on_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    from hardnet_deploy.workflows import parity_side

    runs: list[int] = []
    original = parity_side.Side.infer

    def counted(self: parity_side.Side, images: np.ndarray) -> Any:
        runs.append(len(images))
        return original(self, images)

    monkeypatch.setattr(parity_side.Side, "infer", counted)
    compare(tensor_images=1)
    assert sum(runs) == 2 * (6 + 1)  # all images, and the one whose tensors are compared


def test_the_reference_finds_all_there_is() -> None:
    """Were nothing to be found, every test above would be blind."""
    result = compare()
    assert result.detections is not None
    assert result.detections.everything.reference == sum(len(image.objects) for image in toy_images())

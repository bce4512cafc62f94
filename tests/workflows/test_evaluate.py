"""``evaluate`` as a workflow: the number, what made it, and what it is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_datasets import SmallImage, coco_document, toy_images, write_coco, write_voc
from tiny_detector import RED, THRESHOLDS, write_toy

from hardnet_deploy.errors import InputFileError, UsageError
from hardnet_deploy.evaluate.coco_metric import NUMBERS
from hardnet_deploy.files import sha256_file
from hardnet_deploy.specs import Thresholds
from hardnet_deploy.workflows.evaluate import EvaluateRequest, Evaluation, run_evaluate

ROUNDING = 1e-12


@pytest.fixture(autouse=True)
def cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))


def evaluate(engine: Path, data: str, **options: Any) -> Evaluation:
    return run_evaluate(EvaluateRequest(engine=str(engine), data=data, **options), lambda *_: None)


def coco(folder: Path, images: list[SmallImage] | None = None) -> str:
    write_coco(folder / "coco", toy_images() if images is None else images)
    return f"coco:{folder / 'coco'}"


def voc(folder: Path, *, year: int = 2007) -> str:
    write_voc(folder / "voc", [image_in_pixels(image) for image in toy_images()], year=year)
    return f"voc:{folder / 'voc'}:{year}-test"


def image_in_pixels(image: SmallImage) -> SmallImage:
    return SmallImage(name=image.name, colour=image.colour, size=image.size, objects=image.objects)


def test_a_detector_that_is_right_has_a_map_of_one(tmp_path: Path) -> None:
    engine = write_toy(tmp_path / "toy.onnx")
    result = evaluate(engine, coco(tmp_path))
    assert result.mean_ap == pytest.approx(1.0, abs=ROUNDING)
    document = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert (document["kind"], document["schema"]) == ("evaluation", 1)
    assert document["command"][:3] == ["hardnet-deploy", "evaluate", str(engine)]
    assert document["mAP"] == result.mean_ap
    assert document["metric"] == "coco"
    assert tuple(document["coco"]) == NUMBERS
    assert document["coco"]["APl"] is None
    assert document["engine"]["sha256"] == sha256_file(engine)
    assert document["data"]["name"] == f"coco:{tmp_path / 'coco'}:val2017"
    assert document["data"]["split"] == "val2017"
    assert document["data"]["images"] == 6
    assert len(document["data"]["digest"]) == 64
    assert document["postprocess"]["kind"] == "deployed"
    assert "the NMS in its graph, scores from 0.03, IoU 0.45, at most 10 boxes" in document["postprocess"]["made_by"]
    assert document["postprocess"]["thresholds"] == vars(THRESHOLDS)
    assert document["images_per_second"] > 0
    assert (document["resumed"], document["unreadable"], document["untrained"]) == (0, [], False)
    assert document["warnings"] == document["notes"] == []
    assert [(one["name"], one["objects"]) for one in document["per_class"]] == [("red thing", 3), ("blue thing", 3)]
    assert not list((tmp_path / "cache").rglob("*.npz"))


@pytest.mark.parametrize(("year", "metric"), [(2007, "voc07"), (2012, "voc12")])
def test_voc_has_its_metric_by_the_year_and_another_on_request(year: int, metric: str, tmp_path: Path) -> None:
    engine = write_toy(tmp_path / "toy.onnx")
    result = evaluate(engine, voc(tmp_path, year=year))
    assert result.dataset.metric == metric
    assert result.mean_ap == pytest.approx(1.0, abs=ROUNDING)
    assert result.as_dict()["coco"] is None
    assert {one.ap50 for one in result.per_class} == {None}
    other = evaluate(engine, voc(tmp_path, year=year), metric="coco")
    assert other.dataset.metric == "coco"
    assert 0.5 < other.mean_ap < 1.0  # boxes rounded to whole pixels
    assert other.numbers is not None


def test_upstreams_post_processing_says_so_and_gives_the_authors_number_too(tmp_path: Path) -> None:
    engine = write_toy(tmp_path / "toy.onnx")
    result = evaluate(engine, coco(tmp_path), postprocess="upstream")
    assert result.mean_ap == pytest.approx(1.0, abs=ROUNDING)
    assert result.as_authors_write is not None
    assert 0.5 < result.as_authors_write < 1.0  # one pixel more on boxes of some twenty
    assert "the authors' own post-processing" in result.as_dict()["postprocess"]["made_by"]
    assert result.as_dict()["postprocess"]["thresholds"] == {"score": 0.02, "iou": 0.45, "max_detections": 200}
    assert evaluate(engine, coco(tmp_path)).as_authors_write is None
    result = evaluate(engine, voc(tmp_path), postprocess="upstream")
    assert result.as_dict()["postprocess"]["thresholds"] == {"score": 0.03, "iou": 0.45, "max_detections": 300}


def test_what_the_detector_misses_and_mistakes_costs(tmp_path: Path) -> None:
    engine = write_toy(tmp_path / "toy.onnx")
    images = toy_images()
    wrong = [
        SmallImage(name=one.name, colour=RED, size=one.size, objects=one.objects) if number == 1 else one
        for number, one in enumerate(images)
    ]
    assert evaluate(engine, coco(tmp_path, wrong)).mean_ap < 0.9


def test_count_takes_the_first_images_and_says_so(tmp_path: Path) -> None:
    result = evaluate(write_toy(tmp_path / "toy.onnx"), coco(tmp_path), count=4)
    assert result.as_dict()["data"]["images"] == 4
    assert result.as_dict()["data"]["name"].endswith(":val2017, first 4 of 6 images")


def test_a_high_threshold_and_untrained_weights_are_warned_of(tmp_path: Path) -> None:
    high = write_toy(tmp_path / "high.onnx", thresholds=Thresholds(score=0.3, iou=0.45, max_detections=10))
    (warning,) = evaluate(high, coco(tmp_path)).warnings
    assert "drops scores below 0.3" in warning
    assert evaluate(high, coco(tmp_path), postprocess="upstream").warnings == ()
    fresh = write_toy(tmp_path / "fresh.onnx", trained=False)
    result = evaluate(fresh, coco(tmp_path))
    assert result.untrained is True
    assert any("untrained" in one for one in result.warnings)


def test_skipped_images_count_as_missed_and_mark_the_result(tmp_path: Path) -> None:
    engine, data = write_toy(tmp_path / "toy.onnx"), coco(tmp_path)
    torn = tmp_path / "coco" / "val2017" / "000003.png"
    torn.write_bytes(torn.read_bytes()[:50])
    with pytest.raises(InputFileError, match="000003"):
        evaluate(engine, data)
    result = evaluate(engine, data, skip_unreadable=True)
    assert result.mean_ap < 0.9
    assert result.as_dict()["unreadable"][0]["image"] == str(torn)
    assert any("1 images could not be read" in one for one in result.warnings)


def test_an_interrupted_evaluation_goes_on(tmp_path: Path) -> None:
    engine, data = write_toy(tmp_path / "toy.onnx"), coco(tmp_path)

    def stop(what: str, done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    request = EvaluateRequest(engine=str(engine), data=data)
    with pytest.raises(KeyboardInterrupt):
        run_evaluate(request, stop)
    result = evaluate(engine, data)
    assert result.run.resumed == 4
    assert result.mean_ap == pytest.approx(1.0, abs=ROUNDING)
    assert any("4 of 6 images were computed by an earlier run" in note for note in result.notes)
    assert evaluate(engine, data).run.resumed == 0
    with pytest.raises(KeyboardInterrupt):
        run_evaluate(EvaluateRequest(engine=str(engine), data=data, resume=False), stop)
    assert evaluate(engine, data).run.resumed == 0


def test_a_class_without_objects_is_noted_and_none(tmp_path: Path) -> None:
    images = [one for one in toy_images() if all(two.name == "red thing" for two in one.objects)]
    write_coco(tmp_path / "coco", images, document=coco_document(images))
    result = evaluate(write_toy(tmp_path / "toy.onnx"), f"coco:{tmp_path / 'coco'}")
    assert result.mean_ap == pytest.approx(1.0, abs=ROUNDING)
    assert result.per_class[1].ap is None
    assert any("blue thing" in note for note in result.notes)


def test_a_backbone_and_data_of_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a backbone"):
        evaluate(Path("hardnet39ds"), "demo")
    with pytest.raises(UsageError, match="classes that the model does not have"):
        evaluate(write_toy(tmp_path / "toy.onnx"), "demo", count=1)


def test_every_stage_tells_its_progress(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    request = EvaluateRequest(engine=str(write_toy(tmp_path / "toy.onnx")), data=coco(tmp_path))
    run_evaluate(request, lambda *step: told.append(step))
    assert [step for step in told if step[0] == "evaluating"] == [("evaluating", done, 6) for done in range(7)]
    assert told[-1] == ("scoring", 6, 6)

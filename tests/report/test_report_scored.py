"""A mAP stands beside a time, or another mAP, only where both are of the same engine, images and way of scoring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from html_outline import Element
from made_up_runs import DATA, DIGEST, MODEL, STATE, evaluation, parity, pytorch, side
from made_up_times import bench, bench_row, eager_row
from report_pages import decision, page, table, why_not

from hardnet_deploy.report.texts import count

WEIGHTS = {"file": None, "sha256": STATE}
OTHER_IMAGES = {"name": "other:train", "split": "train", "digest": "e" * 64, "images": 9000}


def drawings(root: Element) -> list[str]:
    """What each drawing of accuracy against latency shows, in words."""
    section = root.one("accuracy-latency")
    return [one.text for one in section.all("desc") if one.attributes.get("id", "").startswith("accuracy-latency")]


def captions(root: Element, begin: str) -> list[str]:
    found = [one.all("caption")[0].text for one in root.all("table")]
    return [one for one in found if one.startswith(begin)]


@pytest.mark.parametrize("column", ["fused", "channels-last", "compile", "fp16", "bf16", "cuda-graph"])
def test_the_map_of_pytorch_stands_at_the_time_of_the_eager_row_alone(column: str, tmp_path: Path) -> None:
    rows = [eager_row(), bench_row(column, 12.0, artifact=WEIGHTS), bench_row("a.onnx", 10.0)]
    (told,) = drawings(page(tmp_path, parity("a.onnx"), bench(rows)))
    assert f"PyTorch {MODEL}: 40.0 ms, mAP 0.7000" in told
    assert "12.0 ms" not in told


@pytest.mark.parametrize("column", ["compile", "fp16"])
def test_a_model_is_not_recommended_with_the_time_of_another_column(column: str, tmp_path: Path) -> None:
    own = {"file": "mine.pth", "sha256": "8" * 64}
    mine = pytorch(engine=f"{MODEL}=mine.pth", sha256="9" * 64, state_sha256="8" * 64)
    rows = [
        eager_row(),
        eager_row(38.0, key="mine/eager", artifact=own),
        bench_row(column, 10.0, artifact=own, key="mine/other"),
    ]
    one = decision(tmp_path, parity("x", candidate=mine), bench(rows))
    assert one.chosen is None
    assert "10.0 ms" not in one.paragraph
    assert "the gain is not known" in why_not(one, f"PyTorch {MODEL}=mine.pth")


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "voc12"},
        {"postprocess": {"kind": "upstream", "made_by": "the authors' own"}},
        {"engine": side("b.onnx", thresholds={"score": 0.3, "iou": 0.45, "max_detections": 200})},
        {"data": OTHER_IMAGES},
    ],
)
def test_maps_that_were_measured_otherwise_do_not_share_an_axis(changes: dict[str, Any], tmp_path: Path) -> None:
    timed = bench([bench_row("a.onnx", 10.0), bench_row("b.onnx", 11.0)])
    told = drawings(page(tmp_path, parity("a.onnx"), evaluation("b.onnx", mAP=0.9, **changes), timed))
    assert len(told) == 2
    assert not any("a.onnx:" in one and "b.onnx:" in one for one in told)


def test_maps_that_were_measured_alike_share_an_axis(tmp_path: Path) -> None:
    timed = bench([bench_row("a.onnx", 10.0), bench_row("b.onnx", 11.0)])
    root = page(tmp_path, parity("a.onnx"), evaluation("b.onnx"), timed)
    (told,) = drawings(root)
    assert "a.onnx: 10.0 ms, mAP 0.6986" in told
    assert "b.onnx: 11.0 ms, mAP 0.6986" in told
    text = root.one("accuracy-latency").text
    assert "COCO AP @[.50:.95], the engine's own NMS, scores from 0.02, IoU 0.45, at most 200 boxes an image" in text


def test_a_comparison_under_the_authors_post_processing_is_drawn_as_that(tmp_path: Path) -> None:
    document = parity("a.onnx")
    own = {"reference": 0.6, "candidate": 0.59, "change": -0.01, "why": None}
    document["metric"]["separation"]["own"] = own
    upstream = evaluation("b.onnx", postprocess={"kind": "upstream", "made_by": "the authors' own"})
    timed = bench([bench_row("a.onnx", 10.0), bench_row("b.onnx", 11.0)])
    (told,) = drawings(page(tmp_path, document, upstream, timed))
    assert "a.onnx: 10.0 ms" in told
    assert "b.onnx: 11.0 ms" in told


@pytest.mark.parametrize("caption", ["AP of every class", "COCO's twelve numbers"])
def test_evaluations_on_other_images_have_a_table_of_their_own(caption: str, tmp_path: Path) -> None:
    other = evaluation("a.onnx", data=OTHER_IMAGES)
    for one in other["per_class"]:
        one["objects"] = 4000
    root = page(tmp_path, evaluation("a.onnx"), other)
    first, second = captions(root, caption)
    assert f"images: {DATA} (digest {DIGEST[:12]})" in first
    assert f"images: other:train (digest {'e' * 12})" in second
    if caption == "AP of every class":
        assert table(root, first)["clock"] == ["7", "0.8000"]
        assert table(root, second)["clock"] == [count(4000), "0.8000"]


def test_two_evaluations_of_one_engine_are_told_apart(tmp_path: Path) -> None:
    root = page(tmp_path, evaluation("a.onnx"), evaluation("a.onnx", mAP=0.6987))
    assert {f"a.onnx, {tmp_path / name}" for name in ("0.json", "1.json")} <= table(root, "COCO's twelve").keys()


@pytest.mark.parametrize(
    ("drop", "bounds", "told"),
    [
        (0.002, (-0.001, 0.0055), "yes: at most 0.55 %"),
        (0.002, (-0.001, 0.010004), "no, more images would: at most 1.0004 %"),
        (0.02, (0.012, 0.03), "yes: at least 1.20 %"),
        (0.02, (0.00999, 0.03), "no, more images would: at least 0.999 %"),
    ],
)
def test_the_bound_that_separates_a_drop_from_its_limit_is_shown(
    drop: float, bounds: tuple[float, float], told: str, tmp_path: Path
) -> None:
    """Not the interval beside it, whose upper end may lie beyond the limit where the one-sided bound does not."""
    document = parity("a.onnx", drop=drop, half_width=0.02)
    document["metric"]["drop"] |= {"at_least": bounds[0], "at_most": bounds[1]}
    document["metric"]["separated"] = told.startswith("yes")
    found = table(page(tmp_path, document), "mAP beside the reference")
    assert found["a.onnx"][found["engine"].index("one-sided 95 % bound separates from it")] == told

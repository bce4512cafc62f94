"""What stands on the page: every number with its interval, its provenance and its marks."""

from __future__ import annotations

from pathlib import Path

import pytest
from html_outline import Element, read_page
from made_up_runs import artifact, digest_of, evaluation, parity, side
from made_up_times import (
    bench,
    bench_row,
    device_results,
    device_row,
    eager_row,
    everything,
    profile,
    published_row,
)
from report_pages import html, page, table

from hardnet_deploy.bench.stats import summarise


@pytest.fixture(scope="module")
def full_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html(everything(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def full(full_text: str) -> Element:
    return read_page(full_text)


def test_accuracy_carries_intervals_images_and_marks(tmp_path: Path) -> None:
    untrained = side("a.onnx", trained=False)
    root = page(tmp_path, parity("a.onnx", candidate=untrained), evaluation("a.onnx", engine=untrained, untrained=True))
    row = table(root, "mAP beside the reference")["a.onnx"]
    assert row[:7] == ["0.7000", "0.6986", "0.20 % relative", "−0.20 % to 0.60 %", "1.00 %", "yes", "✓ passed"]
    assert row[7] == "made-up:val (dddddddddddd)"
    assert "untrained" in row[8]
    assert "! untrained" in table(root, "mAP by itself")["a.onnx"]
    classes = table(root, "AP of every class")
    assert classes["dice & <cards>"] == ["7", "0.5000"]
    assert classes["never there"] == ["7", "–"]
    assert table(root, "COCO's twelve numbers")["a.onnx"][:4] == ["0.6986", "0.9000", "0.8000", "–"]


def test_timings_carry_provenance_and_what_could_not_be_timed(full: Element) -> None:
    times = table(full, "Times, protocol made-up")
    head, int8 = times["network, engine"], times["SSD300 made up, int8.onnx"]
    assert int8[head.index("median")] == "10.0"
    assert int8[head.index("gain against PyTorch eager")] == "4.00× (3.80 to 4.20)"
    assert int8[head.index("provenance")] == "✓ measured here"
    assert int8[head.index("SHA-256")] == digest_of("int8.onnx")[:12]
    assert "p99" not in head  # of too few runs everywhere
    vgg = times["VGG-16, eager"]
    assert vgg[head.index("published")] == "49.0"
    assert vgg[head.index("median")] == "–"
    assert vgg[head.index("provenance")] == "! not reproducible here (no NVIDIA GPU)"
    ratios = table(full, "Time as a multiple of ResNet-50, eager's")
    assert ratios["HarDNet68, eager"] == ["0.726×", "0.750×", "0.728 to 0.772", "measured here"]
    assert ratios["VGG-16, eager"][:3] == ["1.58×", "–", "–"]


@pytest.mark.parametrize(
    ("figures", "shown"),
    [
        ({"cov_percent": 2.5}, "2.5 %"),
        ({"cov_percent": 2.6}, "! 2.6 %, flagged"),
        ({"cov_percent": 2.6, "cov_flagged": True}, "! 2.6 %, flagged"),
        ({"cov_percent": 1.0, "cov_flagged": False}, "1.0 %"),
    ],
)
def test_a_large_variation_is_flagged(figures: dict[str, float | bool], shown: str, tmp_path: Path) -> None:
    half = 9.0 * figures["cov_percent"] / 100
    rounds = [[9.0 - half, 9.0 + half] * 5] * 6
    times_of = {**summarise(rounds).as_dict(), "stable": True}
    times_of.pop("cov_flagged")
    row = bench_row("a.onnx", 9.0, rounds_ms=rounds, measured={**times_of, **figures})
    root = page(tmp_path, bench([row]))
    times = table(root, "Times")
    assert times["SSD300 made up, a.onnx"][times["network, engine"].index("CoV")] == shown
    assert ("over 2.5 %, from which trtexec warns" in root.one("timings").text) == ("flagged" in shown)


def test_a_stand_in_for_a_device_is_marked_where_it_stands(tmp_path: Path) -> None:
    label = "imported (Simulated Nano, 2026-11-21), simulated"
    root = page(tmp_path, device_results([device_row(device="Simulated Nano")]))
    (row,) = (row for name, row in table(root, "Imported from devices").items() if name != "engine")
    assert row[0] == f"! {label}"


def test_precision_by_layer_and_engine(full: Element) -> None:
    layers = table(full, "Precision that each layer achieved")
    assert layers["layer"] == ["SQNR alone in INT8", "int8.onnx", "reckless.onnx"]
    assert layers["base.0.conv"] == ["21.0 dB", "FP32", "FP32"]
    assert layers["base.1.conv"] == ["38.0 dB", "INT8", "INT8"]
    assert "FP32 in every layer: float.onnx" in full.one("precision").text
    alone = table(full, "Each layer of float.onnx alone in INT8")
    assert alone["head.0"][:3] == ["no noise", "0.10 %", "−0.20 % to 0.40 %"]


def test_commands_are_there_to_be_run_again_and_once_each(full: Element) -> None:
    lines = [one.text for one in full.one("reproduce").all("pre")]
    assert "hardnet-deploy build-engine 'a b.onnx' --int8 -o int8.onnx" in lines
    assert "hardnet-deploy parity ssd300-made-up int8.onnx --data demo" in lines
    assert len(set(lines)) == len(lines)
    assert full.all("footer")[0].text == "This page again: hardnet-deploy report 'a b'"
    assert "float.roofline.json" in full.one("reproduce").text  # whose command is not recorded


def test_manifests_say_whether_the_file_is_still_there(tmp_path: Path) -> None:
    for name in ("same.onnx", "other.onnx", "gone.onnx"):
        artifact(tmp_path, name)
    (tmp_path / "other.onnx").write_bytes(b"x")
    (tmp_path / "gone.onnx").unlink()
    rows = {Path(name).name: row for name, row in table(page(tmp_path), "Artifacts").items()}
    assert rows["same.onnx"][:2] == [digest_of("same.onnx"), "✓ unchanged"]
    assert rows["other.onnx"][1] == "! changed since its manifest was written"
    assert rows["gone.onnx"][1] == "! not beside its manifest"


def test_the_drawing_holds_every_engine_with_time_and_map_on_the_same_images(tmp_path: Path) -> None:
    rows = [eager_row(), bench_row("a.onnx", 10.0)]
    rows += [bench_row("b.onnx", 20.0), published_row("VGG-16", 49.0)]
    root = page(tmp_path, parity("a.onnx"), parity("b.onnx", drop=0.5), bench(rows))
    (drawing,) = (one for one in root.one("accuracy-latency").all("svg") if one.attributes.get("role") == "img")
    assert {text.text for text in drawing.all("text")} >= {"a.onnx", "b.onnx", "PyTorch ssd300-made-up"}
    shapes = [
        one.attributes["class"].split()[1] for one in drawing.all("g") if "mark" in one.attributes.get("class", "")
    ]
    assert sorted(shapes) == ["circle", "cross", "square"]
    assert drawing.all("desc")[0].text.count(" ms, mAP ") == 3


def test_two_times_of_one_engine_are_told_apart_in_the_drawing(tmp_path: Path) -> None:
    again = {"file": "a.onnx", "sha256": digest_of("a.onnx")}
    rows = [bench_row("a.onnx", 10.0), bench_row("ort-fp32", 30.0, artifact=again)]
    root = page(tmp_path, parity("a.onnx"), bench(rows))
    (drawing,) = (one for one in root.one("accuracy-latency").all("svg") if one.attributes.get("role") == "img")
    names = {text.text for text in drawing.all("text")}
    assert {"a.onnx, a.onnx", "a.onnx, ort-fp32"} <= names


def test_ratios_name_the_row_that_they_are_against(tmp_path: Path) -> None:
    reference = bench_row("a.onnx", 10.0)
    ratio = {"reference": reference["key"], "published": None, "measured": {"ratio": 2.5, "low": 2.4, "high": 2.6}}
    root = page(tmp_path, bench([reference, bench_row("b.onnx", 25.0, ratio_to_reference=ratio)]))
    rows = table(root, "Time as a multiple of SSD300 made up, a.onnx's")
    assert rows["network, engine"] == ["measured", "95 % interval", "provenance"]  # nothing published
    assert rows["SSD300 made up, b.onnx"][:2] == ["2.50×", "2.40 to 2.60"]
    assert "◇" not in root.one("timings").text
    assert [one.text for one in root.one("timings").all("li")] == ["measured, with its 95 % interval"]


def test_profile_and_roofline(full: Element) -> None:
    layers = table(full, "Time by layer, int8.onnx")
    assert list(layers)[1:] == ["base.1.conv", "base.0.conv", "nms.selected"]  # the longest first
    assert layers["base.1.conv"] == ["base.1", "Conv", "7.00", "70.0 %"]
    assert table(full, "Time by group, int8.onnx")["HarDBlock 1"] == ["7.00", "70.0 %"]
    assert "Layers account for 97.5 % of the whole run." in full.one("profile").text
    assert table(full, "What TensorRT would stumble over")["channels-8"] == ["an odd width", "widen it", "–"]
    bounds = table(full, "Bounds, ssd300-made-up")
    assert bounds["cpu, FP32"] == ["100 GFLOP/s", "10 GB/s", "1.20", "1 of 2", "a made-up data sheet"]
    each = table(full, "Bound of every layer, ssd300-made-up, cpu, FP32")
    assert each["base.0.conv"] == ["base.0.conv", "20.0", "10.0", "2.0", "0.400", "memory", "0.800", "50 %"]
    assert each["base.1.conv"][-2:] == ["–", "–"]


@pytest.mark.parametrize(("runs", "told"), [(1, "1 run."), (2, "2 runs."), (None, "runs not recorded.")])
def test_one_is_not_called_several_and_none_is_not_called_zero(runs: int | None, told: str, tmp_path: Path) -> None:
    assert f"measured here; {told}" in page(tmp_path, profile("int8.onnx", runs=runs)).one("profile").text


def test_a_bench_of_one_iteration_in_one_round_says_so(tmp_path: Path) -> None:
    run = bench([])
    run["protocol"] |= {"iterations": 1, "rounds": 1, "budget_s": 1}
    text = page(tmp_path, run).one("timings").text
    assert ": 1 iteration asked for, 1 round, 1 s of timing at most (300 iterations in the published one)." in text

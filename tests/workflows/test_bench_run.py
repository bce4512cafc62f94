"""``run_bench`` with made-up timings in the place of processes: rows, ratios, provenance, what survives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from device_reports import report, write
from made_up_bench import LAPTOP, ROUNDS, RUNS, MadeUpTimings
from tiny_detector import BLUE, save_image, write_toy

from hardnet_deploy.bench.document import check_bench, read_bench
from hardnet_deploy.errors import InputFileError, OutputFileError, TargetError, UnstableTimingError
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.results import merge
from hardnet_deploy.workflows import bench as workflow
from hardnet_deploy.workflows.bench import run_bench
from hardnet_deploy.workflows.bench_options import BenchRequest
from hardnet_deploy.workflows.bench_result import BenchResult


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> MadeUpTimings:
    made_up = MadeUpTimings()
    monkeypatch.setattr(workflow, "time_sides", made_up)
    return made_up


def benched(*subjects: str, **options: Any) -> BenchResult:
    result = run_bench(BenchRequest(subjects=subjects, **options), lambda *_: None, machine=LAPTOP)
    check_bench(json.loads(json.dumps(result.document)), source="this run")
    return result


def by_key(result: BenchResult) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in result.rows}


def test_ratios_to_the_reference_are_of_the_same_engine_published_beside_measured(timings: MadeUpTimings) -> None:
    timings.ms = {"hardnet68/eager": 20.0, "resnet50/eager": 40.0, "hardnet68/fused": 10.0, "resnet50/fused": 30.0}
    rows = by_key(benched(protocol="1080ti-1024", engines="eager,fused"))
    eager, fused = rows["hardnet68/eager"], rows["hardnet68/fused"]
    assert eager["ratio_to_reference"]["reference"] == "resnet50/eager"
    assert eager["ratio_to_reference"]["published"] == pytest.approx(22.5 / 31.0)
    assert eager["ratio_to_reference"]["measured"]["ratio"] == pytest.approx(0.5)
    assert fused["ratio_to_reference"]["measured"]["ratio"] == pytest.approx(1 / 3)
    interval = fused["ratio_to_reference"]["measured"]
    assert interval["low"] <= interval["ratio"] <= interval["high"]
    assert rows["resnet50/eager"]["ratio_to_reference"] is None
    assert eager["published"] == {
        "ms": 22.5,
        "device": "GTX 1080 Ti",
        "runtime": "PyTorch 1.1.0",
        "source": "https://github.com/PingoLH/Pytorch-HarDNet",
    }


def test_the_gain_over_eager_is_how_many_times_faster_in_the_same_run(timings: MadeUpTimings) -> None:
    timings.ms = {"hardnet68/eager": 20.0, "hardnet68/fused": 5.0}
    rows = by_key(benched("hardnet68", engines="eager,fused"))
    assert rows["hardnet68/fused"]["gain_over_eager"]["ratio"] == pytest.approx(4.0)
    assert rows["hardnet68/eager"]["gain_over_eager"] is None


def test_a_row_says_that_images_were_repeated_to_fill_its_batch(timings: MadeUpTimings) -> None:
    """What is timed finds four images in its file."""
    Path("images").mkdir()
    for name in ("a", "b", "c"):
        save_image(Path(f"images/{name}.png"), BLUE, (8, 6))
    timings.changes = {"hardnet68/eager": {"notes": ("fed with 4 images in turn",)}}
    rows = by_key(benched("hardnet68", engines="eager", data="images", batch=4))
    assert rows["hardnet68/eager"]["input"] == "3 images, repeated to batches of 4"
    rows = by_key(benched("hardnet68", engines="eager", batch=4))
    assert rows["hardnet68/eager"]["input"] == "4 images in turn"


def test_what_cannot_run_here_has_a_row_with_the_published_time_and_no_measured_one(timings: MadeUpTimings) -> None:
    rows = by_key(benched(protocol="1080ti-1024", engines="eager,fp16"))
    row = rows["vgg16/fp16"]
    assert row["provenance"] == "not reproducible here (no NVIDIA GPU that PyTorch can use)"
    assert row["published"]["ms"] == 49.0
    assert row["measured"] is row["rounds_ms"] is row["ratio_to_reference"]["measured"] is row["device"] is None
    assert len(timings.sides) == 5


def test_a_side_with_a_problem_does_not_end_the_others(timings: MadeUpTimings) -> None:
    timings.changes = {
        "hardnet68/compile": {
            "problem": "no compiler",
            "rounds_ms": (),
            "round_numbers": (),
            "stable": None,
            "source": "",
        }
    }
    rows = by_key(benched("hardnet68", engines="eager,compile"))
    assert rows["hardnet68/compile"]["provenance"] == "not reproducible here (no compiler)"
    assert rows["hardnet68/eager"]["provenance"] == "measured here"


def test_rounds_that_are_not_common_give_a_ratio_without_an_interval_and_say_so(timings: MadeUpTimings) -> None:
    timings.ms = {"hardnet68/eager": 20.0}
    timings.changes = {"hardnet68/fused": {"round_numbers": tuple(range(ROUNDS, 2 * ROUNDS))}}
    row = by_key(benched("hardnet68", engines="eager,fused"))["hardnet68/fused"]
    assert row["gain_over_eager"]["ratio"] == pytest.approx(2.0)
    assert row["gain_over_eager"]["low"] is None
    assert any("different rounds" in text for text in row["notes"])


def test_figures_are_of_every_run_and_percentiles_only_of_enough(timings: MadeUpTimings) -> None:
    del timings
    (row,) = benched("hardnet68", engines="eager").rows
    assert row["measured"]["runs"] == ROUNDS * RUNS == sum(map(len, row["rounds_ms"]))
    assert row["measured"]["p90"] is not None
    assert row["measured"]["p95"] is row["measured"]["p99"] is None


def test_every_row_says_what_it_is_of(timings: MadeUpTimings) -> None:
    del timings
    write_toy(Path("toy.onnx"), nms="onnx")
    rows = by_key(benched("toy.onnx", "ssd300-hardnet-demo", engines="eager"))
    toy, eager = rows["toy.onnx/ort-fp32/network+NMS"], rows["ssd300-hardnet-demo/eager/network+NMS"]
    assert toy["artifact"] == {"file": "toy.onnx", "sha256": "0a" * 32}
    assert toy["network"] == "toy"
    assert eager["artifact"] == {"file": None, "sha256": "0a" * 32}
    assert eager["source"] == "a made-up definition"
    assert [row["boundary_text"] for row in (toy, eager)] == ["made up: network+NMS"] * 2
    assert [row["trained"] for row in (toy, eager)] == [False, False]


def test_files_of_other_sizes_and_batches_are_compared_only_where_that_means_something(timings: MadeUpTimings) -> None:
    del timings
    write_toy(Path("a.onnx"), outputs="raw")
    write_toy(Path("b.onnx"), outputs="raw", batch=4)
    rows = by_key(benched("a.onnx", "b.onnx", "hardnet68", engines="eager"))
    assert rows["b.onnx/ort-fp32"]["ratio_to_reference"]["measured"] is None
    assert any("batches of 4" in text for text in rows["b.onnx/ort-fp32"]["notes"])
    assert rows["hardnet68/eager"]["ratio_to_reference"]["measured"]["ratio"] == pytest.approx(1.0)
    assert any("different inputs: 224 x 224" in text for text in rows["hardnet68/eager"]["notes"])


def test_unstable_rows_are_an_error_unless_they_are_allowed(timings: MadeUpTimings) -> None:
    timings.changes = {"hardnet68/fused": {"stable": False}}
    result = benched("hardnet68", engines="eager,fused")
    assert isinstance(result.error, UnstableTimingError)
    assert result.error.exit_code == 7
    assert "hardnet68/fused" in str(result.error)
    assert "hardnet68/eager" not in str(result.error)
    assert "--threads 1" in str(benched("hardnet68", engines="eager,fused", threads=2).error)
    assert "--threads" not in str(benched("hardnet68", engines="eager,fused", threads=1).error)
    allowed = benched("hardnet68", engines="eager,fused", allow_unstable=True)
    assert allowed.error is None
    assert by_key(allowed)["hardnet68/fused"]["measured"]["stable"] is False


def test_nothing_timed_is_never_a_result(timings: MadeUpTimings) -> None:
    nothing = {"problem": "broken", "rounds_ms": (), "round_numbers": (), "stable": None}
    timings.changes = {"hardnet68/eager": nothing}
    result = benched("hardnet68", engines="eager", allow_unstable=True)
    assert isinstance(result.error, TargetError)
    assert "broken" in str(result.error)


def test_the_load_of_preparing_engines_is_not_taken_for_somebody_elses(
    timings: MadeUpTimings, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = iter([0.1, *[50.0] * 1000])
    monkeypatch.setattr("os.getloadavg", lambda: (next(loads), 0.0, 0.0))
    conditions = benched("hardnet68", engines="eager,fused").document["conditions"]
    assert conditions["load"] is None
    assert conditions["after"]["load_average"][0] == 50.0
    assert "load average 50" in benched("hardnet68", engines="eager").document["conditions"]["load"]


def test_each_round_is_saved_as_unfinished_and_the_end_as_finished(timings: MadeUpTimings) -> None:
    seen: list[dict[str, Any]] = []
    timings.during = lambda: seen.append(read_bench(Path("out/b.json")))
    request = BenchRequest(subjects=("hardnet68",), engines="eager", save=Path("out/b.json"))
    result = run_bench(request, lambda *_: None, machine=LAPTOP)
    assert [one["finished"] for one in seen] == [False]
    assert seen[0]["rows"][0]["measured"]
    assert result.write(request) == ((Path("out/b.json"),), ())
    assert read_bench(Path("out/b.json"))["finished"] is True


def test_an_interrupt_keeps_what_was_measured(timings: MadeUpTimings) -> None:
    timings.stopped_by = "interrupted"
    timings.changes = {
        "hardnet68/fused": {"rounds_ms": (), "round_numbers": (), "stable": None, "source": ""},
        "hardnet68/eager": {"stable": False},
    }
    result = benched("hardnet68", engines="eager,fused")
    assert result.interrupted
    assert result.error is None
    assert result.document["finished"] is False
    rows = by_key(result)
    assert rows["hardnet68/eager"]["provenance"] == "measured here"
    assert rows["hardnet68/fused"]["provenance"] == "not measured (the timing ended before its turn)"


def test_a_disk_that_fills_up_on_the_way_does_not_end_the_timing(
    timings: MadeUpTimings, monkeypatch: pytest.MonkeyPatch
) -> None:
    del timings
    told: list[str] = []

    def full(*_: Any) -> None:
        raise OutputFileError("no space left to write b.json")

    monkeypatch.setattr(workflow, "save_bench", full)
    request = BenchRequest(subjects=("hardnet68",), engines="eager", save=Path("b.json"))
    result = run_bench(request, lambda *_: None, tell=told.append, machine=LAPTOP)
    assert [line for line in told if "no space left" in line and "goes on" in line]
    assert result.rows[0]["measured"]


def test_imported_rows_stand_beside_marked_and_are_compared_with_nothing(timings: MadeUpTimings) -> None:
    del timings
    store = Path("results.json")
    merge(store, read_report(write(Path("report.json"), report()), None))
    result = benched("hardnet68", engines="eager", results=store)
    imported = result.rows[-1]
    assert imported["provenance"].startswith("imported (")
    assert imported["ratio_to_reference"] is imported["gain_over_eager"] is imported["rounds_ms"] is None
    assert imported["measured"]["median"] > 0
    assert imported["measured"]["cov_flagged"] in {True, False, None}
    assert imported["nms"] is imported["nms_candidates"] is None


def test_a_store_that_is_not_there_is_an_error_before_anything_runs(timings: MadeUpTimings) -> None:
    with pytest.raises(InputFileError, match="there is no file none"):
        benched("hardnet68", results=Path("none.json"))
    assert timings.plan is None


def test_the_plan_reaches_the_clock(timings: MadeUpTimings) -> None:
    benched(
        "hardnet68", "vgg16", engines="eager,fused", budget="30s", rounds=4, warm_up_ms=50.0, threads=1, iterations=8
    )
    plan = timings.plan
    assert plan is not None
    assert (plan.budget_s, plan.rounds, plan.warm_up_ms, plan.iterations) == (30, 4, 50, 8)
    assert plan.reference == ("hardnet68/eager", "hardnet68/fused")
    assert {side.threads for side in timings.sides} == {1}

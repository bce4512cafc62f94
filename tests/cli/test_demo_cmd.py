"""``hardnet-deploy demo``: refused early where it cannot run, and the whole road where it can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import files, shell
from made_up_bench import made_up_document, made_up_row
from typer.testing import CliRunner

from hardnet_deploy.bench.document import read_bench
from hardnet_deploy.cli.demo_cmd import speed
from hardnet_deploy.cli.main import app
from hardnet_deploy.data.images import load_image
from hardnet_deploy.workflows.bench_result import BenchResult
from hardnet_deploy.workflows.demo import INT8_BUDGET

MODEL = "ssd300-hardnet-demo"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("count", ["0", "-3"])
def test_no_scenes_are_a_usage_error(count: str) -> None:
    result = CliRunner().invoke(app, ["demo", "--count", count, "--json"])
    assert result.exit_code == 2
    assert f"cannot give {count} scenes" in json.loads(result.stdout)["what"]
    assert files(Path()) == {}


def test_speeds_are_marked_as_in_the_table_of_the_bench() -> None:
    eager = made_up_row(key="m/eager", nms="numpy", ratio_to_reference=None)
    gain = {"ratio": 2.5, "low": 2.4, "high": 2.6, "rounds": 4, "eager": "m/eager"}
    int8 = made_up_row(key="m/int8", engine="ort-int8", ratio_to_reference=None, gain_over_eager=gain)
    int8["artifact"] = {"file": "out/int8.onnx", "sha256": "0a" * 32}
    unsettled = eager | {"measured": {**eager["measured"], "stable": False}}
    for pytorch, mark in ((eager, ""), (unsettled, " UNSTABLE")):
        document = made_up_document(pytorch, int8)
        result = BenchResult(document=document, stopped_by="done", allow_unstable=True, notes=())
        _, first, second, *legend = speed(result)
        assert first.split() == ["PyTorch", "2.0", "ms", "HIGH", *mark.split()]
        assert second.endswith(f"2.0 ms HIGH  2.50 (2.40 to 2.60){mark}, eager's NMS in NumPy")
        assert second.startswith("int8.onnx")
        assert any("did not settle" in line for line in legend) == bool(mark)


@pytest.mark.parametrize("flagged", [False, True])
def test_a_mark_is_explained_where_a_row_has_it_and_nowhere_else(flagged: bool) -> None:
    eager, int8 = made_up_row(key="m/eager"), made_up_row(key="m/int8", engine="ort-int8")
    rows = [row | {"gain_over_eager": None, "ratio_to_reference": None} for row in (eager, int8)]
    for row in rows:
        row["measured"] = row["measured"] | {"cov_flagged": flagged, "stable": not flagged}
    result = BenchResult(document=made_up_document(*rows), stopped_by="done", allow_unstable=True, notes=())
    _, first, second, *legend = speed(result)
    assert [first.endswith(" ms HIGH UNSTABLE"), second.endswith(" ms HIGH UNSTABLE")] == [flagged] * 2
    assert any(line.strip().startswith("HIGH: ") for line in legend) == flagged


@pytest.mark.slow
def test_the_whole_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    done = shell("demo", "-o", "out", "--count", "24", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["model"] == MODEL
    assert record["trained"] is True
    assert record["passed"] is True
    assert record["data"]["images"] == 24
    assert [(run["fused"], run["nms"]) for run in record["runs"]] == [
        (False, "efficient"),
        (True, "efficient"),
        (True, "onnx"),
    ]
    for run in record["runs"]:
        assert run["passed"] is True
        assert run["mAP"] == pytest.approx(record["mAP"], rel=5e-3)  # the budget of parity
        report = json.loads(Path(run["report"]).read_text(encoding="utf-8"))
        assert report["candidate"]["sha256"] == run["sha256"]
    assert record["mAP"] > 0.5
    int8 = record["int8"]
    assert int8["passed"] is True
    assert int8["macs_in_int8"] == 1.0
    assert int8["mAP"] == pytest.approx(record["mAP"], rel=INT8_BUDGET)
    bench = read_bench(Path(record["bench"]))
    assert [row["engine"] for row in bench["rows"]] == ["eager", "ort-fp32", "ort-int8"]
    assert all(row["measured"]["runs"] > 0 and row["boundary"] == "network+NMS" for row in bench["rows"])
    assert bench["rows"][2]["artifact"]["sha256"] == int8["sha256"]
    page = Path(record["report"]).read_text(encoding="utf-8")
    assert "No command is recorded" not in page
    assert int8["sha256"][:12] in page
    assert load_image(record["picture"]).ndim == 3
    made = set(files(Path("out")))
    exports = ("unfused", "fused", "fused-onnx-nms")
    assert made == {
        "detections.png",
        *(f"{name}.onnx{end}" for name in exports for end in ("", ".json")),
        *(f"{name}.parity.json" for name in (*exports, "int8")),
        *(f"int8.{end}" for end in ("onnx", "onnx.json", "calib.json", "profile.json", "evaluation.json")),
        *(f"worst/{name}" for name in files(Path("out/worst"))),
        "pytorch.evaluation.json",
        "bench.json",
        "report.html",
    }
    assert files(Path("out/worst"))

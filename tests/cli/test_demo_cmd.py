"""``hardnet-deploy demo``: refused early where it cannot run, and the whole road where it can."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import files, shell
from typer.testing import CliRunner

from hardnet_deploy.bench.document import read_bench
from hardnet_deploy.cli.main import app
from hardnet_deploy.data.images import load_image
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

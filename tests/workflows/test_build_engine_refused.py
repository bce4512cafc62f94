"""``build-engine``: every way in which no engine comes out, and what is left then: nothing."""

from __future__ import annotations

import dataclasses
import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_int8 import (
    DETECTOR,
    LAYERS,
    build,
    changed,
    detector_graph,
    fill_folder,
    write_graph,
)

from hardnet_deploy import artifacts
from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.engines.ort_build import OptimisedGraph
from hardnet_deploy.errors import ArtifactMismatchError, ExportError, HardnetDeployError, InputFileError, UsageError
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.workflows import build_engine as workflow
from hardnet_deploy.workflows import build_ranges, quantise, save_engine
from hardnet_deploy.workflows.open_engine import open_engine

ENGINE, TABLE = Path("int8.onnx"), Path("float.calib.json")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    fill_folder(tmp_path)


def left() -> set[str]:
    return {str(path) for path in Path().rglob("*") if "cache" not in path.parts}


def refused(kind: type[HardnetDeployError], message: str, **options: Any) -> HardnetDeployError:
    """The error of a build that leaves the folder as it was."""
    before = left()
    with pytest.raises(kind, match=message) as caught:
        build(**options)
    assert left() == before
    return caught.value


def stale(name: str) -> dict[str, Any]:
    """A source of which the table is not."""
    if name == "graph":
        other = detector_graph()
        next(node for node in other.graph.node if node.name == "base.2").name = "another"
        write_graph(Path("other.onnx"), other)
    elif name == "weights":
        write_graph(Path("other.onnx"), changed(detector_graph(), "base.2.weight", lambda values: 2 * values))
    else:
        mean = dataclasses.replace(DETECTOR.preprocess, mean=(0.0, 0.0, 0.0))
        write_graph(Path("other.onnx"), detector_graph(), preprocess=dataclasses.asdict(mean))
    return {"source": "other.onnx"}


@pytest.mark.parametrize(
    ("what", "message"),
    [("graph", "another graph"), ("weights", "another weights"), ("mean", "another pre-processing")],
)
def test_a_table_of_something_else_ends_with_8(what: str, message: str) -> None:
    error = refused(ArtifactMismatchError, message, **stale(what))
    assert error.exit_code == 8
    assert error.got
    assert "calibrate again" in (error.next_step or "")
    refused(ArtifactMismatchError, message, dry_run=True, **stale(what))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a calibration table"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"{}", "not a calibration table"),
        (b"TRT-8601-EntropyCalibration2\nimages: 3c010204\n", "is a calibration cache of TensorRT"),
        (b"TRT-86", "is a calibration cache of TensorRT"),
        (None, "cut short"),
    ],
)
def test_a_table_that_is_none_ends_with_4(content: bytes | None, message: str) -> None:
    whole = TABLE.read_bytes()
    TABLE.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert refused(InputFileError, message).exit_code == 4
    assert "float.calib.json" in refused(InputFileError, message).what


def test_a_table_that_is_not_there_ends_with_4() -> None:
    error = refused(InputFileError, "none.json cannot be read", calib=Path("none.json"))
    assert error.next_step == "hardnet-deploy calibrate writes one"


def test_int8_without_data_ends_with_2() -> None:
    error = refused(UsageError, "INT8 needs ranges", calib=None)
    assert error.exit_code == 2
    assert "--data" in (error.wanted or "")
    refused(UsageError, "INT8 needs ranges", calib=None, source="ssd512-hardnet68-coco")  # at once, before its export
    refused(UsageError, "INT8 needs ranges", calib=None, source="ssd512-hardnet68-coco", dry_run=True)


def test_a_search_without_labelled_images_ends_with_2() -> None:
    refused(UsageError, "--max-drop needs labelled images", max_drop=0.01)
    refused(UsageError, "names no labelled data", max_drop=0.01, search_data="pictures")


def test_images_kept_for_measuring_are_refused() -> None:
    refused(UsageError, "kept for measuring", data="demo:val")


def test_misspelt_layers_are_refused_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_ranges, "calibrate_engine", None)
    refused(UsageError, "no layer is called 'base.7'", data="pictures", layer_precisions="base.7:fp32")


def keep_float(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime that fuses nothing: every convolution stays float."""
    monkeypatch.setattr(quantise, "optimise", lambda model: model)


def test_a_layer_that_stays_float_unasked_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_float(monkeypatch)
    error = refused(ExportError, f"{len(LAYERS)} layers that were to be INT8 stayed float")
    assert error.exit_code == 4
    assert "base.0" in (error.got or "")
    assert "--allow-fallback" in (error.next_step or "")


def test_fallbacks_are_taken_where_allowed_and_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_float(monkeypatch)
    result = build(allow_fallback=True)
    assert {f"stayed float without being asked: {name}" for name in LAYERS} <= set(result.notes)
    assert result.macs_int8 == 0.0
    assert result.manifest is not None
    assert set(result.manifest.precision["achieved"].values()) == {"fp32"}
    assert result.manifest.precision["asked_to_stay_float"] == []


def test_a_relu_that_stays_between_int8_layers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_relu(_optimised: object, weights: dict[str, str]) -> OptimisedGraph:
        return OptimisedGraph(
            achieved=dict.fromkeys(weights, "int8"),
            integer_convolutions=len(weights),
            float_convolutions=(),
            float_relus=("base.2.relu",),
            operators={},
        )

    monkeypatch.setattr(quantise, "inspect", with_relu)
    assert refused(ExportError, "ReLU was left in float").got == "base.2.relu"


def test_a_full_disk_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts, "write_durably", full)
    error = refused(HardnetDeployError, "no space left to write")
    assert error.exit_code == 4


def test_an_older_engine_stays_where_the_new_one_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    build()
    old = ENGINE.read_bytes()
    keep_float(monkeypatch)
    refused(ExportError, "stayed float")
    assert ENGINE.read_bytes() == old
    assert open_engine(str(ENGINE)).warning is None


def test_an_output_that_cannot_be_written_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow, "open_engine", None)
    assert refused(HardnetDeployError, "is a folder", output=Path("pictures")).exit_code == 4
    assert refused(HardnetDeployError, "is not a folder", output=Path("float.onnx/e.onnx")).exit_code == 4


def test_an_engine_that_answers_with_no_numbers_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(OrtRunner):
        def infer(self, feeds: Any) -> Any:
            return {name: values * np.nan for name, values in super().infer(feeds).items()}

    monkeypatch.setattr(save_engine, "OrtRunner", Broken)
    refused(ExportError, "no finite numbers; nothing was written")


def test_a_dry_run_writes_nothing_and_checks_what_it_can() -> None:
    before = left()
    result = build(dry_run=True)
    assert left() == before
    assert result.manifest is None
    assert result.notes[-1] == "dry run: nothing was built"
    document = json.loads(json.dumps(result.as_dict()))
    assert document["engine"] is None
    assert document["precision"] == {"requested": "int8"}
    refused(InputFileError, "there is no file none.onnx", dry_run=True, source="none.onnx")
    refused(UsageError, "no layer is called", dry_run=True, layer_precisions="x:fp32")
    refused(InputFileError, "cannot be read", dry_run=True, calib=Path("none.json"))
    refused(UsageError, "INT8 needs ranges", dry_run=True, calib=None)
    build(dry_run=True, data="pictures")
    assert left() == before


def test_a_file_without_a_manifest_is_refused_even_where_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = dataclasses.replace(open_engine("float.onnx"), manifest=None, warning="taken without a manifest")
    manifest_path(Path("float.onnx")).unlink()
    refused(ArtifactMismatchError, "has no manifest")
    monkeypatch.setattr(workflow, "open_engine", lambda *_, **__: bare)
    for options in ({"int8": False}, {"data": "pictures"}, {"dry_run": True}):
        error = refused(ArtifactMismatchError, "could not say what it is", trust=True, **options)
        assert "export the model again" in (error.next_step or "")


def test_an_engine_is_not_built_from_an_engine() -> None:
    build()
    refused(UsageError, "int8.onnx is int8 already", source=str(ENGINE), output=Path("again.onnx"))
    refused(UsageError, "int8.onnx is int8 already", source=str(ENGINE), int8=False, output=Path("again.onnx"))


def test_a_graph_that_detects_without_boxes_and_scores_is_refused() -> None:
    bare = detector_graph(nms="onnx")
    del bare.graph.value_info[:]
    write_graph(Path("bare.onnx"), bare)
    refused(ExportError, "no tensors 'boxes' and 'scores'", source="bare.onnx")

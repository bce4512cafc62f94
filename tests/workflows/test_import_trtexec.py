"""What trtexec exported is filed with what ties it to an engine and a kit, and with nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device_reports import layer_info, profile, times, write
from small_kits import plan_beside, small_kit
from trtexec_exports import exported_files, row_of

from hardnet_deploy.errors import ArtifactMismatchError, HardnetDeployError, InputFileError, UsageError
from hardnet_deploy.kit.results import merge, read_rows
from hardnet_deploy.workflows.import_trtexec import TrtexecFiles

OF_THE_KIT = ("model", "trained", "target", "precision", "sha256.kit", "sha256.onnx")


@pytest.fixture
def files(tmp_path: Path) -> TrtexecFiles:
    return exported_files(tmp_path)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    small_kit(tmp_path / "kit")
    return tmp_path / "kit"


def pascal(tmp_path: Path) -> Path:
    settings: dict[str, Any] = {"target": "gtx-1080ti", "precision": "int8", "settings": {"precision": "int8"}}
    small_kit(tmp_path / "pascal", **settings)
    return tmp_path / "pascal"


def test_without_an_engine_nothing_of_the_kit_is_filed(files: TrtexecFiles, kit: Path) -> None:
    row = row_of(files, engine=None, kit=kit, layer_info=write(kit.parent / "layers.json", layer_info()))
    assert (row.model, row.trained, row.target, row.precision) == (None, None, None, None)
    assert {name: value for name, value in row.sha256.items() if value} == {"file": row.sha256["file"]}
    assert {*OF_THE_KIT, "sha256.engine"} <= set(row.not_in_file)
    assert "NMS in or out is not in this file" in row.timing["boundary"]
    assert any("nothing ties these times to the kit" in note for note in row.notes)


def test_an_engine_without_a_manifest_is_the_user_s_word_and_leaves_the_precision_open(
    files: TrtexecFiles, kit: Path
) -> None:
    row = row_of(files, kit=kit)
    assert (row.model, row.trained, row.target) == ("ssd300-hardnet-demo", True, "jetson-nano")
    assert row.precision is None
    assert {"precision", "layers", "compute_capability"} <= set(row.not_in_file)
    assert row.sha256["onnx"] == json.loads((kit / "kit.json").read_text())["onnx"]["sha256"]
    assert any("built from the kit is your word" in note for note in row.notes)


def test_the_layers_show_the_precision(files: TrtexecFiles, kit: Path) -> None:
    row = row_of(files, kit=kit, layer_info=write(kit.parent / "layers.json", layer_info()))
    assert (row.precision, row.layers) == ("fp16", {"fp16": 1})
    assert row.timing["boundary"] == "GPU compute, NMS in"


def test_layers_of_another_precision_are_refused(files: TrtexecFiles, kit: Path) -> None:
    document = layer_info()
    for tensor in (*document["Layers"][0]["Inputs"], *document["Layers"][0]["Outputs"]):
        tensor["Format/Datatype"] = "Row major linear FP32"
    with pytest.raises(ArtifactMismatchError, match="whose engine is fp16"):
        row_of(files, kit=kit, layer_info=write(kit.parent / "layers.json", document))


@pytest.mark.parametrize("name", ["conv + relu", "PWN(conv)", "{ForeignNode[conv...nms]}", "a || conv"])
def test_merged_layers_have_their_nodes_names(files: TrtexecFiles, kit: Path, name: str) -> None:
    document = profile()
    document[1]["name"], document[2]["name"] = name, "nms"
    assert row_of(files, kit=kit, profile=write(kit.parent / "profile.json", document)).profile is not None


def test_a_profile_of_another_graph_is_refused(files: TrtexecFiles, kit: Path) -> None:
    document = profile()
    document[1]["name"] = "features.0.convolution"
    with pytest.raises(ArtifactMismatchError, match="none has the name of one of its 1 convolutions"):
        row_of(files, kit=kit, profile=write(kit.parent / "profile.json", document))


def test_a_manifest_says_what_the_engine_is(files: TrtexecFiles, kit: Path) -> None:
    assert files.engine is not None
    onnx = json.loads((kit / "kit.json").read_text())["onnx"]["sha256"]
    digest = plan_beside(files.engine, onnx_sha256=onnx)
    for row in (row_of(files), row_of(files, kit=kit)):
        assert (row.model, row.trained, row.target, row.precision) == (
            "ssd300-hardnet-demo",
            True,
            "jetson-nano",
            "fp16",
        )
        assert (row.compute_capability, row.layers) == ("5.3", {"fp16": 1, "fp32": 1})
        assert (row.sha256["engine"], row.sha256["onnx"]) == (digest, onnx)
        assert not any("built from the kit is your word" in note for note in row.notes)


@pytest.mark.parametrize(
    ("onnx_sha256", "changes"),
    [("cd" * 32, {}), (None, {}), ("kit", {"precision": {"requested": "fp32", "achieved": {}}})],
    ids=["another graph", "no graph", "precision"],
)
def test_an_engine_of_another_kit_is_refused(
    files: TrtexecFiles, kit: Path, onnx_sha256: str | None, changes: dict[str, Any]
) -> None:
    assert files.engine is not None
    own = json.loads((kit / "kit.json").read_text())["onnx"]["sha256"]
    plan_beside(files.engine, onnx_sha256=own if onnx_sha256 == "kit" else onnx_sha256, **changes)
    with pytest.raises(ArtifactMismatchError, match="is not of the kit"):
        row_of(files, kit=kit)


def test_the_version_is_held_against_the_kit(files: TrtexecFiles, tmp_path: Path) -> None:
    other = write(tmp_path / "times.json", times())
    for version in ("10.9.0.34", "11.4.0"):
        with pytest.raises(UsageError) as caught:
            row_of(files, times=other, kit=pascal(tmp_path), tensorrt=version, device="a GPU")
        assert caught.value.got == f"target 'gtx-1080ti' cannot run TensorRT {version}: it has 8.6.1"
    assert row_of(files, times=other, kit=pascal(tmp_path), tensorrt="8.6.1", device="NVIDIA GeForce GTX 1080 Ti").model


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "GTX 1080 Ti"}, "target 'gtx-1080ti' cannot run TensorRT 8.2.1"),
        ({"device": "NVIDIA Tegra X1", "tensorrt": "8.6.1"}, "target 'jetson-nano' cannot run TensorRT 8.6.1"),
    ],
    ids=["1080 ti", "nano"],
)
def test_the_version_is_held_against_a_board_s_name(files: TrtexecFiles, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        row_of(files, **changes)
    assert said in str(caught.value.got)


def test_another_board_than_the_kit_s_is_refused(files: TrtexecFiles, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        row_of(files, kit=pascal(tmp_path))
    assert "'Jetson Nano' is target 'jetson-nano', not 'gtx-1080ti'" in str(caught.value.got)


@pytest.mark.parametrize(
    "versions",
    [
        {"tensorrt": "8.2.1.8", "compute_capability": "8.9"},
        {"tensorrt": "8.2.3", "compute_capability": "5.3"},
        {"tensorrt": "8.6.1", "compute_capability": "5.3"},
    ],
    ids=str,
)
def test_the_version_is_held_against_the_engine(files: TrtexecFiles, versions: dict[str, str]) -> None:
    assert files.engine is not None
    plan_beside(files.engine, onnx_sha256=None, versions=versions)
    with pytest.raises(UsageError):
        row_of(files)


@pytest.mark.parametrize(
    "changes",
    [
        *({"tensorrt": one} for one in ("", "8", "8.2.1 ", "8.2.x", "08.2.1", "8.2.999", "v8201", "8201")),
        *({"date": one} for one in ("2024-05-18", "9999-12-31", "2021-09-30", "0001-01-01", "2024-02-30", "today")),
        *({"device": one} for one in ("", " ", "a\nb", "x" * 201, "\x1b[2J")),
    ],
    ids=ascii,
)
def test_nonsense_is_refused_with_a_next_step(files: TrtexecFiles, changes: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        row_of(files, **changes)
    assert caught.value.next_step


def test_a_file_that_is_no_plan_is_refused(files: TrtexecFiles, tmp_path: Path) -> None:
    assert files.engine is not None
    empty = tmp_path / "empty.engine"
    empty.touch()
    plan_beside(tmp_path / "model.onnx", onnx_sha256=None, kind="onnx")
    plan_beside(tmp_path / "changed.engine", onnx_sha256=None)
    (tmp_path / "changed.engine").write_bytes(b"another")
    cases: list[tuple[Path, type[HardnetDeployError]]] = [
        (empty, InputFileError),
        (tmp_path, InputFileError),
        (tmp_path / "none.engine", InputFileError),
        (tmp_path / "model.onnx", UsageError),
        (tmp_path / "changed.engine", ArtifactMismatchError),
    ]
    for path, error in cases:
        with pytest.raises(error) as caught:
            row_of(files, engine=path)
        assert "--engine" in str(caught.value.next_step)
        assert "--trust" not in str(caught.value.next_step)


def test_a_row_of_trtexec_is_stored_and_read_back(files: TrtexecFiles, kit: Path) -> None:
    stored, _ = merge(kit.parent / "results.json", row_of(files, kit=kit))
    assert read_rows(kit.parent / "results.json") == [json.loads(json.dumps(stored))]
    assert stored["label"] == "imported (Jetson Nano, 2024-05-16)"
    assert stored["timing"]["p95"] == pytest.approx(np.quantile(stored["timing"]["gpu_compute_ms"], 0.95))


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": {"requested": "int4"}},
        {"precision": {"requested": "int8"}},
        {"model": {"name": "a\nb"}},
        {"graph": {"outputs": [[]]}},
        {"checks": {"source": {"sha256": "short"}}},
        {"precision": {"requested": "fp16", "achieved": {"conv": None}}},
    ],
    ids=str,
)
def test_what_could_not_be_read_back_is_not_stored(files: TrtexecFiles, changes: dict[str, Any]) -> None:
    assert files.engine is not None
    store = files.times.with_name("results.json")
    merge(store, row_of(files))
    before = store.read_bytes()
    plan_beside(files.engine, **{"onnx_sha256": None, **changes})
    with pytest.raises(InputFileError) as caught:
        merge(store, row_of(files))
    assert caught.value.next_step
    assert store.read_bytes() == before
    assert len(read_rows(store)) == 1

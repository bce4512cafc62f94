"""What a trtexec row says of stand-ins and of mixed precisions, and which rows are one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from device_reports import layer_info, profile, times, write
from small_kits import graph_of, plan_beside, small_kit
from trtexec_exports import exported_files, row_of

from hardnet_deploy.kit.results import merge, read_rows
from hardnet_deploy.workflows.import_trtexec import TrtexecFiles


@pytest.fixture
def files(tmp_path: Path) -> TrtexecFiles:
    return exported_files(tmp_path)


@pytest.mark.parametrize(
    "versions",
    [
        {"tensorrt": "8.2.1+simulated", "gpu": "Simulated Jetson Nano", "compute_capability": "5.3"},
        {"tensorrt": "8.2.1+simulated", "gpu": "NVIDIA Tegra X1"},
        {"tensorrt": "8.2.1.8", "gpu": "Simulated Jetson Nano"},
    ],
    ids=["both", "version", "gpu"],
)
def test_an_engine_of_a_stand_in_is_filed_as_simulated_whatever_was_typed(
    files: TrtexecFiles, versions: dict[str, str]
) -> None:
    assert files.engine is not None
    plan_beside(files.engine, onnx_sha256=None, versions=versions)
    row = row_of(files)
    assert row.simulated
    assert row.label.endswith(", simulated")
    assert any("a stand-in built the engine" in note for note in row.notes)
    store = files.times.with_name("results.json")
    merge(store, row)
    (stored,) = read_rows(store)
    assert (stored["simulated"], stored["label"]) == (True, row.label)


def test_a_plan_that_calls_itself_a_stand_in_s_needs_no_manifest_to_be_filed_so(files: TrtexecFiles) -> None:
    assert files.engine is not None
    files.engine.write_bytes(b"SIMULATED TensorRT plan\n{}")
    row = row_of(files)
    assert (row.tensorrt, row.simulated) == ("8.2.1+simulated", True)
    assert row.label == "imported (Jetson Nano, 2024-05-16), simulated"


def test_a_real_engine_is_not_called_simulated(files: TrtexecFiles) -> None:
    assert files.engine is not None
    plan_beside(files.engine, onnx_sha256=None)
    row = row_of(files)
    assert (row.device, row.tensorrt, row.simulated) == ("Jetson Nano", "8.2.1", False)
    assert row.label == "imported (Jetson Nano, 2024-05-16)"


def layers_of(kinds: dict[str, str]) -> dict[str, Any]:
    layers = []
    for name, kind in kinds.items():
        tensor = {"Name": "x", "Dimensions": [1, 3, 8, 8], "Format/Datatype": f"Row major linear {kind} format"}
        layers.append({"Name": f"{name} + relu", "Inputs": [tensor], "Outputs": [tensor]})
    return {"Layers": layers, "Bindings": ["images"]}


NAMES = [f"conv{number}" for number in range(52)]


@pytest.mark.parametrize(
    ("integer", "held", "precision", "told"),
    [
        (NAMES[1:2], ["conv0"], None, "1 of 51 convolution layers achieved int8 (50 fp32)"),
        (NAMES[1:-1], ["conv0"], None, "50 of 51 convolution layers achieved int8 (1 fp32)"),
        (NAMES[1:], ["conv0"], "int8", None),
        (NAMES[1:], [], None, "51 of 52 convolution layers achieved int8 (1 fp32)"),
    ],
)
def test_a_precision_is_filed_where_every_layer_bears_it_out(
    files: TrtexecFiles, tmp_path: Path, integer: list[str], held: list[str], precision: str | None, told: str | None
) -> None:
    settings = {"precision": "int8", "fp32_layers": held}
    small_kit(tmp_path / "k", graph=graph_of(NAMES), target="gtx-1080ti", precision="int8", settings=settings)
    kinds = {name: "INT8" if name in integer else "FP32" for name in NAMES}
    row = row_of(
        files,
        times=write(tmp_path / "times.json", times()),
        tensorrt="8.6.1",
        device="GTX 1080 Ti",
        kit=tmp_path / "k",
        layer_info=write(tmp_path / "layers.json", layers_of(kinds)),
    )
    assert row.precision == precision
    assert row.layers == {"int8": len(integer), "fp32": 52 - len(integer)}
    assert ("precision" in row.not_in_file) == (precision is None)
    assert [note for note in row.notes if "convolution layers achieved" in note] == (
        [f"{told}, so the precision is left open; see layers"] if told else []
    )


def test_layers_that_the_file_does_not_show_bear_nothing_out(files: TrtexecFiles, tmp_path: Path) -> None:
    small_kit(tmp_path / "k", graph=graph_of(["conv", "other"]))
    row = row_of(files, kit=tmp_path / "k", layer_info=write(tmp_path / "layers.json", layer_info()))
    assert row.precision is None
    assert any("1 of 2 convolution layers achieved fp16 (1 not shown)" in note for note in row.notes)


def test_a_manifest_with_layers_that_fell_back_leaves_the_precision_open(files: TrtexecFiles) -> None:
    assert files.engine is not None
    asked = {"requested": "fp16", "requested_by_layer": {"a": "fp16", "b": "fp16", "c": "fp32"}}
    plan_beside(files.engine, onnx_sha256=None, precision=asked | {"achieved": {"a": "fp16", "b": "fp32", "c": "fp32"}})
    row = row_of(files)
    assert row.precision is None
    assert row.layers == {"fp16": 1, "fp32": 2}
    assert any(note.startswith("1 of 2 convolution layers achieved fp16 (1 fp32)") for note in row.notes)
    plan_beside(files.engine, onnx_sha256=None, precision=asked | {"achieved": {"a": "fp16", "b": "fp16", "c": "fp32"}})
    assert row_of(files).precision == "fp16"


def test_the_same_files_again_are_one_row_and_other_files_another(files: TrtexecFiles, tmp_path: Path) -> None:
    store = tmp_path / "results.json"
    slower = profile()
    slower[1] |= {"timeMs": 60.0, "averageMs": 6.0, "medianMs": 6.0}
    one, two = write(tmp_path / "one.json", profile()), write(tmp_path / "two.json", slower)
    half, full = layers_of({"conv": "FP16"}), layers_of({"conv": "FP32"})
    variants: list[dict[str, Any]] = [
        {},
        {"profile": one},
        {"profile": two},
        {"layer_info": write(tmp_path / "half.json", half)},
        {"layer_info": write(tmp_path / "full.json", full)},
        {"warm_up_ms": 400.0},
    ]
    for changes in variants:
        assert merge(store, row_of(files, **changes))[1]
    for changes in variants:
        assert not merge(store, row_of(files, **changes))[1]
    rows = read_rows(store)
    assert len(rows) == len(variants)
    assert [row["profile"] is None for row in rows] == [True, False, False, True, True, True]

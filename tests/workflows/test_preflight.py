"""The preflight of TensorRT builds: what it decides, what it says, and what it refuses before anything runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from made_machines import (
    ADA_GPU,
    BARE,
    ELEVEN_MACHINE,
    NANO_GPU,
    NANO_MACHINE,
    PASCAL_GPU,
    PASCAL_MACHINE,
    TEN_MACHINE,
    gpu,
    machine,
    planned,
    refused,
    tensorrt,
)
from small_int8 import write_backbone, write_detector

from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.target_spec import MIB
from hardnet_deploy.workflows.preflight_machine import Machine

PRECISIONS: dict[str, dict[str, Any]] = {"fp32": {}, "fp16": {"fp16": True}, "int8": {"int8": True}}


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    write_detector(tmp_path / "float.onnx")


# ------------------------------------------------------------------------------------------ every target and precision


@pytest.mark.parametrize(
    ("target", "precision", "typed", "calibration", "sentence"),
    [
        ("gtx-1080ti", "fp32", False, None, "build with TensorRT 8.6.1 on another machine's GeForce GTX 1080 Ti: fp32"),
        ("gtx-1080ti", "fp16", False, None, "weakly typed, with the flag FP16"),
        ("gtx-1080ti", "int8", False, "cache+ranges", "a calibration cache (TRT-8601-EntropyCalibration2), and as"),
        ("jetson-nano", "fp32", False, None, "workspace at most 256 MiB (max_workspace_size)"),
        ("jetson-nano", "fp16", False, None, "the NMS plugin's own fp16 path is broken in 8.2"),
        ("gpu", "fp32", False, None, "build with TensorRT 10 or 11 on another machine's NVIDIA GPU: fp32"),
        ("gpu", "fp16", True, None, "type the graph as fp16, with softmax, decoding and NMS as fp32 islands"),
        ("gpu", "int8", True, "qdq", "symmetric int8 Q/DQ"),
    ],
)
def test_what_every_target_and_precision_would_do(
    target: str, precision: str, typed: bool, calibration: str | None, sentence: str
) -> None:
    plan = planned(target=target, **PRECISIONS[precision])
    assert sentence in "\n".join(plan.steps)
    assert (plan.typed, plan.calibration, plan.gpu, plan.tensorrt) == (typed, calibration, None, None)
    assert plan.half_graph == (typed and precision == "fp16")
    assert plan.fp32_islands == (not typed and precision != "fp32")
    assert plan.opset == 13
    assert plan.nms == "efficient"
    assert plan.steps[-1].startswith(f"write float.{precision}.engine, float.{precision}.engine.json")


def test_the_nano_has_no_int8() -> None:
    error = refused(TargetError, "'jetson-nano' .* has no hardware for int8", target="jetson-nano", int8=True)
    assert (error.exit_code, error.next_step) == (3, "use --fp16")


@pytest.mark.parametrize("target", ["jetson-nano", "gtx-1080ti", "gpu"])
def test_only_what_the_graph_has_is_said_to_stay_fp32(target: str) -> None:
    write_backbone(Path("backbone.onnx"))
    for source in ("backbone.onnx", "hardnet68ds"):
        backbone = planned(source=source, target=target, fp16=True)
        assert backbone.islands == ()
        assert not any(word in step for step in backbone.steps for word in ("L2Norm", "softmax", "fp16 path"))
    assert planned(target=target, fp16=True).islands == ("softmax", "decoding", "NMS")
    assert planned(target=target).islands == ()
    demo = planned(source=registry.DEMO_MODEL, target=target, fp16=True)
    assert any("L2Norm, softmax, decoding and NMS" in step for step in demo.steps)


def test_a_nano_has_one_memory() -> None:
    nano, pascal = (planned(target=target).estimate for target in ("jetson-nano", "gtx-1080ti"))
    assert nano.device_bytes is None
    assert "main memory and GPU are one here" in nano.formula
    assert pascal.device_bytes is not None
    assert nano.host_bytes > 640 * MIB + 256 * MIB  # the libraries and the workspace are both in it


def test_a_dynamic_batch_on_the_nano_is_left_out_or_exported_away() -> None:
    error = refused(
        TargetError, "a fixed batch of at most 1", source=registry.DEMO_MODEL, target="jetson-nano", batch="1,4,8"
    )
    assert error.next_step == "leave --batch out: a model is exported with batch 1"
    write_detector(Path("dynamic.onnx"), batch=None)
    error = refused(TargetError, "a fixed batch", source="dynamic.onnx", target="jetson-nano", batch="1,4,8")
    assert "--target jetson-nano --batch 1 -o dynamic.jetson-nano.onnx" in (error.next_step or "")
    error = refused(UsageError, "--batch 1 is no range", source="dynamic.onnx", target="jetson-nano", batch="1")
    assert error.next_step == "leave --batch out for the fixed batch of the graph, which is 1 for a model"


def test_fp16_on_the_1080ti_builds_and_warns() -> None:
    (warning,) = planned(target="gtx-1080ti", fp16=True).warnings
    assert "not faster than fp32 there; use int8" in warning
    assert planned(target="gtx-1080ti", int8=True).warnings == ()
    assert planned(target="jetson-nano", fp16=True).warnings == ()


def test_both_precisions_are_flags_of_tensorrt_10_alone() -> None:
    both: dict[str, Any] = {"int8": True, "fp16": True}
    plan = planned(TEN_MACHINE, target="gpu", **both)
    assert (plan.typed, plan.precisions, plan.calibration) == (False, ("int8", "fp16"), "cache+ranges")
    assert plan.cache_header == "TRT-100900-EntropyCalibration2"
    assert plan.fp32_islands
    assert any("deprecated since 10.12" in warning for warning in plan.warnings)
    assert "build with TensorRT 10 on" in "\n".join(planned(target="gpu", **both).steps)
    assert refused(UsageError, "fp16 is not faster there", target="gtx-1080ti", **both).next_step == "drop --fp16"
    assert refused(TargetError, "takes every type from the graph", ELEVEN_MACHINE, target="gpu", **both).exit_code == 3


def test_a_model_is_exported_first() -> None:
    plan = planned(source=registry.DEMO_MODEL, target="jetson-nano", fp16=True, data=None)
    assert plan.steps[0].startswith(
        f"export {registry.DEMO_MODEL} as float32 ONNX: opset 13 (the target takes up to 13)"
    )
    assert plan.estimate.disk_bytes > 64 * MIB


# -------------------------------------------------------------------------------------------------------- what builds


@pytest.mark.parametrize(
    ("here", "target", "family"),
    [(PASCAL_MACHINE, "gtx-1080ti", "8.6"), (NANO_MACHINE, "jetson-nano", "8.2"), (ELEVEN_MACHINE, "gpu", "11")],
)
def test_a_machine_that_is_the_device_may_build(here: Machine, target: str, family: str) -> None:
    plan = planned(here, target=target, fp16=True, dry_run=False)
    assert (plan.family, plan.gpu) == (family, here.gpus[0].name)
    assert plan.tensorrt is not None
    assert plan.timing_cache is not None
    assert plan.timing_cache.name.startswith(f"{plan.tensorrt}-NVIDIA-")


@pytest.mark.parametrize("target", ["gtx-1080ti", "jetson-nano"])
@pytest.mark.parametrize("here", [BARE, machine(ADA_GPU), TEN_MACHINE], ids=["bare", "another gpu", "with tensorrt"])
def test_a_real_build_for_a_board_that_is_not_here_names_the_kit(here: Machine, target: str) -> None:
    error = refused(TargetError, "there is none in this machine", here, target=target, dry_run=False)
    assert error.exit_code == 3
    command = f"hardnet-deploy kit MODEL --target {target} --precision fp32 -o DIR"  # of a graph that is no model's
    assert command in (error.next_step or "")


def test_a_real_build_without_tensorrt_or_gpu_names_the_way_out() -> None:
    error = refused(TargetError, "builds on an NVIDIA GPU, and there is none", target="gpu", dry_run=False)
    assert "--dry-run" in (error.next_step or "")
    missing = refused(TargetError, "not installed", machine(PASCAL_GPU), target="gtx-1080ti", dry_run=False)
    assert "hardnet-deploy kit" in (missing.next_step or "")
    broken = machine(ADA_GPU, trt=tensorrt("?", None))
    assert "no such file" in refused(TargetError, "does not load", broken, target="gpu", dry_run=False).what
    assert "does not load" in planned(broken, target="gpu").warnings[0]


@pytest.mark.parametrize(
    ("board", "target", "version", "family", "told"),
    [
        (PASCAL_GPU, "gtx-1080ti", "10.9.0.34", "10", "Unsupported SM: 0x601"),
        (PASCAL_GPU, "gtx-1080ti", "11.4.0.106", "11", "Unsupported SM: 0x601"),
        (NANO_GPU, "jetson-nano", "10.9.0.34", "10", "JetPack 4.6 is the last one"),
        (NANO_GPU, "jetson-nano", "8.6.1", "8.6", "JetPack 4.6 is the last one"),
        (PASCAL_GPU, "gtx-1080ti", "8.2.1", "8.2", None),
        (ADA_GPU, "gpu", "8.6.1", "8.6", None),
    ],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_tensorrt_of_another_generation_is_refused(
    board: Any, target: str, version: str, family: Any, told: str | None, dry_run: bool
) -> None:
    here = machine(board, trt=tensorrt(version, family))
    error = refused(TargetError, f"TensorRT {version} does not serve target", here, target=target, dry_run=dry_run)
    assert error.exit_code == 3
    assert told is None or told in (error.got or "")
    assert "install TensorRT" in (error.next_step or "")


def test_without_any_gpu_the_wrong_tensorrt_is_refused_too_and_beside_another_gpu_it_is_told() -> None:
    refused(TargetError, "does not serve", machine(trt=tensorrt("10.9.0", "10")), target="gtx-1080ti")
    plan = planned(TEN_MACHINE, target="jetson-nano")
    assert (plan.family, plan.tensorrt, plan.gpu) == ("8.2", None, None)
    assert "is for its NVIDIA RTX 4090" in plan.warnings[0]


def test_jetpack_46_is_too_old() -> None:
    here = machine(NANO_GPU, trt=tensorrt("8.0.1.6", "8.2"))
    error = refused(TargetError, r"TensorRT 8\.0\.1\.6 is too old", here, target="jetson-nano")
    assert (error.exit_code, error.next_step) == (3, "install JetPack 4.6.1 or later")


def test_versions_with_a_name_for_trouble_are_told() -> None:
    plan = planned(machine(ADA_GPU, trt=tensorrt("10.2.0", "10")), target="gpu")
    assert "10.2.0 is known to fail" in plan.warnings[0]
    older = planned(machine(PASCAL_GPU, trt=tensorrt("8.5.3.1", "8.6")), target="gtx-1080ti")
    assert "not the version known to serve 'gtx-1080ti': 8.6.1" in older.warnings[0]
    assert planned(PASCAL_MACHINE, target="gtx-1080ti").warnings == ()


def test_a_gpu_of_a_named_board_leads_to_its_target() -> None:
    error = refused(TargetError, r"sm_61\) is not served", machine(PASCAL_GPU), target="gpu")
    assert error.next_step == "use --target gtx-1080ti"
    refused(TargetError, "does not tell the compute capability", machine(gpu("Old", None)), target="gpu")


# ------------------------------------------------------------------------------------------------ workspace and timings


def test_the_workspace_is_the_targets_unless_it_is_named() -> None:
    assert planned(target="jetson-nano").workspace_bytes == 256 * MIB
    assert planned(target="jetson-nano", workspace="64M").workspace_bytes == 64 * MIB
    assert planned(target="gtx-1080ti").workspace_bytes is None
    assert planned(target="gtx-1080ti", workspace="workspace:1024").workspace_bytes == 1024 * MIB
    error = refused(TargetError, "no room for such a builder workspace", target="jetson-nano", workspace="1G")
    assert (error.exit_code, error.next_step) == (3, "use --workspace 256M")
    refused(TargetError, "no room for such a builder workspace", target="gtx-1080ti", workspace="12G")


def test_locked_needs_a_timing_cache_and_a_tensorrt_that_can_be_locked() -> None:
    timings = Path("t.timing")
    refused(UsageError, "there is no timing cache", target="gpu", locked=True)
    refused(UsageError, "there is no timing cache", target="gpu", locked=True, timing_cache=timings)
    timings.write_bytes(b"timings")
    plan = planned(target="gpu", locked=True, timing_cache=timings)
    assert plan.locked
    assert any("fail on a layer that it does not know" in step for step in plan.steps)
    for target in ("gtx-1080ti", "jetson-nano"):
        error = refused(TargetError, "--locked cannot be kept", target=target, locked=True, timing_cache=timings)
        assert error.exit_code == 3


# ---------------------------------------------------------------------------------------------------------------- room


@pytest.mark.parametrize(
    ("here", "target", "message"),
    [
        (dataclasses.replace(PASCAL_MACHINE, free_memory=512 * MIB), "gtx-1080ti", "too little free memory and swap"),
        (dataclasses.replace(PASCAL_MACHINE, free_disk=MIB), "gtx-1080ti", "too little free disk"),
        (dataclasses.replace(NANO_MACHINE, free_memory=700 * MIB), "jetson-nano", "too little free memory and swap"),
        (machine(gpu("Small", (8, 6), 512 * MIB), trt=tensorrt("10.9.0", "10")), "gpu", "Small has too little memory"),
    ],
)
def test_too_little_room_is_refused_with_the_formula(here: Machine, target: str, message: str) -> None:
    error = refused(TargetError, message, here, target=target)
    assert error.exit_code == 3
    assert "3 x weights" in (error.wanted or "")
    assert error.next_step


def test_room_that_is_not_known_refuses_nothing() -> None:
    planned(dataclasses.replace(PASCAL_MACHINE, free_memory=None, free_disk=None), target="gtx-1080ti")


def test_the_room_of_this_machine_does_not_matter_to_a_board_that_is_elsewhere() -> None:
    planned(machine(memory=MIB, disk=MIB), target="jetson-nano")


def test_a_plan_is_json() -> None:
    document = json.loads(json.dumps(planned(PASCAL_MACHINE, target="gtx-1080ti", int8=True).as_dict()))
    assert document["family"] == "8.6"
    assert document["outputs"] == ["float.int8.engine", "float.int8.engine.json", "float.int8.calib.json"]
    assert document["estimate"]["formula"]

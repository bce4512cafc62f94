"""What a bench will time, decided before anything runs, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from made_up_bench import LAPTOP, WORKSTATION
from tiny_detector import write_toy

from hardnet_deploy.artifacts import manifest_path
from hardnet_deploy.bench.engine_columns import COLUMNS, QUICK, Machine
from hardnet_deploy.bench.stats import LEAST_LOADINGS
from hardnet_deploy.errors import ArtifactMismatchError, HardnetDeployError, InputFileError, TargetError, UsageError
from hardnet_deploy.workflows.bench_options import USUAL_BUDGET_S, BenchRequest, parse_budget
from hardnet_deploy.workflows.bench_plan import BenchPlan, plan_bench


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def planned(*subjects: str, machine: Machine = LAPTOP, **options: Any) -> BenchPlan:
    return plan_bench(BenchRequest(subjects=subjects, **options), machine)


def keys(plan: BenchPlan) -> list[str]:
    return [row.key for row in plan.to_time]


def test_bare_is_the_published_protocol_within_ten_minutes_on_a_cpu() -> None:
    plan = planned()
    assert (plan.protocol.name, plan.protocol.size, plan.iterations, plan.budget_s) == ("1080ti-1024", 1024, 300, 600)
    assert len(plan.rows) == 5 * len(COLUMNS)
    assert len(plan.to_time) == 5 * 6
    assert {row.subject.size for row in plan.rows} == {1024}
    assert {row.why_not for row in plan.rows if row.column == "fp16"} == {LAPTOP.no_cuda}


def test_with_a_gpu_the_iterations_are_the_published_ones_and_nothing_limits_them() -> None:
    plan = planned(machine=WORKSTATION)
    assert (plan.iterations, plan.budget_s, plan.device) == (300, None, "cuda")
    assert {row.device for row in plan.rows} == {"cuda"}


def test_with_a_gpu_what_runs_on_the_cpu_all_the_same_has_its_ten_minutes() -> None:
    write_toy(Path("a.onnx"))
    (file,) = planned("a.onnx", machine=WORKSTATION).rows
    assert file.device == "cpu"
    assert planned("a.onnx", machine=WORKSTATION).budget_s == USUAL_BUDGET_S
    plan = planned("hardnet68", machine=WORKSTATION, engines="eager,ort-int8,trt-fp16")
    assert [row.device for row in plan.rows] == ["cuda", "cpu", "cuda"]
    assert plan.budget_s == USUAL_BUDGET_S
    assert planned("hardnet68", machine=WORKSTATION, engines="eager,trt-fp16").budget_s is None
    assert planned("a.onnx", machine=WORKSTATION, iterations=7).budget_s is None


def test_a_row_of_the_cpu_that_cannot_be_timed_limits_nothing() -> None:
    no_compiler = dataclasses.replace(LAPTOP, no_compiler="there is no compiler", no_tensorrt=None)
    plan = planned("hardnet68", machine=no_compiler, engines="compile,trt-fp16")
    assert [(row.device, row.why_not is None) for row in plan.rows] == [("cpu", False), ("cuda", True)]
    assert plan.budget_s is None


def test_quick_is_a_minute_a_network_and_only_what_runs_here() -> None:
    plan = planned(quick=True)
    assert plan.budget_s == 5 * 60
    assert [row.column for row in plan.rows if row.subject.network == "vgg16"] == list(QUICK)
    assert planned("hardnet68", quick=True).budget_s == 60


def test_rounds_that_an_interval_needs_exceed_a_budget_that_nobody_asked_for() -> None:
    assert planned().least_rounds == planned(quick=True).least_rounds == LEAST_LOADINGS
    assert planned(quick=True, budget="1m").least_rounds == 1


def test_asked_iterations_are_not_cut_off_by_a_budget_nobody_asked_for() -> None:
    assert planned("hardnet68", iterations=7).budget_s is None
    assert planned("hardnet68", iterations=7, budget="2m").budget_s == 120


def test_a_model_alone_lists_only_what_runs_here_at_its_own_size() -> None:
    plan = planned("hardnet68")
    assert keys(plan) == [f"hardnet68/{name}" for name in COLUMNS if LAPTOP.why_not(COLUMNS[name]) is None]
    assert plan.rows[0].subject.size == 224
    assert planned("hardnet68", "vgg16", size=320).rows[-1].subject.size == 320


def test_what_is_asked_for_and_missing_has_a_row_that_says_so() -> None:
    plan = planned("hardnet68", engines="eager,trt-fp16")
    assert [(row.column, row.why_not) for row in plan.rows] == [("eager", None), ("trt-fp16", LAPTOP.no_tensorrt)]


def test_the_reference_of_a_protocol_is_timed_with_any_model() -> None:
    plan = planned("hardnet68", protocol="1080ti-1024", engines="eager")
    assert keys(plan) == ["hardnet68/eager", "resnet50/eager"]
    assert "ResNet-50 is timed too" in plan.notes[0]


def test_published_times_do_not_stand_beside_another_size_or_batch() -> None:
    assert not planned(protocol="nano-320", size=64).protocol.published
    assert "320 x 320" in planned(protocol="nano-320", batch=2).notes[0]
    assert planned(protocol="nano-320", size=320).protocol.published


def test_detectors_are_timed_without_nms_and_with_it() -> None:
    plan = planned(protocol="ssd-512", engines="eager")
    names = ["ssd512-hardnet68-coco", "ssd512-hardnet85-coco"]
    assert keys(plan) == [*(f"{name}/eager" for name in names), *(f"{name}/eager/network+NMS" for name in names)]


def test_a_model_beside_files_with_nms_has_it_too() -> None:
    write_toy(Path("a.onnx"), nms="onnx")
    plan = planned("a.onnx", "ssd300-hardnet-demo", "hardnet68", engines="eager")
    assert [(row.key, row.boundary) for row in plan.rows] == [
        ("hardnet68/eager", "network"),
        ("a.onnx/ort-fp32/network+NMS", "network+NMS"),
        ("ssd300-hardnet-demo/eager/network+NMS", "network+NMS"),
    ]


def test_files_of_different_kinds_keep_their_own_boundary_and_size() -> None:
    write_toy(Path("a.onnx"))
    write_toy(Path("b.onnx"), outputs="raw", batch=4)
    plan = planned("a.onnx", "b.onnx")
    assert {row.subject.label: (row.boundary, row.batch) for row in plan.rows} == {
        "a.onnx": ("network+NMS", 1),
        "b.onnx": ("network", 4),
    }


def test_a_file_takes_part_in_a_protocol_at_the_one_boundary_that_it_has() -> None:
    write_toy(Path("inside.onnx"), nms="onnx")
    write_toy(Path("raw.onnx"), outputs="raw")
    plan = planned("inside.onnx", "raw.onnx", protocol="ssd-512", engines="eager")
    reference = "ssd512-hardnet68-coco/eager"
    assert keys(plan) == [
        "raw.onnx/ort-fp32",
        reference,
        "inside.onnx/ort-fp32/network+NMS",
        f"{reference}/network+NMS",
    ]


def test_a_file_that_ends_where_no_row_of_a_protocol_does_is_sent_to_no_option_that_was_not_given() -> None:
    write_toy(Path("inside.onnx"))
    with pytest.raises(UsageError, match="has its NMS inside: it has no row in protocol nano-320") as caught:
        planned("inside.onnx", protocol="nano-320", size=32)
    assert caught.value.next_step == "leave --protocol out to time it as it is"


def test_one_file_by_two_spellings_is_named_twice() -> None:
    write_toy(Path("toy.onnx"))
    with pytest.raises(UsageError, match=r"named more than once: toy\.onnx and \./toy\.onnx"):
        planned("toy.onnx", "./toy.onnx")


def test_ratios_are_taken_to_the_first_file_however_it_was_spelt() -> None:
    write_toy(Path("toy.onnx"))
    plan = planned("./toy.onnx", "ssd300-hardnet-demo", engines="eager")
    assert plan.protocol.reference == plan.protocol.networks[0] == plan.rows[0].subject.label == "toy.onnx"


@pytest.mark.parametrize(
    ("subjects", "options", "said"),
    [
        (["hardnet68"], {"size": 8}, "--size from 32"),
        (["hardnet39ds"], {"size": 0}, "--size 0 is out of range"),
        (["hardnet39ds"], {"size": -5}, "--size -5 is out of range"),
        (["vgg16"], {"size": 0}, "--size 0 is out of range"),
        ([], {"size": 0}, "--size 0 is out of range"),
        (["ssd512-hardnet68-coco"], {"size": 300}, "--size is for backbones"),
        (["hardnet68"], {"boundary": "network+nms"}, "no NMS to time"),
        (["hardnet68"], {"boundary": "all"}, "no boundary called 'all'"),
        (["hardnet68"], {"iterations": 0}, "--iterations 0"),
        (["hardnet68"], {"rounds": 0}, "--rounds 0"),
        (["hardnet68"], {"threads": 0}, "--threads 0"),
        (["hardnet68"], {"batch": 65}, "--batch 65"),
        (["hardnet68"], {"budget": "soon"}, "--budget soon"),
        (["hardnet68"], {"warm_up_ms": float("nan")}, "--warm-up nan"),
        (["hardnet68"], {"code_line": "hardnet"}, "unknown code line 'hardnet'"),
        (["hardne68"], {}, "perhaps 'hardnet68'"),
        (["resnet5"], {}, "perhaps 'resnet50'"),
        (["hardnet68", "hardnet68"], {}, "more than once"),
        (["hardnet68="], {}, "names no checkpoint"),
        (["ssd512-hardnet68-coco"], {"protocol": "1080ti-1024"}, "takes images of 512 x 512"),
        (["toy.onnx"], {"engines": "eager"}, "--engines would do nothing"),
        (["toy.onnx"], {"size": 64}, "--size 64 is not the size"),
        (["toy.onnx"], {"batch": 2}, "--batch 2 is not the batch"),
        (["toy.onnx"], {"boundary": "network"}, "has its NMS inside"),
        (["raw.onnx"], {"boundary": "end-to-end"}, "ends before the NMS"),
        (["toy.onnx"], {"save": Path("toy.onnx")}, "--save toy.onnx would overwrite"),
        (["toy.onnx"], {"csv": Path("toy.onnx.json")}, "--csv toy.onnx.json would overwrite"),
        (["hardnet68"], {"save": Path("x"), "markdown": Path("./x")}, "--markdown x would overwrite"),
    ],
)
def test_what_cannot_be_meant_is_refused(subjects: list[str], options: dict[str, Any], said: str) -> None:
    write_toy(Path("toy.onnx"))
    write_toy(Path("raw.onnx"), outputs="raw")
    with pytest.raises(UsageError) as caught:
        planned(*subjects, **options)
    assert said in str(caught.value)


def test_nothing_that_runs_here_is_an_error_of_the_machine() -> None:
    with pytest.raises(TargetError, match="nothing of this can be timed") as caught:
        planned("hardnet68", engines="fp16,trt-fp16")
    assert "no NVIDIA GPU" in str(caught.value)
    assert "there is no TensorRT" in str(caught.value)


@pytest.mark.parametrize(
    ("subject", "error"),
    [("none.engine", InputFileError), ("hardnet68=none.pth", InputFileError), ("stale.onnx", ArtifactMismatchError)],
)
def test_files_that_cannot_be_used_stop_it_at_once(subject: str, error: type[HardnetDeployError]) -> None:
    write_toy(Path("other.onnx"), outputs="raw")
    path = write_toy(Path("stale.onnx"))
    manifest_path(Path("other.onnx")).replace(manifest_path(path))
    with pytest.raises(error):
        planned(subject)


def test_trust_takes_a_changed_file_and_its_row_says_so() -> None:
    path = write_toy(Path("stale.onnx"), outputs="raw")
    manifest_path(path).unlink()
    with pytest.raises(ArtifactMismatchError):
        planned("stale.onnx", trust=True)  # the toy is no model that could be recognised
    write_toy(path, outputs="raw")
    manifest = manifest_path(path)
    manifest.write_text(manifest.read_text().replace('"sha256": "', '"sha256": "0', 1), encoding="utf-8")
    (row,) = planned("stale.onnx", trust=True).rows
    assert row.subject.file is not None
    assert "taken although" in row.subject.file.notes[0]


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1.5m", 90), ("10 min", 600), ("2h", 7200), (None, None)])
def test_a_budget_has_a_unit_or_is_seconds(text: str | None, seconds: float | None) -> None:
    assert parse_budget(text) == seconds


def test_a_plugin_that_runs_as_a_reference_is_said_to() -> None:
    write_toy(Path("plugin.onnx"))
    write_toy(Path("standard.onnx"), nms="onnx")
    plugin, standard = (row.subject.file for row in planned("plugin.onnx", "standard.onnx").rows)
    assert plugin is not None
    assert standard is not None
    assert "EfficientNMS_TRT runs as the NumPy reference" in plugin.notes[0]
    assert standard.notes == ()

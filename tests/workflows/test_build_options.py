"""What an engine build is to do, decided and refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hardnet_deploy.errors import HardnetDeployError, OutputFileError, TargetError, UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.target_spec import MIB
from hardnet_deploy.targets import get_target
from hardnet_deploy.workflows.build_options import (
    BuildPlan,
    BuildRequest,
    float_units,
    parse_batch_range,
    parse_size,
    plan_build,
)

NAMES = ("base.0", "base.1", "base.10", "conf.0")


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def plan(**options: Any) -> BuildPlan:
    return plan_build(BuildRequest(**{"target": "cpu", "source": "m.onnx"} | options))


def refused(kind: type[HardnetDeployError], message: str, **options: Any) -> HardnetDeployError:
    with pytest.raises(kind, match=message) as caught:
        plan(**options)
    assert list(Path().iterdir()) == []
    return caught.value


def test_what_is_left_out_is_chosen_and_said() -> None:
    bare = plan_build(BuildRequest(int8=True))
    assert bare.source == registry.DEMO_MODEL
    assert bare.is_model
    assert bare.precision == "int8"
    assert bare.target.name == "cpu"
    assert bare.output == Path(f"{registry.DEMO_MODEL}.int8.onnx")
    assert bare.chosen is not None
    assert "the trained demo detector" in bare.chosen
    assert "'cpu', what this machine can run" in bare.chosen


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ({}, "m.fp32.onnx"),
        ({"int8": True}, "m.int8.onnx"),
        ({"int8": True, "source": "folder/m.fp32.onnx"}, "m.int8.onnx"),
        ({"source": "hardnet39ds"}, "hardnet39ds.fp32.onnx"),
        ({"output": Path("e.onnx")}, "e.onnx"),
    ],
)
def test_the_engine_is_called_after_its_source_and_precision(options: dict[str, Any], output: str) -> None:
    found = plan(**options)
    assert found.output == Path(output)
    assert found.chosen is None


@pytest.mark.parametrize("name", ["x.engine", "x.plan", "x.trt"])
@pytest.mark.parametrize("target", ["cpu", None])
def test_a_plan_s_name_is_refused_where_an_onnx_graph_is_written(
    name: str, target: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hardnet_deploy.workflows.build_options._target", lambda _: (get_target("cpu"), []))
    error = refused(UsageError, f"-o {name} names a TensorRT plan", target=target, int8=True, output=Path(name))
    assert "--target gtx-1080ti, jetson-nano or gpu" in (error.next_step or "")


def test_half_precision_on_the_cpu_names_what_is_faster() -> None:
    error = refused(TargetError, "not faster", fp16=True)
    assert error.exit_code == 3
    assert "--int8" in str(error)


def test_int8_on_the_nano_names_what_it_has() -> None:
    error = refused(TargetError, "has no hardware for int8", int8=True, target="jetson-nano")
    assert error.exit_code == 3
    assert error.next_step == "use --fp16"


@pytest.mark.parametrize("target", ["gtx-1080ti", "gpu", "jetson-nano"])
def test_engines_of_tensorrt_are_planned_for_the_preflight(target: str) -> None:
    found = plan(target=target, fp16=True)
    assert found.output == Path("m.fp16.engine")
    assert found.target.uses_tensorrt
    assert found.tensorrt is None


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"workspace": "1G"}, "--workspace"),
        ({"batch": "1,2,4"}, "--batch"),
        ({"timing_cache": Path("t")}, "--timing-cache"),
        ({"locked": True}, "--locked"),
        ({"locked": True, "workspace": "1G"}, "--workspace, --locked"),
    ],
)
def test_options_of_tensorrt_are_refused_on_the_cpu(options: dict[str, Any], name: str) -> None:
    error = refused(UsageError, f"on target 'cpu' these would do nothing: {name}\n", **options)
    assert error.exit_code == 2
    assert "--target gtx-1080ti" in (error.next_step or "")


@pytest.mark.parametrize("target", ["gtx-1080ti", "gpu"])
def test_options_of_the_cpu_are_refused_with_tensorrt(target: str) -> None:
    refused(UsageError, "--reduce-range is for CPUs", target=target, int8=True, reduce_range=True)


def test_a_fallback_may_be_allowed_where_tensorrt_can_fall_back() -> None:
    assert plan(target="gpu", fp16=True, allow_fallback=True).precision == "fp16"
    refused(UsageError, "would do nothing: --allow-fallback", target="gpu", allow_fallback=True)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, None),
        ("4G", 4096),
        ("256M", 256),
        ("256MiB", 256),
        ("1.5gb", 1536),
        ("256", 256),
        ("workspace:512", 512),
        ("workspace:1G", 1024),
        ("2048K", 2),
        ("1T", 1024**2),
    ],
)
def test_sizes_are_read_in_binary_units_and_mib_without_one(text: str | None, size: int | None) -> None:
    assert parse_size(text) == (None if size is None else size * MIB)


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "1X", "dlaSRAM:1", "2T", "1K", "1e3", "workspace:", "\u0664M"])
def test_sizes_that_cannot_be_meant_are_refused(text: str) -> None:
    refused(UsageError, "--workspace .* is (no size|out of range)", target="gpu", workspace=text)


@pytest.mark.parametrize("text", ["", "4", "1,2", "0,1,2", "4,2,8", "1,8,4", "1,2,x", "1,2,3,4", "1,2,99999"])
def test_ranges_of_batches_ascend_from_1(text: str) -> None:
    refused(UsageError, "--batch .* is no range of batches", target="gpu", batch=text)
    assert parse_batch_range("1,1,1") == (1, 1, 1)


def test_a_timing_cache_overwrites_nothing_that_is_read_or_made() -> None:
    refused(UsageError, "--timing-cache m.onnx would overwrite m.onnx", target="gpu", timing_cache=Path("m.onnx"))
    refused(UsageError, "-o e would overwrite e", target="gpu", timing_cache=Path("e"), output=Path("e"))
    refused(UsageError, "-o e would", target="gpu", timing_cache=Path("e.json"), output=Path("e"))


def test_a_target_that_does_not_exist_names_the_nearest() -> None:
    refused(UsageError, "did you mean 'gtx-1080ti'", target="gtx1080ti")


def test_two_precisions_exclude_each_other() -> None:
    refused(UsageError, "exclude each other", int8=True, fp16=True)
    refused(UsageError, "exclude each other", int8=True, fp16=True, target=None)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"calib": Path("c.json")}, "--calib"),
        ({"data": "demo"}, "--data"),
        ({"count": 3}, "--count"),
        ({"seed": 0}, "--seed"),
        ({"method": "mse"}, "--method"),
        ({"layer_precisions": "a:fp32"}, "--layer-precisions"),
        ({"max_drop": 0.1}, "--max-drop"),
        ({"drop_type": "absolute"}, "--drop-type"),
        ({"search_data": "demo"}, "--search-data"),
        ({"search_count": 3}, "--search-count"),
        ({"reduce_range": True}, "--reduce-range"),
        ({"concat_scales": "separate"}, "--concat-scales"),
        ({"allow_fallback": True}, "--allow-fallback"),
    ],
)
def test_without_int8_its_options_are_refused(options: dict[str, Any], name: str) -> None:
    error = refused(UsageError, f"would do nothing: {name}\n", **options)
    assert error.exit_code == 2
    assert error.next_step == "add --int8"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"calib": Path("c.json"), "data": "demo"}, "--data would do nothing"),
        ({"calib": Path("c.json"), "count": 3, "data": "demo"}, "--data and --count would do nothing"),
        ({"calib": Path("c.json"), "seed": 0}, "--seed would do nothing"),
        ({"search_data": "demo"}, "without --max-drop --search-data"),
        ({"search_count": 3}, "without --max-drop --search-count"),
        ({"drop_type": "absolute"}, "without --max-drop --drop-type"),
    ],
)
def test_with_int8_options_that_would_do_nothing_are_refused(options: dict[str, Any], name: str) -> None:
    refused(UsageError, name, int8=True, **options)


@pytest.mark.parametrize("budget", [0.0, 1.0, -0.1, float("nan")])
def test_a_budget_out_of_range_is_refused(budget: float) -> None:
    refused(UsageError, "--max-drop .* is out of range", int8=True, max_drop=budget)


@pytest.mark.parametrize(
    ("text", "next_step"),
    [
        ("coco:c", "--search-data coco:c:train2017, with ranges of other images, as of coco:c:unlabeled2017"),
        ("coco:c:", "--search-data coco:c:train2017"),
        ("coco:with:colon", "--search-data coco:with:colon:train2017"),
        ("voc:v", "--search-data voc:v:2007-val, with ranges of other images, as of voc:v:2007-train"),
    ],
)
def test_a_search_is_not_made_unasked_in_what_engines_are_judged_on(text: str, next_step: str) -> None:
    folder = Path("with:colon")
    if text.endswith(folder.name):
        folder.mkdir()
    with pytest.raises(UsageError, match=r"names no split, and (val2017|2007-test), the usual one, is what") as caught:
        plan(int8=True, max_drop=0.1, search_data=text)
    assert (caught.value.next_step or "").startswith(next_step)


@pytest.mark.parametrize("text", ["demo", "demo:search", "coco:c:train2017", "coco:c:val2017", "voc:v:2007-val", None])
def test_a_search_in_a_split_that_is_named_is_taken(text: str | None) -> None:
    assert plan(int8=True, max_drop=0.1, search_data=text).precision == "int8"


def test_options_of_a_model_are_refused_for_a_file() -> None:
    refused(UsageError, "--weights is for a model's name", weights=Path("w.pth"))
    refused(UsageError, "--code-line is for a model's name", code_line="lzx1413")
    assert plan(source="ssd300-hardnet68-voc", weights=Path("w.pth"), code_line="lzx1413").is_model


@pytest.mark.parametrize(
    "options",
    [
        {"output": Path("m.onnx")},
        {"output": Path("m.onnx.json")},
        {"output": Path("x/../m.onnx")},
        {"source": "m", "output": Path("m")},
        {"source": "e.onnx.json", "output": Path("e.onnx")},
        {"int8": True, "calib": Path("c.json"), "output": Path("c.json")},
        {"int8": True, "calib": Path("c.json"), "output": Path("c")},
        {"source": "hardnet39ds", "weights": Path("w.pth"), "output": Path("w.pth")},
    ],
)
def test_what_is_read_is_never_overwritten(options: dict[str, Any]) -> None:
    Path("x").mkdir()
    with pytest.raises(UsageError, match=r"would overwrite .*, which it reads"):
        plan(**options)


def test_what_cannot_be_written_is_refused() -> None:
    Path("folder").mkdir()
    Path("file").touch()
    for output, message in (("folder", "is a folder"), ("file/e.onnx", "is not a folder")):
        with pytest.raises(OutputFileError, match=message):
            plan(output=Path(output))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, set()),
        ("", set()),
        ("base.1:fp32", {"base.1"}),
        ("base.1*:fp32", {"base.1", "base.10"}),
        ("base.1:fp32,conf.0:fp32,", {"base.1", "conf.0"}),
        ("*:fp32,base*:int8", {"conf.0"}),
        ("base.0:int8", set()),
    ],
)
def test_layers_are_named_by_patterns_and_the_last_entry_holds(text: str | None, wanted: set[str]) -> None:
    assert float_units(text, NAMES) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base.1", "cannot be read"),
        ("base.1:fp16", "cannot be read"),
        (":fp32", "no layer is called ''"),
        ("base.2:fp32", "no layer is called 'base.2'"),
        ("*:fp32", "leaves every layer in float"),
    ],
)
def test_layers_that_cannot_be_meant_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        float_units(text, NAMES)

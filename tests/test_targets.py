from __future__ import annotations

import dataclasses

import pytest

from hardnet_deploy import targets_table
from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.nms import efficient
from hardnet_deploy.targets import (
    DEFAULT_OPSET,
    MIB,
    TARGETS,
    Target,
    get_target,
    installed_onnxruntime,
    onnxruntime_max_opset,
)

CPU, GTX_1080TI, JETSON_NANO, GPU = (TARGETS[name] for name in ("cpu", "gtx-1080ti", "jetson-nano", "gpu"))
ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
# What is not a fact about the world: names, and None or a default where nothing is claimed.
NOT_FACTS = {"name", "device", "pitfalls", "sources"}


def test_the_four_targets_are_there() -> None:
    assert tuple(TARGETS) == ("cpu", "gtx-1080ti", "jetson-nano", "gpu")


@ALL
def test_every_fact_has_its_public_source(target: Target) -> None:
    claimed = {
        field.name
        for field in dataclasses.fields(target)
        if field.name not in NOT_FACTS and getattr(target, field.name) not in (None, ())
    }
    assert claimed == set(target.sources)
    assert all(target.sources.values())


@ALL
def test_every_pitfall_has_its_source(target: Target) -> None:
    assert target.pitfalls
    assert all(pitfall.text and pitfall.source for pitfall in target.pitfalls)


@ALL
def test_the_defaults_of_a_target_are_things_it_takes(target: Target) -> None:
    target.require_opset(DEFAULT_OPSET)
    target.require_nms(target.default_nms)
    target.require_precision("fp32")
    target.require_batch(1)


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        CPU.max_opset = 99
    with pytest.raises(TypeError):
        JETSON_NANO.precisions["int8"] = "fast"


def test_the_boards_are_what_they_are() -> None:
    assert (GTX_1080TI.compute_capability, GTX_1080TI.tensorrt_families) == ((6, 1), ("8.6",))
    assert (JETSON_NANO.compute_capability, JETSON_NANO.tensorrt_families) == ((5, 3), ("8.2",))
    assert (JETSON_NANO.max_opset, GTX_1080TI.max_opset) == (13, 17)
    assert JETSON_NANO.max_workspace == 256 * MIB
    assert (CPU.default_nms, GPU.default_nms) == ("onnx", "efficient")


def test_versions_and_memory_of_the_boards() -> None:
    assert [target.tensorrt for target in TARGETS.values()] == [None, "8.6.1", "8.2.1", "10.0 to 11.4"]
    assert (JETSON_NANO.memory, JETSON_NANO.memory_is_shared) == (4096 * MIB, True)
    assert (GTX_1080TI.memory, GTX_1080TI.memory_is_shared) == (11 * 1024 * MIB, False)
    assert JETSON_NANO.minimum_tensorrt == (8, 2, 0)  # JetPack 4.6 has 8.0.1


@pytest.mark.parametrize(
    ("capability", "names"),
    [
        ((6, 1), ["gtx-1080ti"]),
        ((5, 3), ["jetson-nano"]),
        ((7, 5), ["gpu"]),
        ((12, 0), ["gpu"]),
        ((7, 0), []),
        (None, []),
    ],
)
def test_a_gpu_is_served_by_the_target_that_means_it(capability: tuple[int, int] | None, names: list[str]) -> None:
    assert [target.name for target in TARGETS.values() if target.serves(capability)] == names


def test_a_workspace_over_the_board_is_refused() -> None:
    JETSON_NANO.require_workspace(256 * MIB)
    JETSON_NANO.require_workspace(None)
    GPU.require_workspace(1024**4)
    with pytest.raises(TargetError, match="no room") as caught:
        JETSON_NANO.require_workspace(256 * MIB + 1)
    assert caught.value.next_step == "use --workspace 256M"


def test_candidate_caps_are_those_of_the_numpy_reference() -> None:
    assert GTX_1080TI.nms_candidate_cap == GPU.nms_candidate_cap == efficient.CANDIDATE_CAP
    assert JETSON_NANO.nms_candidate_cap == efficient.CANDIDATE_CAP_JETSON_NANO


def test_int8_on_the_nano_is_refused_with_the_way_out() -> None:
    with pytest.raises(TargetError) as caught:
        JETSON_NANO.require_precision("int8")
    assert caught.value.exit_code == 3
    assert "Jetson Nano, sm_53" in caught.value.what
    assert caught.value.wanted == "fp32, fp16"
    assert caught.value.next_step == "use --precision fp16"
    with pytest.raises(TargetError) as caught:
        JETSON_NANO.require_precision("int8", option="--")
    assert caught.value.next_step == "use --fp16"


def test_fp16_on_the_1080ti_works_with_a_warning_that_names_int8() -> None:
    GTX_1080TI.require_precision("fp16")
    warning = GTX_1080TI.precision_warning("fp16")
    assert warning is not None
    assert "not faster" in warning
    assert "use int8 for speed" in warning


def test_fp16_on_the_cpu_is_told_to_be_no_faster() -> None:
    assert "not faster" in (CPU.precision_warning("fp16") or "")


@pytest.mark.parametrize(("target", "precision"), [(GTX_1080TI, "int8"), (JETSON_NANO, "fp16"), (CPU, "fp32")])
def test_fast_precisions_carry_no_warning(target: Target, precision: str) -> None:
    assert target.precision_warning(precision) is None


@ALL
def test_opsets_are_taken_up_to_the_edges_and_not_beyond(target: Target) -> None:
    target.require_opset(target.min_opset)
    target.require_opset(target.max_opset)
    for opset in (target.min_opset - 1, target.max_opset + 1):
        with pytest.raises(TargetError, match=f"opset {opset}"):
            target.require_opset(opset)


def test_a_refused_opset_names_the_one_that_suits_all() -> None:
    with pytest.raises(TargetError) as caught:
        JETSON_NANO.require_opset(17)
    assert caught.value.next_step is not None
    assert "--opset 13" in caught.value.next_step


@pytest.mark.parametrize("batch", [2, None])
def test_the_nano_takes_one_image_at_a_time(batch: int | None) -> None:
    JETSON_NANO.require_batch(1)
    with pytest.raises(TargetError) as caught:
        JETSON_NANO.require_batch(batch)
    assert caught.value.next_step == "use --batch 1"


@pytest.mark.parametrize("target", [CPU, GTX_1080TI, GPU], ids=lambda target: target.name)
@pytest.mark.parametrize("batch", [1, 64, None])
def test_other_targets_leave_the_batch_open(target: Target, batch: int | None) -> None:
    target.require_batch(batch)


def test_onnx_nms_is_refused_for_tensorrt_82_alone() -> None:
    with pytest.raises(TargetError, match="NonMaxSuppression") as caught:
        JETSON_NANO.require_nms("onnx")
    assert caught.value.next_step is not None
    assert "--nms efficient" in caught.value.next_step
    for target in (CPU, GTX_1080TI, GPU):
        target.require_nms("onnx")


def test_an_unknown_target_is_a_usage_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'jetson-nano'") as caught:
        get_target("Jetson_Nano")
    assert caught.value.exit_code == 2
    assert caught.value.wanted == "cpu, gtx-1080ti, jetson-nano, gpu"


def test_nothing_near_is_not_guessed() -> None:
    with pytest.raises(UsageError) as caught:
        get_target("raspberry")
    assert "did you mean" not in caught.value.what


@pytest.mark.parametrize(
    ("version", "opset"),
    [
        ("1.20.1", 21),
        ("1.22.0", 22),
        ("1.23.2", 23),
        ("1.31.1", 26),
        ("2.0.0", 26),
        ("1.9.0", 21),
        (None, 21),
        ("x", 21),
    ],
)
def test_the_opset_of_onnxruntime_follows_its_version(version: str | None, opset: int) -> None:
    assert onnxruntime_max_opset(version) == opset


def test_onnxruntime_rows_rise() -> None:
    rows = targets_table.ONNXRUNTIME_OPSETS
    assert list(rows) == sorted(rows)
    assert [opset for _, opset in rows] == sorted({opset for _, opset in rows})


def test_cpu_takes_the_opset_that_the_installed_onnxruntime_loads() -> None:
    import onnx
    import onnxruntime

    opset = get_target("cpu").max_opset
    assert opset == onnxruntime_max_opset(installed_onnxruntime())
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "one", [value("x", 1, [1])], [value("y", 1, [1])]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_outputs()[0].name == "y"

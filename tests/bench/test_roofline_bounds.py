"""Bounds by hand, and how measured times are held against them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hardnet_deploy.bench.graph_cost import LayerCost, Traffic
from hardnet_deploy.bench.graph_precision import typed_as
from hardnet_deploy.bench.machine_peak import measure_cpu
from hardnet_deploy.bench.peaks import DEVICES, Device, Peak, device_of_gpu
from hardnet_deploy.bench.pictures import draw_profile, draw_roofline, refuse_format
from hardnet_deploy.bench.roofline import roofline, with_times
from hardnet_deploy.errors import UsageError
from hardnet_deploy.targets import TARGETS

TOY = Device(
    name="toy",
    title="a toy",
    by_precision={
        "fp32": Peak(flops=1e9, bandwidth=1e9, source="made up"),
        "int8": Peak(flops=4e9, bandwidth=1e9, source="made up"),
    },
)


def layer(name: str, flops: int, numbers: int, *, op: str = "Conv", nodes: tuple[str, ...] = ()) -> LayerCost:
    return LayerCost(
        name=name,
        op=op,
        nodes=nodes or (name,),
        tensor=f"{name}.out",
        made=(f"{name}.out",),
        macs=flops // 2,
        flops=flops,
        reads=Traffic(numbers=numbers, number_bytes=4 * numbers),
        weights=Traffic(),
        writes=Traffic(),
        precision="fp32",
    )


COSTS = (
    layer("base.0.conv", 4_000_000, 100_000, nodes=("base.0.conv", "base.0.relu")),  # 4 ms or 0.4
    layer("base.3.in.1", 0, 250_000, op="Concat"),  # 1 ms of memory
    layer("loc.0", 1_000_000, 500_000),  # 1 ms or 2
    layer("conf.0", 2_000_000, 500_000),  # 2 ms or 2
    layer("conf.0.rows", 0, 0, op="Reshape"),
    layer("L2Norm.square", 1_000, 250_000, op="Mul"),  # 1 ms of memory
)


def test_the_larger_of_arithmetic_and_memory_is_the_bound() -> None:
    found = roofline(COSTS, TOY, "fp32", detector=True)
    assert [one.name for one in found.layers] == [one.name for one in COSTS if one.flops or one.bytes]
    assert [one.bound_ms for one in found.layers] == pytest.approx([4, 1, 2, 2, 1])
    assert [one.bound_by for one in found.layers] == ["arithmetic", "memory", "memory", "memory", "memory"]
    assert found.bound_ms == pytest.approx(10)
    assert found.bound_ms_free_concatenation == pytest.approx(9)
    assert found.memory_percent == pytest.approx(60)
    assert (found.measured_ms, found.share) == (None, None)


def test_what_stays_fp32_stays_so_in_int8() -> None:
    found = {one.name: one for one in roofline(COSTS, TOY, "int8", detector=True).layers}
    assert (found["base.0.conv"].precision, found["base.0.conv"].bound_ms) == ("int8", pytest.approx(1))
    assert found["base.3.in.1"].bound_ms == pytest.approx(0.25)
    assert (found["L2Norm.square"].precision, found["L2Norm.square"].bound_ms) == ("fp32", pytest.approx(1))


@pytest.mark.parametrize(
    ("macs", "name", "label"),
    [
        ({"fp32": 100}, "fp32", "fp32"),
        ({"int8": 100}, "int8", "int8"),
        ({"fp32": 56, "int8": 44}, "int8", "as typed: 44 % int8"),
        ({"fp32": 9_999, "int8": 1}, "int8", "as typed: under 1 % int8"),
        ({"fp32": 1, "int8": 9_999}, "int8", "as typed: over 99 % int8"),
        ({"fp32": 30, "fp16": 50, "int8": 20}, "int8", "as typed: 20 % int8, 50 % fp16"),
        ({"fp16": 60, "fp32": 40}, "fp16", "as typed: 60 % fp16"),
        ({}, "fp32", "fp32"),
    ],
)
def test_a_graph_is_typed_in_the_lowest_precision_of_its_weights(macs: dict[str, int], name: str, label: str) -> None:
    typed = typed_as([layer("add", 0, 5, op="Add"), *(in_precision(kind, count) for kind, count in macs.items())])
    assert (typed.name, typed.label, typed.lowered) == (name, label, name != "fp32")


def in_precision(kind: str, macs: int) -> LayerCost:
    return replace(layer(f"{kind}.conv", 2 * macs, 1_000), precision=kind)


MIXED = (  # 1 ms of arithmetic each, of INT8 and of FP32; the second reads and writes four bytes a number
    replace(in_precision("int8", 2_000_000), reads=Traffic(numbers=400_000, number_bytes=400_000)),
    replace(in_precision("fp32", 500_000), reads=Traffic(numbers=500_000, number_bytes=2_000_000)),
)


def test_layers_of_a_mixed_graph_are_bounded_as_they_are_typed() -> None:
    found = roofline(MIXED, TOY, "int8", detector=True)
    assert found.precision == "as typed: 80 % int8"
    assert [(one.precision, one.bytes) for one in found.layers] == [("int8", 400_000), ("fp32", 2_000_000)]
    assert [(one.arithmetic_ms, one.bound_ms) for one in found.layers] == [(1.0, 1.0), (1.0, 2.0)]
    document = found.as_dict()
    assert document["peak"] == document["peaks"]["int8"]
    assert document["peaks"].keys() == {"int8", "fp32"}
    (together,) = with_times(found, MIXED, [("int8.conv + fp32.conv", 6.0)]).layers
    assert (together.precision, together.share) == ("several", pytest.approx(0.4))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_what_a_mixed_graph_would_cost_in_one_precision_is_not_made_up(precision: str) -> None:
    with pytest.raises(ValueError, match=f"80 % int8: its cost in {precision} is not known"):
        roofline(MIXED, TOY, precision, detector=True)


def test_measured_times_find_their_layers_whatever_the_engine_calls_them() -> None:
    times = [
        ("base.0.relu_nchwc", 8.0),
        ("loc.0 || conf.0", 5.0),
        ("ReorderInput_token_3", 0.5),
        ("conf.0.rows", 0.25),
        ("base.3.in.1", 2.0),
        ("base.3.in.1", 2.0),
    ]
    found = with_times(roofline(COSTS, TOY, "fp32", detector=True), COSTS, times)
    rows = {one.name: one for one in found.layers}
    assert rows["base.0.conv"].share == pytest.approx(0.5)
    assert rows["base.3.in.1"].measured_ms == pytest.approx(4)
    together = rows["loc.0 + conf.0"]
    assert (together.flops, together.bound_ms, together.measured_ms) == (3_000_000, pytest.approx(4), 5.0)
    assert rows["L2Norm.square"].measured_ms is None
    assert found.unplaced_ms == pytest.approx(0.75)
    assert found.measured_ms is not None
    assert found.measured_ms == pytest.approx(sum(ms for _, ms in times))
    assert found.untimed == ("L2Norm.square",)
    assert found.share_of == "timed layers"
    assert found.share == pytest.approx((found.bound_ms - rows["L2Norm.square"].bound_ms) / found.measured_ms)


def test_the_share_of_the_network_is_of_a_run_without_the_profiler_where_that_is_known() -> None:
    bound = roofline(COSTS, TOY, "fp32", detector=True)
    found = with_times(bound, COSTS, [("base.0.conv", 8.0)], run_ms=20.0)
    assert (found.measured_ms, found.run_ms, found.whole_ms, found.share_of) == (8.0, 20.0, 20.0, "run")
    assert found.share == pytest.approx(found.bound_ms / 20.0)
    document = found.as_dict()
    assert (document["run_ms"], document["measured_ms"], document["share_of"]) == (20.0, 8.0, "run")
    assert document["untimed"] == list(found.untimed)


def test_times_of_few_layers_are_held_against_these_alone() -> None:
    found = with_times(roofline(COSTS, TOY, "fp32", detector=True), COSTS, [("base.0.conv", 8.0)])
    assert found.share == pytest.approx(0.5)  # 4 ms of 8; the other bounds belong to layers without a time


def test_times_of_no_layer_give_no_share() -> None:
    found = with_times(roofline(COSTS, TOY, "fp32", detector=True), COSTS, [("foreign", 8.0)], run_ms=8.0)
    assert (found.share, found.share_of) == (None, None)


def test_a_subgraph_that_is_one_layer_of_the_engine_is_one_here() -> None:
    found = with_times(
        roofline(COSTS, TOY, "fp32", detector=True), COSTS, [("{ForeignNode[base.0.conv...conf.0]}", 20.0)]
    )
    first, last = found.layers
    assert first.name == "base.0.conv + base.3.in.1 + loc.0 + conf.0"
    assert (first.group, first.measured_ms) == ("several", 20.0)
    assert last.measured_ms is None


def test_the_peaks_of_data_sheets_have_sources_and_hold_together() -> None:
    for device in DEVICES.values():
        for precision, peak in device.by_precision.items():
            assert "https://" in peak.source
            assert peak.ridge > 1
            if device.name in TARGETS:
                assert TARGETS[device.name].precisions[precision] != "refused"  # type: ignore[index]  # a precision
    assert DEVICES["gtx-1080ti"].by_precision["fp32"].flops == pytest.approx(3584 * 2 * 1.582e9, rel=1e-3)
    assert DEVICES["jetson-nano"].by_precision["fp16"].flops == pytest.approx(128 * 4 * 0.9216e9, rel=1e-3)
    assert "int8" not in DEVICES["jetson-nano"].by_precision


def test_a_gpu_is_known_by_what_its_driver_calls_it() -> None:
    assert device_of_gpu("NVIDIA GeForce GTX 1080 Ti") is DEVICES["gtx-1080ti"]
    assert device_of_gpu("NVIDIA H200") is DEVICES["h200"]
    assert device_of_gpu("GeForce GTX 1080 Ti") is DEVICES["gtx-1080ti"]


@pytest.mark.parametrize(
    "name",
    ["NVIDIA GeForce GTX 1080", "NVIDIA GH200 480GB", "NVIDIA H200 NVL", "NVIDIA H200 MIG 1g.18gb", "NVIDIA", ""],
)
def test_a_gpu_of_another_name_has_no_peaks(name: str) -> None:
    assert device_of_gpu(name) is None


def test_this_machine_is_measured_with_its_threads_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from hardnet_deploy.bench import machine_peak

    monkeypatch.setattr(machine_peak, "SECONDS", 0.0)
    monkeypatch.setattr(machine_peak, "LEAST_RUNS", 1)
    monkeypatch.setattr(machine_peak, "SIDE", 64)
    monkeypatch.setattr(machine_peak, "COPY_BYTES", 1 << 20)
    found = measure_cpu(threads=1)
    assert set(found.by_precision) == {"fp32", "int8"}
    for peak in found.by_precision.values():
        assert peak.flops > 0
        assert peak.bandwidth > 0
        assert "1 thread" in peak.source
        assert "measured here" in peak.source


@pytest.mark.parametrize(("name", "begin"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml")])
def test_pictures(tmp_path: Path, name: str, begin: bytes) -> None:
    from hardnet_deploy.bench.layer_times import EngineLayer, EngineProfile, placed

    found = roofline(COSTS, TOY, "fp32", detector=True)
    path = tmp_path / name
    draw_roofline(path, [found, with_times(found, COSTS, [("base.0.conv", 8.0)])], title="toy")
    assert path.read_bytes().startswith(begin)
    profile = EngineProfile(layers=(EngineLayer(name="base.0.conv", op="Conv", ms=1.0),), source="", runs=1)
    draw_profile(path, placed(profile, detector=True), title="toy")
    assert path.read_bytes().startswith(begin)


def test_other_pictures_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        refuse_format(Path("a.jpg"))
    assert caught.value.wanted == "a name that ends in .png or .svg"

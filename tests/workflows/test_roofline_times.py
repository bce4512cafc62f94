"""``hardnet-deploy roofline --times``: whose times are taken, what the shares are of, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_int8 import fill_folder, silent, write_detector

from hardnet_deploy.bench import machine_peak
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.workflows.profile import ProfileRequest, run_profile
from hardnet_deploy.workflows.roofline import RooflineRequest, RooflineResult, run_roofline

TIMES = Path("p.json")
GTX = "NVIDIA GeForce GTX 1080 Ti"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("SECONDS", 0.0), ("LEAST_RUNS", 1), ("SIDE", 64), ("COPY_BYTES", 1 << 20)):
        monkeypatch.setattr(machine_peak, name, value)
    fill_folder(tmp_path)


def run(**options: Any) -> RooflineResult:
    return run_roofline(RooflineRequest(**{"model": "float.onnx", "times": TIMES, "target": "here", **options}), silent)


def profiled(engine: str = "float.onnx", **changes: Any) -> dict[str, Any]:
    """A profile in ``TIMES``; ``conditions`` are added to those it has."""
    run_profile(ProfileRequest(engine=engine, iterations=1, threads=1, output=TIMES), silent)
    document: dict[str, Any] = json.loads(TIMES.read_text())
    document |= {**changes, "conditions": document["conditions"] | changes.get("conditions", {})}
    TIMES.write_text(json.dumps(document))
    return document


def of_a_gpu(**conditions: Any) -> None:
    profiled(conditions={"threads": None, **conditions})


@pytest.mark.parametrize(
    ("conditions", "said"), [({"size": 512}, "another input size"), ({"batch": 4}, "another batch")]
)
def test_times_of_another_input_are_refused(conditions: dict[str, Any], said: str) -> None:
    profiled(conditions=conditions)
    with pytest.raises(ArtifactMismatchError, match=said):
        run()


def test_a_backbone_by_name_is_held_to_the_size_that_was_profiled() -> None:
    run_profile(ProfileRequest(engine="hardnet39ds", iterations=1, threads=1, output=TIMES), silent)
    with pytest.raises(ArtifactMismatchError, match="another input size") as caught:
        run(model="hardnet39ds", size=256)
    assert (caught.value.got, caught.value.wanted) == ("224 x 224", "256 x 256")


def test_an_input_size_that_is_not_known_is_taken_for_the_same_file_alone() -> None:
    profiled(conditions={"size": None})
    assert run().rooflines[0].share is not None
    write_detector(Path("other.onnx"), seed=4)
    profiled("other.onnx", conditions={"size": None})
    with pytest.raises(ArtifactMismatchError, match="does not tell its input size"):
        run()


@pytest.mark.parametrize("gone", ["size", "device"])
def test_a_profile_from_before_these_were_told_is_refused_in_a_sentence(gone: str) -> None:
    document = profiled()
    document["conditions"].pop(gone)
    TIMES.write_text(json.dumps(document))
    with pytest.raises(InputFileError, match="before profiles told their input size and device"):
        run()


@pytest.mark.parametrize("ms", [-1, -1e-9, 1e300, None, "1"])
def test_a_time_that_is_none_is_refused(ms: Any) -> None:
    document = profiled()
    document["layers"][0]["ms"] = ms
    TIMES.write_text(json.dumps(document))
    with pytest.raises(InputFileError, match=r"layers\[0\]\.ms"):
        run()


@pytest.mark.parametrize(
    ("conditions", "target"),
    [
        ({"device": GTX}, "h200"),
        ({"device": "NVIDIA T4"}, "h200"),
        ({"device": "NVIDIA Tegra X1"}, "gtx-1080ti"),
        ({"target": "jetson-nano"}, "h200"),
    ],
)
def test_times_of_another_gpu_are_refused(conditions: dict[str, Any], target: str) -> None:
    of_a_gpu(**conditions)
    with pytest.raises(UsageError, match="the profile is of"):
        run(target=target)


@pytest.mark.parametrize(
    ("conditions", "target"),
    [
        ({"device": GTX}, "gtx-1080ti"),
        ({"device": "NVIDIA Tegra X1"}, "jetson-nano"),
        ({"target": "jetson-nano"}, "jetson-nano"),
    ],
)
def test_times_of_the_same_gpu_are_taken(conditions: dict[str, Any], target: str) -> None:
    of_a_gpu(**conditions)
    assert not [text for text in run(target=target).notes if "which GPU" in text]


@pytest.mark.parametrize("target", [None, "gpu"])
def test_a_gpu_that_the_profile_does_not_tell_is_said_to_be_what_was_asked_for(target: str | None) -> None:
    of_a_gpu(target=target)
    assert any(
        "does not tell which GPU ran it: H200 SXM is what was asked" in text for text in run(target="h200").notes
    )


def test_the_share_of_the_network_is_of_the_run_without_the_profiler() -> None:
    profiled(plain_run_ms=1000.0, profiling_overhead_percent=51.1)
    result = run()
    (found,) = result.rooflines
    assert found.share == pytest.approx(found.bound_ms / 1000.0)
    assert any("of a run without the profiler, 1000.000 ms" in text for text in result.notes)
    assert any("carry what the profiler adds: a run is 51.1 % longer" in text for text in result.notes)
    assert any("whole microseconds" in text for text in result.notes)  # as the profile says


def test_what_profiling_adds_and_was_not_measured_is_said_to_be_unknown() -> None:
    profiled(plain_run_ms=None, profiling_overhead_percent=None)
    result = run()
    assert result.rooflines[0].share_of == "timed layers"
    assert any("how much that is was not measured" in text for text in result.notes)


def test_layers_without_a_time_are_counted_and_named() -> None:
    layers = profiled()["layers"][:2]
    profiled(layers=layers, plain_run_ms=None)
    result = run()
    (found,) = result.rooflines
    timed = sum(one.bound_ms for one in found.layers if one.measured_ms is not None)
    assert found.measured_ms is not None
    assert found.share == pytest.approx(timed / found.measured_ms)
    assert any(f"{len(found.untimed)} of {len(found.layers)} layers have no time: " in text for text in result.notes)


def test_what_is_measured_here_tells_its_run_too() -> None:
    found = next(one for one in run(times=None, measure=True, target="here", threads=1).rooflines if one.measured_ms)
    assert found.share_of == "run"

"""``hardnet-deploy roofline``: bounds of models and files, and shares of them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from small_int8 import build, fill_folder, silent, write_detector

from hardnet_deploy.bench import machine_peak
from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, TargetError, UsageError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.models import registry
from hardnet_deploy.models.count import count
from hardnet_deploy.workflows.profile import ProfileRequest, run_profile
from hardnet_deploy.workflows.roofline import RooflineRequest, RooflineResult, run_roofline

PUBLISHED_MS = 22.5  # HarDNet68, 1024 x 1024, GTX 1080 Ti, PyTorch 1.1 (github.com/PingoLH/Pytorch-HarDNet)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("SECONDS", 0.0), ("LEAST_RUNS", 1), ("SIDE", 64), ("COPY_BYTES", 1 << 20)):
        monkeypatch.setattr(machine_peak, name, value)
    fill_folder(tmp_path)


def run(**options: Any) -> RooflineResult:
    return run_roofline(RooflineRequest(**{"model": "float.onnx", "threads": 1, **options}), silent)


def test_every_target_in_every_precision_that_it_has() -> None:
    found = [(one.device.name, one.precision) for one in run().rooflines]
    assert found == [
        ("gtx-1080ti", "fp32"),
        ("gtx-1080ti", "fp16"),
        ("gtx-1080ti", "int8"),
        ("jetson-nano", "fp32"),
        ("jetson-nano", "fp16"),
        ("h200", "fp32"),
        ("h200", "fp16"),
        ("h200", "int8"),
        ("here", "fp32"),
        ("here", "int8"),
    ]


def test_the_document(tmp_path: Path) -> None:
    output, table, picture = tmp_path / "r.json", tmp_path / "r.csv", tmp_path / "r.png"
    run(target="gtx-1080ti", output=output, csv=table, picture=picture)
    document = json.loads(output.read_text())
    assert (document["schema"], document["kind"], document["model"]) == (1, "roofline", "toy")
    assert document["sha256"] == sha256_file(Path("float.onnx"))
    first = document["targets"][0]
    assert (first["target"], first["precision"]) == ("gtx-1080ti", "fp32")
    assert first["peak"]["source"].count("https://")
    assert first["bound_ms"] == pytest.approx(sum(one["bound_ms"] for one in first["layers"]))
    assert first["measured_ms"] is None
    assert {one["bound_by"] for one in first["layers"]} <= {"memory", "arithmetic"}
    assert len(table.read_text().splitlines()) == 1 + sum(len(one["layers"]) for one in document["targets"])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_data_sheet_needs_no_engine_that_accepts_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: Any, **_options: Any) -> None:
        raise RuntimeError("Unsupported model IR version")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refused)
    assert run(target="h200").rooflines
    with pytest.raises(InputFileError, match="does not accept"):
        profiled("float.onnx")


@pytest.mark.parametrize("change", [{"size": 128}, {"size": "32"}], ids=str)
def test_a_manifest_of_another_input_is_refused(change: dict[str, Any]) -> None:
    beside = Path("float.onnx.json")
    record = json.loads(beside.read_text())
    record["preprocess"] |= change
    beside.write_text(json.dumps(record))
    with pytest.raises(ArtifactMismatchError):
        run(target="h200")


def test_a_graph_without_a_manifest_is_counted_where_it_is_trusted_and_known() -> None:
    Path("float.onnx.json").unlink()
    with pytest.raises(ArtifactMismatchError, match="no manifest"):
        run(target="h200")
    with pytest.raises(ArtifactMismatchError, match="no model known here"):
        run(target="h200", trust=True)


def test_a_model_by_name() -> None:
    result = run(model="hardnet39ds", size=64, target="jetson-nano", precision="fp16")
    assert result.macs == count(registry.get("hardnet39ds"), [64]).macs[64]
    assert result.graph.identity == {
        "label": "hardnet39ds",
        "sha256": None,
        "model": "hardnet39ds",
        "size": 64,
        "batch": 1,
    }


@pytest.mark.slow
def test_a_model_by_name_at_another_size_and_no_published_time_beats_its_bound() -> None:
    result = run(model="hardnet68", size=1024, target="gtx-1080ti", precision="fp32")
    spec = registry.get("hardnet68")
    assert result.macs == count(spec, [1024]).macs[1024]
    (found,) = result.rooflines
    assert 0.5 * PUBLISHED_MS < found.bound_ms < PUBLISHED_MS
    assert {one.group for one in found.layers} >= {"stem", "block base.3", "concatenations", "classifier"}


def test_int8_and_fp16_graphs_are_counted_as_they_are_typed() -> None:
    build()
    result = run(model="int8.onnx", target="gtx-1080ti")
    assert [one.precision for one in result.rooflines] == ["int8"]
    (found,) = result.rooflines
    assert {one.precision for one in found.layers if one.group == "softmax and decode"} == {"fp32"}
    with pytest.raises(UsageError, match="typed in int8"):
        run(model="int8.onnx", precision="fp32", target="gtx-1080ti")


def test_the_time_measured_here_is_held_against_this_machine_alone() -> None:
    result = run(measure=True)
    held = [one for one in result.rooflines if one.measured_ms is not None]
    assert [(one.device.name, one.precision) for one in held] == [("here", "fp32")]
    assert result.times is not None
    assert "measured here" in result.times.source
    assert any(one.share is not None for one in held[0].layers)
    assert sum(ms for _, ms in result.times.layers) == pytest.approx(held[0].measured_ms)


def test_a_saved_profile_gives_the_times() -> None:
    run_profile(ProfileRequest(engine="float.onnx", iterations=1, threads=1, output=Path("p.json")), silent)
    result = run(times=Path("p.json"), target="here")
    (found,) = result.rooflines  # the profile tells the precision
    assert found.precision == "fp32"
    saved = json.loads(Path("p.json").read_text())
    assert found.measured_ms == pytest.approx(saved["layers_ms"])


def test_a_profile_of_another_model_or_no_profile_is_refused() -> None:
    run_profile(ProfileRequest(engine="float.onnx", iterations=1, threads=1, output=Path("p.json")), silent)
    saved = json.loads(Path("p.json").read_text())
    saved["engine"]["model"] = "hardnet39ds"
    Path("p.json").write_text(json.dumps(saved))
    with pytest.raises(ArtifactMismatchError, match="another model"):
        run(times=Path("p.json"), target="here")
    Path("q.json").write_text('{"schema": 1, "kind": "bench"}')
    with pytest.raises(InputFileError, match="no profile"):
        run(times=Path("q.json"), target="here")


@pytest.mark.parametrize(
    "options",
    [{"target": "h200"}, {"target": "here", "precision": "int8"}, {"target": "here", "threads": 2}],
    ids=["another device", "another precision", "other threads"],
)
def test_times_are_held_against_nothing_but_what_they_are_of(options: dict[str, Any]) -> None:
    run_profile(ProfileRequest(engine="float.onnx", iterations=1, threads=1, output=Path("p.json")), silent)
    with pytest.raises(UsageError, match="the profile is of"):
        run(times=Path("p.json"), **{"threads": None, **options})


def test_times_of_another_processor_are_refused() -> None:
    run_profile(ProfileRequest(engine="float.onnx", iterations=1, threads=1, output=Path("p.json")), silent)
    saved = json.loads(Path("p.json").read_text())
    saved["conditions"]["processor"] = "another"
    Path("p.json").write_text(json.dumps(saved))
    with pytest.raises(UsageError, match="the profile is of another"):
        run(times=Path("p.json"), target="here")


def test_times_of_a_stand_in_are_said_to_mean_nothing() -> None:
    run_profile(ProfileRequest(engine="float.onnx", iterations=1, threads=1, output=Path("p.json")), silent)
    saved = json.loads(Path("p.json").read_text())
    of_a_gpu = {**saved["conditions"], "threads": None}
    Path("p.json").write_text(json.dumps({**saved, "simulated": True, "conditions": of_a_gpu}))
    assert any("stand-in" in note for note in run(times=Path("p.json"), target="gtx-1080ti").notes)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"target": "xavier"}, UsageError, "--target xavier"),
        ({"target": "jetson-nano", "precision": "int8"}, TargetError, "no arithmetic in int8"),
        ({"target": "gpu"}, TargetError, "no NVIDIA GPU"),
        ({"target": "gtx-1080ti", "measure": True}, UsageError, "--measure"),
        ({"times": Path("p.json")}, UsageError, "--times is of one machine"),
        ({"times": Path("p.json"), "measure": True}, UsageError, "both"),
        ({"times": Path("none.json"), "target": "here"}, InputFileError, r"none\.json"),
        ({"size": 512}, UsageError, "--size"),
        ({"model": "hardnet39ds=F.pth"}, UsageError, "weights change neither"),
        ({"model": "a.engine"}, UsageError, "plan"),
        ({"threads": 0}, UsageError, "--threads 0"),
        ({"picture": Path("a.jpg")}, UsageError, r"a\.jpg"),
    ],
)
def test_what_does_not_fit_is_refused(
    options: dict[str, Any], error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hardnet_deploy.workflows import roofline as module

    monkeypatch.setattr(module, "read_gpus", lambda _probes: ((), None))
    with pytest.raises(error, match=said):
        run(**options)


def test_a_gpu_whose_peaks_are_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from hardnet_deploy.workflows import roofline as module
    from hardnet_deploy.workflows.environment import Gpu

    made = partial(Gpu, driver=None, compute_capability=None, memory=None)
    monkeypatch.setattr(module, "read_gpus", lambda _probes: ((made(name="NVIDIA T4"),), None))
    with pytest.raises(TargetError, match="NVIDIA T4"):
        run(target="gpu")
    monkeypatch.setattr(module, "read_gpus", lambda _probes: ((made(name="NVIDIA H200"),), None))
    assert {one.device.name for one in run(target="gpu").rooflines} == {"h200"}


@pytest.mark.parametrize("target", ["gtx-1080ti", "jetson-nano", "h200", "here"])
def test_every_target_says_of_what_model_its_bound_is(target: str) -> None:
    told = " ".join(run(target=target).notes)
    for words in ("direct convolution", "once through DRAM", "Winograd", "caches hold tensors"):
        assert words in told
    assert ("nominal boost clock" in told) == (target != "here")
    assert ("what it reached just now" in told) == (target == "here")


def profiled(engine: str) -> Path:
    run_profile(ProfileRequest(engine=engine, iterations=1, threads=1, output=Path("p.json")), silent)
    return Path("p.json")


@pytest.mark.parametrize(
    ("fast", "told"),
    [(0, []), (1, ["1 layer is faster than its bound"]), (2, ["2 layers are faster than their bound"])],
)
def test_layers_that_are_faster_than_their_bound_are_counted(fast: int, told: list[str]) -> None:
    saved = json.loads(profiled("float.onnx").read_text())
    saved["conditions"]["threads"] = None  # as a GPU's
    convolutions = [one["name"] for one in saved["layers"] if one["op"] == "Conv"][:fast]
    for one in saved["layers"]:
        one["ms"] = 1e-9 if one["name"] in convolutions else 1e3
    Path("p.json").write_text(json.dumps(saved))
    notes = run(times=Path("p.json"), target="gtx-1080ti").notes
    assert [text for text in notes if text.endswith(" bound")] == told


def test_times_of_another_file_are_said_to_be_with_both_hashes() -> None:
    write_detector(Path("other.onnx"), seed=4)
    result = run(times=profiled("other.onnx"), target="here")
    own, other = (sha256_file(Path(name)) for name in ("float.onnx", "other.onnx"))
    (note,) = [text for text in result.notes if "another file" in text]
    assert f"other.onnx (SHA-256 {other[:12]})" in note
    assert f"float.onnx (SHA-256 {own[:12]})" in note
    document = result.as_dict()
    assert document["sha256"] == own
    assert document["times_of"] == {"label": "other.onnx", "sha256": other, "precision": "fp32"}


def test_times_of_the_same_file_need_no_note() -> None:
    Path("float.onnx").rename("renamed.onnx")
    Path("float.onnx.json").rename("renamed.onnx.json")
    result = run(model="renamed.onnx", times=profiled("renamed.onnx"), target="here")
    assert not [text for text in result.notes if "another file" in text]
    assert run(model="renamed.onnx", target="gtx-1080ti").as_dict()["times_of"] is None
    measured = run(model="renamed.onnx", measure=True).as_dict()
    assert measured["times_of"]["sha256"] == measured["sha256"]


def test_times_of_a_file_in_another_precision_are_refused() -> None:
    build()
    with pytest.raises(ArtifactMismatchError, match=r"an engine in int8, float\.onnx is typed in fp32") as caught:
        run(times=profiled("int8.onnx"), target="here")
    assert caught.value.got == "times of int8.onnx"
    assert run(model="int8.onnx", times=Path("p.json"), target="here").rooflines[0].precision == "int8"


def test_times_of_a_plan_are_held_against_its_graph_and_that_is_said() -> None:
    saved = json.loads(profiled("float.onnx").read_text())
    of_a_gpu = {**saved["conditions"], "threads": None, "device": "NVIDIA GeForce GTX 1080 Ti"}
    engine = {**saved["engine"], "label": "a.engine", "sha256": "5e" * 32, "precision": "fp16"}
    Path("p.json").write_text(json.dumps({**saved, "conditions": of_a_gpu, "engine": engine}))
    result = run(times=Path("p.json"), target="gtx-1080ti")
    assert [one.precision for one in result.rooflines] == ["fp16"]
    assert any("a.engine (SHA-256 5e5e5e5e5e5e)" in text for text in result.notes)

"""``hardnet-deploy profile``: measured here, on a stand-in, or imported from trtexec."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from device_reports import layer_info, profile, write
from simulated_device import ADA, EVERY_FAMILY
from simulated_host import LABELS, build_plan_file, simulated_host
from small_int8 import DETECTOR, build, fill_folder, silent
from small_kits import small_kit

from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, OutputFileError, UsageError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.kit.json_record import read_json
from hardnet_deploy.workflows.profile import ProfileRequest, run_profile
from hardnet_deploy.workflows.profile_result import ProfileResult

TITLES = (
    ("base.0.conv + base.0.relu", 2.0),
    ("base.3.layers.0.relu copy", 1.0),
    ("Reformatting CopyNode for Input Tensor 0 to base.3.in.1", 0.5),
    ("loc.0 || conf.0", 0.5),
)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill_folder(tmp_path)


def run(**options: Any) -> ProfileResult:
    return run_profile(ProfileRequest(**{"command": ("hardnet-deploy", "profile"), **options}), silent)


def exported(*, medians: bool = True, titles: tuple[tuple[str, float], ...] = TITLES) -> Path:
    """``--exportProfile`` of 10 runs."""
    total = sum(ms for _, ms in titles)
    entries: list[dict[str, Any]] = [{"count": 10}]
    for name, ms in titles:
        entry = {"name": name, "timeMs": 10 * ms, "averageMs": ms, "percentage": 100 * ms / total}
        entries.append({**entry, "medianMs": ms} if medians else entry)
    return write(Path("profile.json"), entries)


def described(*, tensors: str = "Bindings", names_alone: bool = False) -> Path:
    """``--exportLayerInfo`` of the same engine."""
    document: dict[str, Any] = layer_info(tensors=tensors)
    (pattern,) = document["Layers"]
    document["Layers"] = [name if names_alone else {**pattern, "Name": name} for name, _ in TITLES]
    return write(Path("layers.json"), document)


def test_the_document_of_an_onnx_file(tmp_path: Path) -> None:
    output, table, picture = tmp_path / "p.json", tmp_path / "p.csv", tmp_path / "p.svg"
    result = run(engine="float.onnx", iterations=3, threads=1, output=output, csv=table, picture=picture)
    document = read_json(output, what="a profile", hint="")
    assert (document["schema"], document["kind"]) == (1, "profile")
    assert document["provenance"] == "measured here"
    assert document["simulated"] is False
    assert document["engine"]["sha256"] == sha256_file(Path("float.onnx"))
    assert document["conditions"]["threads"] == 1
    assert (document["conditions"]["size"], document["conditions"]["batch"]) == (DETECTOR.preprocess.size, 1)
    assert (document["conditions"]["device"], document["conditions"]["target"]) == (None, None)
    assert document["plain_run_ms"] > 0
    assert document["command"] == ["hardnet-deploy", "profile"]
    rows = document["layers"]
    assert rows == sorted(rows, key=lambda one: -one["ms"])
    assert sum(one["ms"] for one in rows) == pytest.approx(document["layers_ms"])
    assert sum(one["ms"] for one in document["groups"]) == pytest.approx(document["layers_ms"])
    assert document["accounted_percent"] == pytest.approx(100 * document["layers_ms"] / document["run_ms"])
    assert set(document["files"]) == {"output", "csv", "picture"}
    assert table.read_text().splitlines()[0] == "name,module,group,op,ms,percent,calls"
    assert len(table.read_text().splitlines()) == 1 + len(rows)
    assert picture.read_bytes().startswith(b"<?xml")
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["kind"] == "profile"


def test_the_title_of_a_picture_has_the_hash_and_what_the_times_must_not_be_read_without() -> None:
    trained = run(engine="float.onnx", iterations=1, threads=1)
    assert trained.title == f"float.onnx (SHA-256 {sha256_file(Path('float.onnx'))[:12]})"
    drawn = run(engine="hardnet39ds", iterations=1, threads=1)
    assert drawn.engine["sha256"] is None
    assert drawn.title == f"hardnet39ds (SHA-256 {drawn.engine['state_sha256'][:12]}, untrained)"


def test_an_int8_engine_runs_integer_kernels() -> None:
    build()
    result = run(engine="int8.onnx", iterations=2, threads=1)
    assert "QLinearConv" in {one.layer.op for one in result.table.layers}
    assert result.engine["precision"] == "int8"
    assert result.lints == ()  # in uint8, which TensorRT takes no file of
    assert run(engine="float.onnx", iterations=1, threads=1).lints


def test_a_model_of_pytorch_has_no_graph_to_lint() -> None:
    result = run(engine="hardnet39ds", iterations=1)
    assert result.lints == ()
    assert result.engine["trained"] is False
    assert {"block base.3", "classifier"} <= {one.group for one in result.table.groups()}


@EVERY_FAMILY
def test_a_plan_on_a_stand_in_is_called_simulated(device: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, device):
        build_plan_file(device, calib=None)
        result = run(engine="fp32.engine", iterations=2)
    assert result.simulated
    assert result.provenance == "measured here, simulated"
    assert LABELS[device] in result.table.profile.source
    assert str(result.conditions["device"]) in LABELS[device]
    assert result.as_dict()["plain_run_ms"] is not None
    assert {one.group for one in result.table.groups()} == {
        "stem",
        "concatenations",
        "heads",
        "softmax and decode",
        "NMS",
    }


@pytest.mark.parametrize(
    ("medians", "tensors"),
    [(False, "Bindings"), (True, "Bindings"), (True, "I/O Tensors")],
    ids=["8.2", "8.6 and 10", "11"],
)
def test_what_trtexec_exported_is_imported(medians: bool, tensors: str) -> None:
    result = run(engine="float.onnx", trtexec_profile=exported(medians=medians), layer_info=described(tensors=tensors))
    document = result.as_dict()
    assert document["provenance"] == "imported (device not in the file)"
    assert document["simulated"] is False
    assert (document["run_ms"], document["accounted_percent"]) == (None, None)
    assert document["plain_run_ms"] is None
    assert document["engine"]["precision"] is None  # a plan of this graph may be in any
    assert document["conditions"]["size"] == DETECTOR.preprocess.size
    assert (document["conditions"]["device"], document["conditions"]["target"]) == (None, None)
    assert document["layers_ms"] == pytest.approx(4)
    assert {one["group"]: one["ms"] for one in document["groups"]} == {
        "stem": 2.0,
        "concatenations": 1.0,
        "heads": 0.5,
        "reformats": 0.5,
    }
    rules = {one.rule: one for one in result.lints}
    assert rules["reformat-concat"].percent == pytest.approx(12.5)
    assert rules["concat-copies"].percent == pytest.approx(25)
    assert "concatenations" in rules  # told by the graph


def test_layers_that_are_names_alone_are_taken() -> None:
    assert run(engine="float.onnx", trtexec_profile=exported(), layer_info=described(names_alone=True)).lints


def test_the_precision_of_a_plan_is_in_its_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    with simulated_host(monkeypatch, ADA):
        build_plan_file(ADA, calib=None)
    titles = (("base.0 + base.0.relu", 1.0),)
    beside = Path("fp32.engine.json")
    record = json.loads(beside.read_text())
    record["precision"]["requested_by_layer"]["base.0"] = "int8"
    beside.write_text(json.dumps(record))
    result = run(engine="fp32.engine", trtexec_profile=exported(titles=titles))
    assert result.simulated
    assert result.provenance.endswith("simulated)")
    assert result.engine["precision"] == "fp32"
    assert str(result.conditions["device"]) in LABELS[ADA]
    assert result.conditions["size"]
    (lint,) = result.lints
    assert (lint.rule, lint.layers, lint.percent) == ("precision-fallback", ("base.0",), pytest.approx(100))


def test_a_kit_tells_what_the_profile_is_of() -> None:
    small_kit(Path("kit"))
    titles = (("conv", 1.0), ("Reformatting CopyNode for Input Tensor 0 to conv", 1.0))
    fp32 = {"Name": "conv", "Inputs": [], "Outputs": [], "Weights": {"Type": "Float", "Count": 3}}
    info = write(Path("layers.json"), {"Layers": [fp32, titles[1][0]], "Bindings": []})
    result = run(kit=Path("kit"), trtexec_profile=exported(titles=titles), layer_info=info)
    assert result.engine["model"] == "ssd300-hardnet-demo"
    assert result.engine["sha256"] == sha256_file(Path("kit/model.onnx"))
    assert result.provenance == "imported (jetson-nano, by the kit)"
    assert result.engine["precision"] == "fp16"
    assert result.conditions["target"] == "jetson-nano"
    assert (result.conditions["size"], result.conditions["batch"]) == (8, 1)
    (fell,) = [one for one in result.lints if one.rule == "precision-fallback"]
    assert fell.layers == ("conv",)  # the kit asks for FP16
    assert "fp32" in fell.message


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, UsageError, "name an engine"),
        ({"engine": "float.onnx", "iterations": 0}, UsageError, "--iterations 0"),
        ({"engine": "float.onnx", "threads": 0}, UsageError, "--threads 0"),
        ({"engine": "float.onnx", "kit": Path()}, UsageError, "--kit"),
        ({"engine": "float.onnx", "layer_info": Path("layers.json")}, UsageError, "--layer-info"),
        ({"engine": "float.onnx", "data": "voc:x"}, UsageError, "--data voc:x"),
        ({"engine": "hardnet39ds", "data": "demo"}, UsageError, "backbone"),
        ({"engine": "float.onnx", "picture": Path("a.jpg")}, UsageError, "a.jpg"),
        ({"engine": "float.onnx", "output": Path()}, OutputFileError, "folder"),
        ({"trtexec_profile": Path("profile.json")}, UsageError, "which engine"),
        (
            {"engine": "float.onnx", "trtexec_profile": Path("profile.json"), "iterations": 3},
            UsageError,
            "--iterations",
        ),
        ({"engine": "float.onnx", "trtexec_profile": Path("layers.json")}, InputFileError, "no --exportProfile"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], error: type[Exception], said: str) -> None:
    exported()
    described()
    with pytest.raises(error, match=said):
        run(**options)


def test_a_profile_that_names_nothing_of_the_network_is_refused() -> None:
    foreign = (("Conv_0 + Relu_1", 2.0), ("Reformatting CopyNode for Input Tensor 0 to Conv_0", 1.0))
    with pytest.raises(ArtifactMismatchError, match=r"profile\.json is the profile of another network") as caught:
        run(engine="float.onnx", trtexec_profile=exported(titles=foreign), output=Path("p.json"))
    assert "Conv_0" in str(caught.value.got)
    assert not Path("p.json").exists()


@pytest.mark.parametrize(("ms", "warned"), [(0.5, False), (3.0, True)])
def test_much_time_in_layers_that_name_nothing_is_said(ms: float, warned: bool) -> None:
    result = run(engine="float.onnx", trtexec_profile=exported(titles=(*TITLES, ("Conv_0 + Relu_1", ms))))
    assert any("name nothing of the network" in text for text in result.table.profile.notes) == warned


def test_a_layer_info_of_another_engine_is_refused() -> None:
    with pytest.raises(ArtifactMismatchError, match="different engines"):
        run(
            engine="float.onnx",
            trtexec_profile=write(Path("other.json"), profile()),
            layer_info=described(names_alone=True),
        )


@pytest.mark.parametrize("document", [{}, [], {"Layers": []}, {"Layers": [3]}])
def test_what_is_no_layer_info_is_refused_by_name(document: Any) -> None:
    path = write(Path("none.json"), document)
    with pytest.raises(InputFileError, match=r"none\.json"):
        run(engine="float.onnx", trtexec_profile=exported(), layer_info=path)


def test_a_changed_artifact_is_refused_and_trusted_with_a_warning() -> None:
    beside = Path("float.onnx.json")
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "sha256": "0" * 64}))
    for options in ({"iterations": 1}, {"trtexec_profile": exported()}):
        with pytest.raises(ArtifactMismatchError):
            run(engine="float.onnx", **options)
        assert "changed since" in run(engine="float.onnx", trust=True, **options).engine["warning"]


def test_nothing_is_written_where_a_run_fails() -> None:
    before = set(Path().iterdir())
    with pytest.raises(UsageError):
        run(engine="float.onnx", data="voc:x", output=Path("p.json"), csv=Path("p.csv"), picture=Path("p.png"))
    assert set(Path().iterdir()) == before

"""The commands that messages name: of the user's own model, weights, ranges and precision, and taken by the parser."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from hardnet_deploy.artifacts import Manifest, describe_model, manifest_path
from hardnet_deploy.cli.main import app
from hardnet_deploy.models import registry
from hardnet_deploy.workflows.build_options import BuildRequest, plan_build
from hardnet_deploy.workflows.next_commands import build_command, export_command, kit_command

COCO = "ssd512-hardnet68-coco"
SHIPPED = "shipped with hardnet-deploy (ssd300-hardnet-demo.safetensors)"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def manifest(name: str, **changes: Any) -> Manifest:
    spec = registry.get(name)
    fields: dict[str, Any] = {
        "kind": "onnx",
        "model": describe_model(spec, code_line=registry.CODE_LINES[0]),
        "weights": {"trained": True, "source": SHIPPED},
        "preprocess": asdict(spec.preprocess),
        "class_names": spec.class_names,
        "head": None,
        "target": "gpu",
        "precision": {"requested": "fp32"},
        "graph": {"thresholds": None},
        "checks": {},
        "sha256": "ab" * 32,
        "versions": {},
        "command": (),
    }
    return Manifest(**fields | changes)


def exported(name: str, **changes: Any) -> str:
    manifest_path(Path("kits/model.onnx")).parent.mkdir(exist_ok=True)
    manifest_path(Path("kits/model.onnx")).write_text(manifest(name, **changes).as_json(), encoding="utf-8")
    return "kits/model.onnx"


def kit(**options: Any) -> str:
    request = BuildRequest(**{"target": "gtx-1080ti"} | options)
    return parsed(kit_command(plan_build(request), request))


def parsed(command: str) -> str:
    """The command, once the parser has taken it: every option and value is one that it knows."""
    program, name, *words = shlex.split(command)
    assert program == "hardnet-deploy"
    group: Any = get_command(app)
    group.commands[name].make_context(name, list(words))
    return command


def test_a_kit_of_a_file_is_of_the_model_that_it_was_exported_from() -> None:
    source = exported("ssd300-hardnet-demo")
    assert kit(source=source, fp16=True, target="jetson-nano") == (
        "hardnet-deploy kit ssd300-hardnet-demo --target jetson-nano --precision fp16 -o DIR"
    )
    assert "--precision fp32" in kit(source=source)


def test_weights_classes_code_line_and_thresholds_go_with_it() -> None:
    changes: dict[str, Any] = {
        "weights": {"trained": True, "source": "my weights.pth"},
        "class_names": ("background", "cat"),
        "model": describe_model(registry.get(COCO), code_line=registry.CODE_LINES[1]),
        "graph": {"thresholds": {"score": 0.3, "iou": 0.45, "max_detections": 200}},
    }
    command = kit(source=exported(COCO, **changes), workspace="1G")
    assert "--weights 'my weights.pth' --classes CLASSES --code-line lzx1413" in command
    assert "--thresholds deploy" in command
    assert "--workspace 1024M" in command
    untrained = kit(source=exported(COCO, weights={"trained": False, "source": "drawn from seed 0"}))
    assert "--weights" not in untrained


def test_a_model_keeps_its_checkpoint_and_its_ranges() -> None:
    Path("f.pth").touch()
    words = {"source": COCO, "weights": Path("f.pth"), "int8": True, "data": "coco:/data", "count": 20}
    assert kit(**words) == (
        f"hardnet-deploy kit {COCO} --weights f.pth --target gtx-1080ti --precision int8 --data coco:/data --count 20"
        " -o DIR"
    )
    assert "--data IMAGES" in kit(source=COCO, int8=True)
    assert "--data" not in kit(source="ssd300-hardnet-demo", int8=True)


def test_a_kit_takes_a_table_and_no_cache() -> None:
    source = exported("ssd300-hardnet-demo")
    Path("t.calib.json").write_text("{}")
    Path("t.cache").write_text("TRT-8601-EntropyCalibration2\nimages: 3c010a14\n")
    assert "--calib t.calib.json" in kit(source=source, int8=True, calib=Path("t.calib.json"))
    assert "--calib" not in kit(source=source, int8=True, calib=Path("t.cache"))
    assert "--layer-precisions loc.0:fp32" in kit(source=source, int8=True, layer_precisions="loc.0:fp32")


def test_without_a_manifest_nobody_knows_the_model() -> None:
    assert kit(source="nowhere.onnx") == "hardnet-deploy kit MODEL --target gtx-1080ti --precision fp32 -o DIR"


def test_an_export_anew_keeps_what_the_file_was_exported_with() -> None:
    source = exported("hardnet39ds", preprocess=asdict(registry.get("hardnet39ds").preprocess) | {"size": 128})
    request = BuildRequest(source=source, target="jetson-nano")
    assert parsed(export_command(plan_build(request), request, "--opset", "13")) == (
        "hardnet-deploy export hardnet39ds --size 128 --target jetson-nano --opset 13 -o kits/model.jetson-nano.onnx"
    )


def test_a_plan_is_built_again_as_its_manifest_says() -> None:
    made = manifest(COCO, weights={"trained": True, "source": "f.pth"}, precision={"requested": "int8"})
    assert parsed(build_command(made)) == f"hardnet-deploy build-engine {COCO} --weights f.pth --int8 --data IMAGES"
    both = manifest("ssd300-hardnet-demo", precision={"requested": "int8", "flags": ["int8", "fp16"]})
    assert parsed(build_command(both)) == "hardnet-deploy build-engine ssd300-hardnet-demo --int8 --fp16"
    assert build_command(manifest("hardnet68", target="cpu")).endswith("hardnet68 --target cpu")
    assert build_command(None) == "hardnet-deploy build-engine MODEL"

"""What ``build-engine`` writes, looked at before anything runs: a dry run refuses what the real one would."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_machines import PASCAL_MACHINE, planned, refused
from small_int8 import write_detector

from hardnet_deploy.errors import OutputFileError, TargetError, UsageError
from hardnet_deploy.workflows import build_engine
from hardnet_deploy.workflows import preflight as workflow
from hardnet_deploy.workflows.build_engine import run_build
from hardnet_deploy.workflows.build_options import BuildRequest

DRY = pytest.mark.parametrize("dry_run", [True, False])
TARGET = "gtx-1080ti"


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARDNET_DEPLOY_CACHE", str(tmp_path / "cache"))
    write_detector(tmp_path / "float.onnx")


@DRY
@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("folder", "is a folder"),
        ("float.onnx.json/x.engine", "is not a folder"),
        ("float.onnx.json/deeper/x.engine", "is not a folder"),
        ("/dev/null", "a device or a pipe"),
        ("x" * 300 + ".engine", "cannot be written"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused(output: str, message: str, dry_run: bool) -> None:
    Path("folder").mkdir()
    error = refused(OutputFileError, message, PASCAL_MACHINE, target=TARGET, output=Path(output), dry_run=dry_run)
    assert error.exit_code == 4


@DRY
def test_a_folder_without_permission_is_refused(dry_run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, _mode: "locked" not in str(path))  # the tests may run as root
    Path("locked").mkdir()
    output = Path("locked/x.engine")
    error = refused(OutputFileError, "no permission in", PASCAL_MACHINE, target=TARGET, output=output, dry_run=dry_run)
    assert error.exit_code == 4


@DRY
def test_the_table_beside_the_engine_is_looked_at_too(dry_run: bool) -> None:
    Path("x.calib.json").mkdir()
    refused(
        OutputFileError,
        "x.calib.json is a folder",
        PASCAL_MACHINE,
        target=TARGET,
        int8=True,
        output=Path("x.engine"),
        dry_run=dry_run,
    )


def test_a_folder_that_is_not_there_yet_will_be_made() -> None:
    plan = planned(PASCAL_MACHINE, target=TARGET, output=Path("not/yet/x.engine"))
    assert "not/yet/x.engine" in plan.steps[-1]
    assert not Path("not").exists()


@DRY
@pytest.mark.parametrize("target", ["gtx-1080ti", "jetson-nano", "gpu"])
def test_a_plan_is_not_called_onnx(target: str, dry_run: bool) -> None:
    error = refused(UsageError, "names an ONNX graph", target=target, output=Path("a/b.onnx"), dry_run=dry_run)
    assert error.exit_code == 2
    assert "-o a/b.engine" in (error.next_step or "")
    assert "--target cpu" in (error.next_step or "")


@DRY
def test_on_the_cpu_it_is_the_same(dry_run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_engine, "run_export", None)
    monkeypatch.setattr(workflow, "read_machine", None)

    def run(**options: object) -> None:
        run_build(BuildRequest(source="float.onnx", target="cpu", dry_run=dry_run, **options), lambda *_: None)  # type: ignore[arg-type]  # of the request

    with pytest.raises(OutputFileError, match="is not a folder"):
        run(output=Path("float.onnx.json/x.onnx"))
    with pytest.raises(TargetError) as caught:
        run(fp16=True)
    assert "--int8 instead of --fp16" in (caught.value.next_step or "")

"""A kit of the demo detector, on simulated devices, to an imported report that says it was simulated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from kit_on_device import copied_runner, time_shortly
from made_kits import DEMO, demo_kit
from simulated_device import NANO, PASCAL, simulated

from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.kit.results import read_rows
from hardnet_deploy.workflows.import_report import ImportRequest, run_import

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("device", [NANO, PASCAL], ids=["nano", "1080 ti"])
def test_from_kit_to_imported_report(device: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kit"
    shutil.copytree(demo_kit(device[1]).folder, folder)
    time_shortly(folder)
    with copied_runner(folder) as runner, simulated(monkeypatch, *device):
        assert runner.main(["all", "--kit", str(folder), "--allow-unstable"]) == 0
    store = tmp_path / "results.json"
    result = run_import(ImportRequest(report=folder / "report.json", save=store))
    row = result.row
    assert row["simulated"]
    assert row["label"].startswith("imported (Simulated ")
    assert row["label"].endswith(", simulated")
    assert "+simulated" in row["tensorrt"]
    assert (row["model"], row["trained"], row["target"]) == (DEMO, True, device[1])
    assert row["parity"]["passed"]
    assert row["parity"]["matched"] > 0
    assert row["precision"] in row["layers"]
    assert row["not_in_file"] == []
    assert not run_import(ImportRequest(report=folder / "report.json", kit=folder, save=store)).new
    assert len(read_rows(store)) == 1

    document = json.loads((folder / "kit.json").read_text())
    document["notes"] = ["another kit"]
    (folder / "kit.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ArtifactMismatchError, match="is not of the kit"):
        run_import(ImportRequest(report=folder / "report.json", save=store))

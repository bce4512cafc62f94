from __future__ import annotations

from pathlib import Path

import pytest
from import_arrows import LEAVES, broken_arrows, read_imports

ROOT = Path(__file__).resolve().parents[2]


def test_every_import_points_the_right_way() -> None:
    imports = list(read_imports(ROOT, ("hardnet_deploy", *LEAVES, "benchmarks")))
    assert any(found.importer.startswith("hardnet_deploy.") for found in imports)
    assert broken_arrows(imports) == []


def _broken(tmp_path: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return broken_arrows(read_imports(tmp_path, ("hardnet_deploy", *LEAVES, "benchmarks")))


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("hardnet_deploy/nms/x.py", "from hardnet_deploy.runners import base", "'runners' lies above 'nms'"),
        ("hardnet_deploy/errors.py", "from hardnet_deploy import specs", "'specs' lies above 'errors'"),
        ("hardnet_deploy/specs.py", "def f():\n    import hardnet_deploy.cli.main", "'cli' lies above 'specs'"),
        (
            "hardnet_deploy/export/x.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hardnet_deploy.workflows import doctor",
            "'workflows' lies above 'export'",
        ),
        ("hardnet_deploy/export/x.py", "from fusion import conv_bn", "only workflows joins the leaves"),
        ("fusion/x.py", "from hardnet_deploy import specs", "fusion is a leaf"),
        ("fusion/x.py", "import calibration", "fusion is a leaf"),
        ("calibration/x.py", "import hardnet_deploy", "calibration is a leaf"),
        ("hardnet_deploy/device/run_engine.py", "from hardnet_deploy import errors", "runs alone on the device"),
        ("hardnet_deploy/cli/x.py", "from hardnet_deploy.device import run_engine", "import the device file"),
        ("hardnet_deploy/bench/x.py", "import hardnet_deploy.device.run_engine", "import the device file"),
        ("hardnet_deploy/workflows/x.py", "import typer", "only hardnet_deploy.cli knows the terminal"),
        ("fusion/x.py", "from rich.table import Table", "only hardnet_deploy.cli knows the terminal"),
        ("hardnet_deploy/workflows/x.py", "from benchmarks import speed", "nothing imports benchmarks"),
        ("hardnet_deploy/models/x.py", "from . import ssd", "relative imports are not used"),
        ("hardnet_deploy/models/x.py", "from hardnet_deploy import unheard_of", "has no place in LAYERS"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, text: str, why: str) -> None:
    told = _broken(tmp_path, {file: text})
    assert len(told) == 1
    assert why in told[0]
    assert told[0].startswith(f"{file}:")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "hardnet_deploy/cli/x.py",
            "import typer\nfrom rich.table import Table\nfrom hardnet_deploy.workflows import x",
        ),
        ("hardnet_deploy/workflows/x.py", "from fusion import torch_fold\nfrom calibration import table"),
        ("hardnet_deploy/export/x.py", "from hardnet_deploy.export import nms\nfrom hardnet_deploy import __version__"),
        ("hardnet_deploy/runners/x.py", "import numpy as np\nfrom hardnet_deploy.nms import efficient"),
        ("hardnet_deploy/engines/x.py", "from hardnet_deploy.device import run_engine"),
        ("hardnet_deploy/runners/x.py", "from hardnet_deploy.device import run_engine"),
        ("hardnet_deploy/workflows/x.py", "from hardnet_deploy.device import run_engine"),
        ("hardnet_deploy/kit/x.py", "from hardnet_deploy.device import run_engine"),
        ("benchmarks/x.py", "from hardnet_deploy.workflows import export\nimport fusion"),
        ("fusion/x.py", "import fusion.conv_bn"),
    ],
)
def test_a_right_import_is_left_alone(tmp_path: Path, file: str, text: str) -> None:
    assert _broken(tmp_path, {file: text}) == []


def test_a_circle_inside_a_layer_is_found(tmp_path: Path) -> None:
    told = _broken(
        tmp_path,
        {
            "hardnet_deploy/models/x.py": "from hardnet_deploy.data import x",
            "hardnet_deploy/data/x.py": "from hardnet_deploy.models import x",
        },
    )
    assert len(told) == 1
    assert "circle" in told[0]

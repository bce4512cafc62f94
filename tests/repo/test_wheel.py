from __future__ import annotations

import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import hardnet_deploy

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hardnet_deploy", "fusion", "calibration")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The project's wheel, built with the backend that is installed here: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def _dist_info(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


@pytest.fixture
def metadata(wheel: zipfile.ZipFile) -> Message:
    return Parser().parsestr(_dist_info(wheel, "METADATA"))


def test_it_holds_the_three_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    dist_info = {top for top in tops if top.endswith(".dist-info")}
    assert tops - dist_info == set(PACKAGES)
    assert len(dist_info) == 1


def test_it_holds_every_module_and_type_marker(wheel: zipfile.ZipFile) -> None:
    here = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }
    assert {f"{package}/py.typed" for package in PACKAGES} <= here
    assert here <= set(wheel.namelist())


def test_it_holds_no_tests_benchmarks_or_caches(wheel: zipfile.ZipFile) -> None:
    unwanted = [
        name
        for name in wheel.namelist()
        if {"tests", "benchmarks", "docs", "__pycache__"} & set(name.split("/")) or name.endswith((".pyc", ".onnx"))
    ]
    assert unwanted == []


def test_its_metadata_are_the_projects(metadata: Message) -> None:
    assert metadata["Name"] == "hardnet-deploy"
    assert metadata["Version"] == hardnet_deploy.__version__
    assert metadata["Requires-Python"] == ">=3.10"
    assert metadata["License-Expression"] == "MIT"
    assert metadata["License-File"] == "LICENSE"
    assert "hardnet-deploy" in metadata.get_payload()


def test_tensorrt_is_an_extra_and_never_required(metadata: Message) -> None:
    requirements = metadata.get_all("Requires-Dist", [])
    assert {"tensorrt", "torchvision"} <= set(metadata.get_all("Provides-Extra", []))
    for name in ("tensorrt", "pycuda", "torchvision", "pytest"):
        lines = [line for line in requirements if line.startswith(name)]
        assert lines
        assert all("extra ==" in line for line in lines)


def test_it_installs_the_command(wheel: zipfile.ZipFile) -> None:
    assert "hardnet-deploy = hardnet_deploy.cli.main:main" in _dist_info(wheel, "entry_points.txt").splitlines()

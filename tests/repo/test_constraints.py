from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = ("test", "lint", "photos")
# torch itself pins the CUDA packages it brings along; one of them comes with a range.
PINNED_BY_TORCH = re.compile(r"nvidia-|cuda-|triton$")


def _constraints() -> list[Requirement]:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]


def _pins() -> dict[str, str]:
    """Name to version, of the lines that hold for this Python."""
    active = [line for line in _constraints() if line.marker is None or line.marker.evaluate()]
    return {canonicalize_name(line.name): str(line.specifier) for line in active}


def _needed() -> dict[str, str]:
    """Name to installed version of everything that the project and its extras need here, however indirectly."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    todo = [Requirement(line) for line in asked]
    found: dict[str, str] = {}
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker is not None and not requirement.marker.evaluate({"extra": ""})):
            continue
        found[name] = metadata.version(name)
        if not PINNED_BY_TORCH.match(name):
            todo += [Requirement(line) for line in metadata.requires(name) or []]
    return found


def test_every_line_is_one_exact_version() -> None:
    for line in _constraints():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(line.specifier)), str(line)
        assert line.url is None
        assert not line.extras


def test_no_name_has_two_versions_on_one_python() -> None:
    for python in ("3.10", "3.11", "3.12", "3.13", "3.14"):
        environment = {"python_version": python, "python_full_version": f"{python}.0"}
        names = [line.name for line in _constraints() if line.marker is None or line.marker.evaluate(environment)]
        assert len(names) == len(set(names))


def test_everything_that_is_needed_here_is_pinned() -> None:
    missing = [name for name in _needed() if name not in _pins() and not PINNED_BY_TORCH.match(name)]
    assert missing == []


def test_what_is_installed_is_what_is_pinned() -> None:
    needed, pins = _needed(), _pins()
    other = {
        name: version
        for name, version in needed.items()
        if name in pins and version.partition("+")[0] != pins[name].removeprefix("==")
    }
    assert other == {}


def test_versions_that_differ_from_target_to_target_are_left_open() -> None:
    assert {"tensorrt", "pycuda"}.isdisjoint(_pins())


@pytest.mark.parametrize(
    "name", ["torch", "torchvision", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy", "hatchling"]
)
def test_the_packages_that_decide_results_are_pinned(name: str) -> None:
    assert name in _pins()

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from hardnet_deploy.cli.main import app
from hardnet_deploy.errors import EXIT_CODES

HEAVY = (
    "torch",
    "torchvision",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "onnxruntime",
    "tensorrt",
    "pycuda",
    "PIL",
    "skimage",
    "cv2",
    "matplotlib",
    "pycocotools",
    "safetensors",
)

# Runs the command in a process in which none of these can be imported.
RUN_WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {heavy!r}:
            raise ImportError(f"{{name}} must not be imported here")

sys.meta_path.insert(0, Blocked())
from hardnet_deploy.cli.main import main
sys.argv = ["hardnet-deploy", *sys.argv[1:]]
sys.exit(main())
"""


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The app itself and every command below it, as the words that a user types."""
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from _commands(child, (*path, name))


ALL_COMMANDS = tuple(_commands(typer.main.get_command(app)))


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    code = RUN_WITHOUT.format(heavy=HEAVY)
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


def test_the_blocking_blocks() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            RUN_WITHOUT.format(heavy=HEAVY).replace("from hardnet_deploy.cli.main", "import torch #"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "torch must not be imported here" in done.stderr


def test_the_commands_are_found() -> None:
    assert {("models",), ("targets",), ("doctor",), ("export",), ("detect",), ("demo",)} <= set(ALL_COMMANDS)


@pytest.mark.parametrize("words", ALL_COMMANDS, ids=lambda words: " ".join(words) or "hardnet-deploy")
def test_help_needs_nothing_heavy_and_lists_the_exit_codes(words: tuple[str, ...]) -> None:
    done = _run(*words, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    text = " ".join(done.stdout.split())
    assert "Usage:" in text
    assert "Exit codes:" in text
    for code, meaning in EXIT_CODES:
        assert f"{code} {meaning}" in text


@pytest.mark.parametrize("words", [("--version",), ("targets",), ("targets", "--json")], ids=" ".join)
def test_what_needs_no_framework_runs_without_one(words: tuple[str, ...]) -> None:
    done = _run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_doctor_works_without_any_framework() -> None:
    done = _run("doctor")
    assert done.returncode == 0, done.stderr
    assert "ONNX Runtime does not load" in done.stdout


@pytest.mark.parametrize("words", [("no-such-command",), ("targets", "--no-such-option")], ids=" ".join)
def test_usage_errors_end_with_2(words: tuple[str, ...]) -> None:
    done = _run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no-such" in done.stderr

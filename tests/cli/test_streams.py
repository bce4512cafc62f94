"""How a command ends: what goes to stdout and what to stderr, with which exit code, whoever reads or interrupts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import environment, files, shell, shell_without_reader
from tiny_detector import RED, save_image, write_toy
from typer.testing import CliRunner

from hardnet_deploy import __version__
from hardnet_deploy.cli.common import Debug, Json, emit, emit_json, guarded
from hardnet_deploy.cli.main import app
from hardnet_deploy.errors import (
    AccuracyBudgetError,
    ArtifactMismatchError,
    CheckpointError,
    ExportError,
    HardnetDeployError,
    InputFileError,
    OutputFileError,
    ParityError,
    TargetError,
    UnstableTimingError,
    UsageError,
)

CLOSED_PIPE, INTERRUPTED = 141, 130  # 128 + SIGPIPE, 128 + SIGINT: what shells report
FULL_DISK = Path("/dev/full")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def command_that(fault: BaseException | None) -> typer.Typer:
    """An app of one command that prints a line and then fails."""
    one = typer.Typer()

    @one.command()
    @guarded
    def fail(json: Json = False, debug: Debug = False) -> None:
        del debug
        if fault is not None:
            raise fault
        emit_json({"ok": True}) if json else emit("ok")

    return one


def ended(fault: BaseException | None, *words: str) -> Any:
    return CliRunner().invoke(command_that(fault), list(words))


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (UsageError, 2),
        (TargetError, 3),
        (InputFileError, 4),
        (CheckpointError, 4),
        (ExportError, 4),
        (OutputFileError, 4),
        (ParityError, 5),
        (AccuracyBudgetError, 6),
        (UnstableTimingError, 7),
        (ArtifactMismatchError, 8),
    ],
)
def test_each_error_has_its_exit_code_and_says_what_got_wanted_next(
    kind: type[HardnetDeployError], exit_code: int
) -> None:
    error = kind("f.onnx is odd", got="three", wanted="four", next_step="count again")
    plain = ended(error)
    assert plain.exit_code == exit_code
    assert plain.stdout == ""
    assert plain.stderr == "error: f.onnx is odd\n  got: three\n  wanted: four\n  next: count again\n"
    as_json = ended(error, "--json")
    assert as_json.exit_code == exit_code
    assert as_json.stderr == plain.stderr
    assert json.loads(as_json.stdout) == {
        "error": kind.__name__,
        "what": "f.onnx is odd",
        "got": "three",
        "wanted": "four",
        "next": "count again",
        "exit_code": exit_code,
    }


def test_success_is_one_document_or_lines() -> None:
    assert ended(None).stdout == "ok\n"
    assert json.loads(ended(None, "--json").stdout) == {"ok": True}


@pytest.mark.parametrize("fault", [UsageError("x"), RuntimeError("x")], ids=repr)
def test_a_traceback_comes_only_with_debug(fault: Exception) -> None:
    assert "Traceback" not in ended(fault).stderr
    shown = ended(fault, "--debug")
    assert "Traceback" in shown.stderr
    assert type(fault).__name__ in shown.stderr
    assert shown.exit_code == ended(fault).exit_code
    assert json.loads(ended(fault, "--debug", "--json").stdout)["exit_code"] == shown.exit_code


@pytest.mark.parametrize("fault", [ValueError("bad value"), RecursionError("deep"), OSError(5, "I/O")])
def test_a_fault_of_our_own_is_one_sentence_too(fault: Exception) -> None:
    result = ended(fault, "--json")
    assert result.exit_code == 1
    assert "failed unexpectedly" in result.stderr
    assert type(fault).__name__ in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr
    assert json.loads(result.stdout)["exit_code"] == 1


def test_too_little_memory_is_the_environments() -> None:
    result = ended(MemoryError("cannot allocate"), "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["got"] == "cannot allocate"


def test_an_interrupt_is_no_error_of_anybodys() -> None:
    result = ended(KeyboardInterrupt())
    assert result.exit_code == INTERRUPTED
    assert result.stderr.startswith("interrupted")
    assert result.stdout == ""


def test_json_that_is_not_json_is_never_printed() -> None:
    with pytest.raises(ValueError, match="JSON"):
        emit_json({"error": float("nan")})


@pytest.mark.parametrize("both", [False, True], ids=["stdout closed", "both closed"])
@pytest.mark.parametrize(
    "words",
    [("targets",), ("targets", "--json"), ("export", "no-such-model", "--json"), ("detect", "toy.onnx", "red.png")],
    ids=" ".join,
)
def test_a_reader_that_has_left_is_no_reason_for_a_traceback(words: tuple[str, ...], *, both: bool) -> None:
    write_toy(Path("toy.onnx"))
    save_image(Path("red.png"), RED)
    done = shell_without_reader(*words, both=both)
    assert done.returncode == CLOSED_PIPE
    if not both:
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert "BrokenPipe" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="needs bash's pipefail and GNU head")
def test_head_takes_one_line() -> None:
    write_toy(Path("toy.onnx"), busy=True)
    save_image(Path("red.png"), RED)
    images = " red.png" * 300  # more than a pipe holds
    line = f"set -o pipefail; '{Path(sys.executable).with_name('hardnet-deploy')}' detect toy.onnx{images} | head -1"
    # Unbuffered, Python takes a write that was cut short for a whole one, and the run ends as if all had been read.
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == CLOSED_PIPE
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not FULL_DISK.exists(), reason="needs /dev/full; this system has none")
@pytest.mark.parametrize("words", [("targets",), ("targets", "--json"), ("export", "no-such-model", "--json")])
def test_a_full_disk_behind_stdout_is_one_sentence(words: tuple[str, ...]) -> None:
    with FULL_DISK.open("w") as full:
        done = shell(*words, stdout=full)
    assert done.returncode == (4 if words[0] == "targets" else 2)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr.startswith("error: ")


# A process of its own whose Ctrl-C works even where this one ignores it, as in the background of a shell.
INTERRUPTIBLE = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from hardnet_deploy.cli.main import main\n"
    "sys.argv = ['hardnet-deploy', *sys.argv[1:]]\n"
    "main()\n"
)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_ctrl_c_leaves_the_older_files(stage: int) -> None:
    Path("x.onnx").write_bytes(b"older")
    Path("x.onnx.json").write_bytes(b"older too")
    before = files(Path())
    words = [sys.executable, "-c", INTERRUPTIBLE, "export", "hardnet68", "-o", "x.onnx", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = ""
        while f"[{stage}/" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        process.send_signal(signal.SIGINT)
        stdout, rest = process.communicate(timeout=120)
    assert process.returncode == INTERRUPTED, rest
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert stdout == ""
    assert files(Path()) == before


def test_the_version_is_the_packages() -> None:
    for done in (
        shell("--version"),
        subprocess.run(
            [sys.executable, "-m", "hardnet_deploy", "--version"], capture_output=True, text=True, check=False
        ),
    ):
        assert (done.returncode, done.stdout, done.stderr) == (0, f"hardnet-deploy {__version__}\n", "")


@pytest.mark.parametrize(
    "words", [["no-such-command"], ["export", "--no-such-option"], ["detect"], ["export", "a", "b"]]
)
def test_usage_errors_end_with_2_and_an_empty_stdout(words: list[str]) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr


def test_the_bare_command_shows_its_help() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "export" in result.output
    assert "Exit codes:" in result.output


def test_no_locale_breaks_the_output() -> None:
    done = shell("export", "modèle", env=environment(PYTHONIOENCODING="ascii", LC_ALL="C"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "mod" in done.stderr


def test_a_command_line_that_cannot_be_parsed_is_still_one_json_document() -> None:
    for arguments in (["export", "--bogus", "--json"], ["detect", "--json"], ["nonsense", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "hardnet_deploy", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert json.loads(done.stdout)["exit_code"] == 2
        assert done.stderr

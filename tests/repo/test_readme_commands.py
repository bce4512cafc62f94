"""Every command that the README shows is run, in the order of the page, by someone who has what it talks about.

The stand-ins for a reader's checkpoint and data are small and untrained (``readme_commands.prepare``), boards are the
simulated ones, and long commands are shortened by the options named here; nothing else is changed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer.main
from command_line import shell
from kit_on_device import copied_runner, time_shortly
from readme_commands import inline_commands, placed, prepare, shown_commands
from simulated_device import NANO, PASCAL, simulated

from hardnet_deploy.cli.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BOARDS = {"nano-kit": NANO, "pascal-kit": PASCAL}
SHORTENED: dict[str, dict[str, str | None]] = {
    "bench": {"--budget": "20s", "--allow-unstable": None},
    "profile": {"--iterations": "3"},
    "build-engine": {"--count": "2"},
    "calibrate": {"--count": "2"},
    "kit": {"--samples": "1"},
    "train": {"--epochs": "1", "--batch": "1", "--workers": "0"},
}
UNTRAINED_MAY_FAIL = (0, 5, 6)
"""Of what compares an INT8 engine: on weights drawn from a seed, INT8 may well detect something else."""
INT8_KITS = {"pascal-kit"}
ELSEWHERE = {
    "make demo": "tests/cli/test_demo_cmd.py runs what it runs",
    "make test": "this is it",
}


def shortened(words: list[str]) -> list[str]:
    """The words, with the options of ``SHORTENED`` that they do not give themselves and that do something."""
    added = {name: value for name, value in SHORTENED.get(words[0], {}).items() if name not in words}
    if "--calib" in words:  # brings its ranges: nothing is counted
        added.pop("--count", None)
    return [*words, *(word for pair in added.items() for word in pair if word is not None)]


def run_on_its_board(words: list[str], folder: Path) -> None:
    script = folder / words[0]
    kit = script.parent
    time_shortly(kit)
    with pytest.MonkeyPatch.context() as patch, copied_runner(kit) as runner, simulated(patch, *BOARDS[kit.name]):
        ended = runner.main([*words[1:], "--kit", str(kit), "--allow-unstable"])
        assert ended in (UNTRAINED_MAY_FAIL if kit.name in INT8_KITS else (0,))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    commands = shown_commands(README)
    assert len(commands) > 15
    for command in commands:
        shown = " ".join(command)
        words = placed(command[1:], tmp_path)
        if command[0] == "make":
            assert shown in ELSEWHERE, f"no test runs: {shown}"
            continue
        if command[0] == "python3":
            run_on_its_board(words, tmp_path)
            continue
        assert command[0].endswith("hardnet-deploy"), f"no test runs: {shown}"
        if command[0] == "hardnet-deploy":  # told, not shown to be typed: the hour in which the detector was trained
            assert words[0] == "train", shown
            continue
        done = shell(*shortened(words), cwd=tmp_path)
        int8_compared = words[0] == "parity" and any("int8" in word for word in words)
        allowed = UNTRAINED_MAY_FAIL if int8_compared else (0,)
        assert done.returncode in allowed, f"{shown}\n{done.stderr}"
        assert "Traceback" not in done.stderr, shown
        for made in (words[place + 1] for place, word in enumerate(words[:-1]) if word == "-o"):
            if "--dry-run" not in words:
                assert (tmp_path / made).exists(), f"{shown} did not make {made}"


def command_options(name: str) -> set[str]:
    """Every spelling of every option of a command."""
    group = typer.main.get_command(app)
    found = group.commands[name]  # type: ignore[attr-defined]  # a typer app with commands is a group
    return {word for one in found.params for word in (*one.opts, *one.secondary_opts)} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_command_or_an_option_that_is_not_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    names = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # as above
    shown = [words[1:] for words in shown_commands(text) if words[0].endswith("hardnet-deploy")]
    for words in (*shown, *(words[1:] for words in inline_commands(text))):
        if words[0].startswith("-"):
            continue
        assert words[0] in names, f"{page.name}: hardnet-deploy {words[0]}"
        options = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-zA-Z]", word)}
        unknown = options - command_options(words[0])
        assert not unknown, f"{page.name}: hardnet-deploy {words[0]} has no {', '.join(sorted(unknown))}"


def test_what_runs_elsewhere_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert {name.removeprefix("make ") for name in ELSEWHERE} <= targets


def test_the_exit_codes_are_all_in_the_readme() -> None:
    from hardnet_deploy import errors

    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    rows = set(re.findall(r"^\| (\d) \|", README, flags=re.MULTILINE))
    assert {str(code) for code in codes} <= rows
    assert json.dumps(sorted(rows)) == json.dumps(sorted(rows & set("012345678")))

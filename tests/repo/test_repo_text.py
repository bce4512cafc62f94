from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from hardnet_deploy.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 300
# Python files that may be longer, each with its reason.
LONGER: dict[str, str] = {
    "hardnet_deploy/device/run_engine.py": "copied alone to a device: build, run, check and time in one file",
}

# In pieces, so that this file does not hold what it looks for.
REGISTRY_HOSTS = (
    "files.python" + "hosted.org",
    "pypi." + "org/simple",
    "pypi.nvi" + "dia.com",
    "download.pytor" + "ch.org",
)
REGISTRY_OPTIONS = ("--" + "extra-index", "index" + "-url", "find" + "-links", "--" + "trusted-host")
OUTSIDE = (
    r"(?<![\w.])/wor" + r"k/",
    r"\.\./sha" + "red",
    r"\.libr" + r"ary\b",
    r"\bfac" + r"ts/\w",
    "DESI" + r"GN\.md",
    "STY" + r"LE\.md",
)


def _files() -> list[Path]:
    """Every text file of the project: what git tracks, and what it would if it were added."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    binary = {".npz", ".png", ".jpg", ".npy", ".pth", ".safetensors"}
    return [path for path in paths if path.is_file() and path.suffix not in binary]


FILES = _files()


def _matches(pattern: str) -> Iterator[str]:
    for path in FILES:
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if re.search(pattern, line):
                yield f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"


def test_there_is_text_to_look_at() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", ".ci/run"} <= names


@pytest.mark.parametrize("text", REGISTRY_HOSTS + REGISTRY_OPTIONS)
def test_no_file_names_where_packages_come_from(text: str) -> None:
    assert list(_matches(re.escape(text))) == []


@pytest.mark.parametrize("pattern", OUTSIDE)
def test_no_file_points_outside_of_the_repository(pattern: str) -> None:
    assert list(_matches(pattern)) == []


def test_python_files_are_short() -> None:
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in FILES
        if path.suffix == ".py"
    }
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES and name not in LONGER} == {}
    assert all(lengths.get(name, 0) > MAX_LINES and reason for name, reason in LONGER.items())


def _readme_code() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))])


def test_every_command_in_the_readme_exists() -> None:
    known = set(typer.main.get_command(app).commands)
    named = set(re.findall(r"hardnet-deploy +([a-z][a-z-]*)", _readme_code()))
    assert named
    assert named <= known


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"\bmake +([a-z][a-z-]*)", _readme_code()))
    assert {"demo", "test"} <= named
    assert named <= targets


def test_every_option_in_the_readme_exists() -> None:
    commands = typer.main.get_command(app).commands
    for line in _readme_code().replace("\\\n", " ").splitlines():
        found = re.search(r"hardnet-deploy +([a-z][a-z-]*)(.*)", line.partition(" #")[0])
        if found is None:
            continue
        known = {
            name for parameter in commands[found[1]].params for name in (*parameter.opts, *parameter.secondary_opts)
        }
        named = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", found[2]))
        assert named <= known | {"--help"}, line


def test_every_option_named_alone_in_the_readme_exists() -> None:
    commands = typer.main.get_command(app).commands.values()
    known = {
        name
        for command in commands
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    spans = [span for span in _readme_code().splitlines() if span.startswith("-")]
    assert len(spans) > 10
    for span in spans:
        assert set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", span)) <= known | {"--help"}, span


def test_the_changelog_has_a_place_for_the_next_line() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[?Unreleased\]?", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "page", [path for path in FILES if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", (ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("script", [".ci/run"])
def test_scripts_can_be_executed(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111

"""Runs of the device file against a recording module: every way through its code that touches TensorRT."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, Final

from trt_api_model import Api
from trt_record import Record
from trt_recording import Module
from trt_sources import questions
from trt_world import World

ROOT: Final = Path(__file__).parents[2]
DEVICE_FILE: Final = ROOT / "hardnet_deploy" / "device" / "run_engine.py"
HOST_PATTERNS: Final = ("engines/trt_api.py", "engines/tensorrt*.py", "runners/trt*.py")


@dataclass(frozen=True)
class Scenario:
    """One run, by its name; ``refused`` names the families whose code says no to it."""

    name: str
    run: Callable[[Any, Any], Any]
    refused: tuple[str, ...] = ()
    world: Callable[[], World] = World


@dataclass
class Outcome:
    """What the scenarios of one release touched, which lines of the device file ran, and what went otherwise."""

    api: Api
    record: Record = field(default_factory=Record)
    family: str = ""
    lines: set[tuple[str, int]] = field(default_factory=set)
    surprises: list[str] = field(default_factory=list)


def load(source: str, file: str = str(DEVICE_FILE)) -> Any:
    """The device file as a module of its own, from its text."""
    module = ModuleType("run_engine_under_contract")
    module.__file__ = file
    sys.modules[module.__name__] = module
    try:
        exec(_compiled(source, file), vars(module))
    finally:
        del sys.modules[module.__name__]
    return module


@cache
def _compiled(source: str, file: str) -> CodeType:
    return compile(source, file, "exec")


@contextmanager
def traced(files: Collection[str], lines: set[tuple[str, int]]) -> Iterator[None]:
    """Collect the lines of some files that run meanwhile."""

    def local(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line":
            lines.add((frame.f_code.co_filename, frame.f_lineno))
        return local

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        return local if frame.f_code.co_filename in files else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(before)


@cache
def watched_sources() -> Mapping[str, str]:
    """The texts of the files that may touch TensorRT, read once, so that lines of two recordings mean the same."""
    package = ROOT / "hardnet_deploy"
    host = [path for pattern in HOST_PATTERNS for path in sorted(package.glob(pattern))]
    return {str(path): path.read_text(encoding="utf-8") for path in (DEVICE_FILE, *host)}


def record(api: Api, scenarios: tuple[Scenario, ...], source: str | None = None) -> Outcome:
    """Run every scenario against a recording of one release.

    Args:
        api: The release.
        scenarios: The runs.
        source: A text in place of the device file's own.
    """
    sources = dict(watched_sources())
    if source is not None:
        sources[str(DEVICE_FILE)] = source
    asked = {place: names for file, text in sources.items() for place, names in questions(text, file).items()}
    outcome = Outcome(api)
    for scenario in scenarios:
        run_engine, world = load(sources[str(DEVICE_FILE)]), scenario.world()
        trt = Module(api, outcome.record, world.answer, asked).module()
        with traced(sources, outcome.lines):
            outcome.family = run_engine.family(trt)
            try:
                scenario.run(run_engine, trt)
            except run_engine.EngineError as error:
                if outcome.family not in scenario.refused:
                    outcome.surprises.append(f"{scenario.name}: {error.what} (exit {error.code})")
            except (AttributeError, TypeError) as error:
                outcome.surprises.append(f"{scenario.name}: {type(error).__name__}: {error}")
            else:
                if outcome.family in scenario.refused:
                    outcome.surprises.append(f"{scenario.name}: was not refused")
    return outcome

"""What fetching the bindings says where something is missing, and the reader of pybind11's signatures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trt_wheels
from trt_signatures import Signature, accepts, parse_function, parse_signature, split_top
from trt_wheels import WHEELS, Unavailable, prepare


def _pip_that_says(stderr: str, asked: list[list[str]] | None = None) -> Any:
    def run(command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        if asked is not None:
            asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", stderr)

    return run


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test finds unanswered is forgotten after it."""
    monkeypatch.setattr(trt_wheels, "_unanswered", {})


class TestMissing:
    def test_without_a_registry_the_reason_says_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(subprocess, "run", _pip_that_says("ERROR: Could not find a version (from versions: none)"))
        with pytest.raises(Unavailable, match=r"tensorrt_bindings 8\.6\.1 was not fetched: no network, or no package"):
            prepare(WHEELS[0], tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_silent_registry_is_asked_once_for_a_distribution(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[list[str]] = []
        monkeypatch.setattr(subprocess, "run", _pip_that_says("(from versions: none)", asked))
        for wheel in WHEELS:
            with pytest.raises(Unavailable):
                prepare(wheel, tmp_path)
        assert len(asked) == len({wheel.distribution for wheel in WHEELS})

    def test_without_a_wheel_for_this_python_the_reason_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subprocess, "run", _pip_that_says("ERROR: No matching distribution found for x"))
        with pytest.raises(Unavailable, match=f"has no wheel for {trt_wheels.python_tag()} .*No matching distribution"):
            prepare(WHEELS[0], tmp_path)

    @pytest.mark.parametrize("tool", ["cc", "nm"])
    def test_without_a_compiler_or_nm_the_reason_names_it(
        self, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "which", lambda name: None if name == tool else f"/usr/bin/{name}")
        with pytest.raises(Unavailable, match=f"{tool!r} is not installed"):
            prepare(WHEELS[0], tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_cache_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        blocked = tmp_path / "a file"
        blocked.write_text("", encoding="utf-8")
        with pytest.raises(Unavailable, match="cannot be kept in"):
            prepare(WHEELS[0], blocked)


def _read(line: str) -> Signature:
    signature = parse_signature(line)
    assert signature is not None
    return signature


class TestSignatures:
    def test_defaults_with_brackets_do_not_split(self) -> None:
        signature = _read(
            "1. f(self: tensorrt.A, level: tensorrt.B.C = <C.D: 2>, more: List[Tuple[int, bool]] = [1, 2]) -> int"
        )
        assert [(each.name, each.optional) for each in signature.parameters] == [("level", True), ("more", True)]
        assert signature.returns == "int"

    def test_the_arrow_in_a_callable_closes_no_bracket(self) -> None:
        assert split_top("a: Callable[[int], None] = <f() -> g>, b") == ["a: Callable[[int], None] = <f() -> g>", "b"]

    def test_a_function_of_the_module_has_no_self(self) -> None:
        signature = parse_function(
            "get_builder_plugin_registry(arg0: nvinfer1::EngineCapability) -> tensorrt.IPluginRegistry"
        )
        assert signature is not None
        assert [each.name for each in signature.parameters] == ["arg0"]

    def test_a_property_takes_nothing(self) -> None:
        assert _read("(arg0: tensorrt.INetworkDefinition) -> int") == Signature((), "int")

    @pytest.mark.parametrize("line", ["Initialize self.  See help(type(self)) for accurate signature.", ""])
    def test_other_text_is_no_signature(self, line: str) -> None:
        assert parse_signature(line) is None

    @pytest.mark.parametrize(
        ("given", "keywords", "refusal"),
        [
            ((1, "a"), {}, None),
            ((1,), {"name": "a"}, None),
            ((1,), {}, "wants 'name'"),
            ((1, "a", 2), {}, "takes 2 arguments"),
            ((1, "a"), {"name": "b"}, "has no keyword 'name'"),
            ((), {"arg0": 1, "name": "a"}, "has no keyword 'arg0'"),
            (("1", "a"), {}, "wants int as 'arg0', got str"),
        ],
    )
    def test_calls(self, given: tuple[Any, ...], keywords: dict[str, Any], refusal: str | None) -> None:
        told = _read("f(self: tensorrt.A, arg0: int, name: str) -> None").refusal(given, keywords)
        assert (told is None) == (refusal is None)
        assert refusal is None or (told is not None and refusal in told)

    @pytest.mark.parametrize(
        ("text", "value", "taken"),
        [
            ("int", np.int64(3), True),
            ("typing.SupportsInt", 1.5, False),
            ("buffer", b"", True),
            ("typing_extensions.Buffer", "", False),
            ("tensorrt.Dims", (1, 2), True),
            ("tensorrt.Dims", 3, False),
            ("List[int]", [1, 2], True),
            ("collections.abc.Sequence[typing.SupportsInt]", [1, "2"], False),
            ("Optional[str]", None, True),
            ("int | None", None, True),
            ("bool", 1, False),
            ("tensorrt.BuilderFlag", 0, False),
            ("capsule", object(), True),
        ],
    )
    def test_types(self, text: str, value: Any, taken: bool) -> None:
        assert accepts(text, value) == taken

"""Our TensorRT code against each release's interface: all that it touches is there and takes the calls it makes."""

from __future__ import annotations

from pathlib import Path

import pytest
from trt_coverage import known_to_none, own_names, unproven
from trt_record import Touch
from trt_releases import GOLDEN_VERSIONS, RELEASES, Release, known_outcomes
from trt_scenarios import DEVICE_FILE, ROOT, Outcome, watched_sources

SOURCES = tuple(watched_sources())
PACKAGE = tuple(path.read_text(encoding="utf-8") for path in sorted((ROOT / "hardnet_deploy").rglob("*.py")))


@pytest.mark.parametrize("release", RELEASES, ids=str)
class TestOneRelease:
    def test_all_that_is_touched_is_there_and_takes_it(self, outcome: Outcome) -> None:
        assert list(outcome.record.violations) == []

    def test_every_run_ends_as_its_family_must(self, outcome: Outcome) -> None:
        assert outcome.surprises == []

    def test_the_family_is_told_by_what_the_module_has(self, release: Release, outcome: Outcome) -> None:
        assert outcome.family == release.family

    def test_what_is_asked_for_and_missing_is_never_used(self, outcome: Outcome) -> None:
        asked = {(touch.owner, touch.name) for touch in outcome.record.touches if touch.how == "ask"}
        used = {(touch.owner, touch.name) for touch in outcome.record.touches if touch.how != "ask"}
        assert asked & used == set()

    def test_builder_and_engine_are_both_reached(self, outcome: Outcome) -> None:
        called = {(touch.owner, touch.name) for touch in outcome.record.touches if touch.how == "call"}
        assert {("Builder", "build_serialized_network"), ("Runtime", "deserialize_cuda_engine")} <= called
        assert ("IExecutionContext", "execute_async_v2" if outcome.family == "8.2" else "execute_async_v3") in called


def test_each_family_is_held_against_a_release() -> None:
    assert {release.family for release in RELEASES} == {"8.2", "8.6", "10", "11"}
    assert {"8.2", "8.6", "10", "11"} == set(GOLDEN_VERSIONS.values())


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: Path(file).name)
def test_every_name_of_tensorrt_in_the_source_is_reached_by_a_run(file: str) -> None:
    source = watched_sources()[file]
    own = own_names([source] if file == str(DEVICE_FILE) else PACKAGE)
    assert unproven(source, file, list(known_outcomes()), own) == []


def test_every_question_has_a_release_that_says_yes() -> None:
    assert known_to_none(known_outcomes()) == []


def test_what_11_removed_is_touched_by_the_older_families_only() -> None:
    outcomes = {outcome.family: outcome for outcome in known_outcomes()}
    removed = {
        Touch("BuilderFlag", "INT8", "get"),
        Touch("ITensor", "set_dynamic_range", "call"),
        Touch("ILayer", "precision", "set"),
    }
    for family, outcome in outcomes.items():
        assert removed <= set(outcome.record.touches) or family == "11"
    assert not removed & set(outcomes["11"].record.touches)


def test_the_code_embedded_in_a_plan_is_never_allowed() -> None:
    """A plan may carry host code; ``IRuntime.engine_host_code_allowed`` stays off, in every family."""
    for outcome in known_outcomes():
        assert not any(touch.name == "engine_host_code_allowed" for touch in outcome.record.touches)
    assert not any(
        ".engine_host_code_allowed" in text.replace("``engine_host_code_allowed``", "")
        for text in watched_sources().values()
    )

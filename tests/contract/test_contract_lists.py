"""The lists of names that the project ships agree with the releases' own bindings, where those can be had."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trt_api_model import GOLDEN, api_from
from trt_signatures import parse_signature
from trt_wheels import WHEELS, Unavailable, Wheel, api_of

LISTED = [wheel for wheel in WHEELS if list(GOLDEN.glob(f"{wheel.version}.json"))]
# Not in pybind11's part of the bindings: the package's __init__ adds it in Python.
ADDED_IN_PYTHON = {("DataType", "itemsize")}


@pytest.fixture(scope="module", params=LISTED, ids=str)
def both(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Any]]:
    """The list of a release and its bindings' own."""
    wheel: Wheel = request.param
    try:
        real = api_of(wheel)
    except Unavailable as reason:
        pytest.skip(str(reason))
    return json.loads((GOLDEN / f"{wheel.version}.json").read_text(encoding="utf-8")), real


def test_three_families_have_a_list_and_bindings() -> None:
    assert {wheel.family for wheel in LISTED} == {"8.6", "10", "11"}


def test_the_lists_name_no_class_that_is_not_there(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    listed, real = both
    assert set(listed["classes"]) - set(real["classes"]) == set()
    assert set(listed["other_names"]) - set(real["classes"]) - set(real["aliases"]) == set()


def test_classes_have_the_attributes_that_the_lists_say(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    listed, real = both
    ours, theirs = api_from(listed, ""), api_from(real, "")
    for name, cls in ours.classes.items():
        for attribute in cls.attributes:
            assert theirs.attribute(name, attribute) is not None, f"{name}.{attribute} is listed and not there"
        for attribute in theirs.classes[name].attributes:
            known = ours.attribute(name, attribute) is not None or (name, attribute) in ADDED_IN_PYTHON
            assert known or "." in name or attribute.startswith("__"), f"{name}.{attribute} is there and not listed"


def test_enums_have_the_members_and_numbers_that_the_lists_say(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    listed, real = both
    for name, described in listed["classes"].items():
        assert described.get("members") == real["classes"][name].get("members"), name


def test_signatures_are_those_that_the_lists_say(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    listed, real = both
    compared = 0
    for name, described in listed["classes"].items():
        for attribute, entry in described["attributes"].items():
            theirs = real["classes"][name]["attributes"].get(attribute, {}).get("sig", [])
            if entry["kind"] == "method" and theirs and attribute != "Severity":
                assert [parse_signature(line) for line in entry["sig"]] == [parse_signature(line) for line in theirs]
                compared += 1
    assert compared > 100

"""The table of the contract that users see."""

from __future__ import annotations

from trt_table import contract, markdown


def test_every_family_was_held_against_a_release_and_touches_the_builder() -> None:
    document = contract()
    assert set(document["families"]) == {"8.2", "8.6", "10", "11"}
    for entry in document["families"].values():
        assert any(release["checked"] for release in entry["releases"])
        assert entry["classes"]["Builder"]["build_serialized_network"] == ["called"]


def test_a_name_that_a_family_lacks_is_only_asked_for() -> None:
    families = contract()["families"]
    assert families["11"]["classes"]["BuilderFlag"]["FP16"] == ["asked for, absent"]
    assert "int8_calibrator" not in families["11"]["classes"]["IBuilderConfig"]
    assert families["8.6"]["classes"]["IBuilderConfig"]["int8_calibrator"] == ["set"]


def test_the_markdown_has_a_row_for_each_name() -> None:
    document = contract()
    rows = [line for line in markdown(document).splitlines() if line.startswith("| `")]
    names = {(o, n) for entry in document["families"].values() for o, found in entry["classes"].items() for n in found}
    assert len(rows) == len(names)
    assert any(row.startswith("| `BuilderFlag.FP16` | read | read | read | asked for, absent |") for row in rows)

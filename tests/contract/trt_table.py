"""The contract as a table: what each family's code touches of TensorRT, and which releases it was held against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from trt_releases import RELEASES, outcome_of
from trt_scenarios import Outcome

SCHEMA: Final = 1
FAMILIES: Final = ("8.2", "8.6", "10", "11")
WORDS: Final = {"call": "called", "get": "read", "set": "set", "implement": "implemented", "ask": "asked for, absent"}


def contract() -> dict[str, Any]:
    """Families with their releases and, by class, what is touched and how; ``tensorrt`` is the module itself."""
    families: dict[str, Any] = {family: {"releases": [], "classes": {}} for family in FAMILIES}
    for release in RELEASES:
        outcome = outcome_of(release)
        entry = families[release.family]
        checked = not isinstance(outcome, str)
        source = outcome.api.source if isinstance(outcome, Outcome) else str(outcome)
        entry["releases"].append(
            {"version": release.version, "checked": checked, "source" if checked else "reason": source}
        )
        if isinstance(outcome, Outcome):
            _add(entry["classes"], outcome)
    return {"schema": SCHEMA, "kind": "tensorrt-contract", "families": families}


def _add(classes: dict[str, dict[str, list[str]]], outcome: Outcome) -> None:
    for touch in sorted(outcome.record.touches):
        if touch.name != "__version__":
            name = "(constructor)" if touch.name == "__init__" else touch.name
            words = classes.setdefault(touch.owner, {}).setdefault(name, [])
            if WORDS[touch.how] not in words:
                words.append(WORDS[touch.how])


def markdown(document: dict[str, Any]) -> str:
    """The same as two tables: the releases, and for each name what each family does with it."""
    families = document["families"]
    lines = ["| Family | Held against | Not here |", "|---|---|---|"]
    for family, entry in families.items():
        held = ", ".join(f"{each['version']} ({each['source']})" for each in entry["releases"] if each["checked"])
        skipped = ", ".join(f"{each['version']}: {each['reason']}" for each in entry["releases"] if not each["checked"])
        lines.append(f"| {family} | {held} | {skipped or '-'} |")
    lines += ["", "| Name | " + " | ".join(families) + " |", "|---" * (1 + len(families)) + "|"]
    for owner, name in _rows(families.values()):
        cells = [", ".join(entry["classes"].get(owner, {}).get(name, [])) or "-" for entry in families.values()]
        lines.append(f"| `{owner}.{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rows(entries: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted({(owner, name) for entry in entries for owner, names in entry["classes"].items() for name in names})

"""Whether what a comparison or an evaluation says of itself can be true at once; what cannot is refused, not shown."""

from __future__ import annotations

import math
from typing import Final, NoReturn

from hardnet_deploy.errors import InputFileError
from hardnet_deploy.report.documents import Document, Part

SAME: Final = 1e-6
"""Of a drop of mAP, absolute: both are computed from the same float64 figures, so only rounding is left."""
SIDES: Final = ("reference", "candidate")
_POST_PROCESSINGS: Final = ("own", "common", "upstream")


def check_document(document: Document) -> None:
    """Refuse a comparison or an evaluation that cannot be true; other kinds have nothing here to be held against.

    Raises:
        InputFileError: It is such a one, or a part of it is of another type than it must be.
    """
    if document.kind == "parity":
        _check_parity(document.content)
    elif document.kind == "evaluation":
        _check_evaluation(document.content)


def _check_parity(document: Part) -> None:
    """Hold the verdict of a comparison against its figures, from which ``hardnet-deploy parity`` derives it."""
    _count(document.part("data"), "images")
    metric = document.part("metric")
    for one in (metric, *(metric.part("separation").part(name) for name in _POST_PROCESSINGS)):
        for name in SIDES:
            _share(one, name)
    _check_drop(metric)
    passed, code = document.flag("passed"), document.number("exit_code")
    failures = document.parts("failures")
    if passed is None:
        return
    if passed and metric and _beyond(metric):
        _contradiction(document, "passed", passed, "false, as the drop of mAP is not within its limit")
    if "failures" in document.values and passed is bool(failures):
        _contradiction(document, "passed", passed, f"{str(not failures).lower()}, with {len(failures)} failures")
    if code is not None and passed is not (code == 0):
        _contradiction(document, "exit_code", code, "0 where it passed, and nowhere else")


def _beyond(metric: Part) -> bool:
    drop, limit = metric.part("drop").number("drop"), metric.number("max_drop")
    return metric.flag("within") is False or (drop is not None and limit is not None and drop > limit)


def _check_drop(metric: Part) -> None:
    drop = metric.part("drop")
    value, limit, within = drop.number("drop"), metric.number("max_drop"), metric.flag("within")
    if value is None:
        if within:
            _contradiction(metric, "within", within, "false, as no drop is known")
        return
    kind = drop.text("kind") or metric.text("drop_type")
    if metric.text("drop_type") not in {kind, None}:
        _contradiction(metric, "drop_type", metric.text("drop_type"), f"{kind}, as the drop is")
    reference, candidate = (metric.number(name) for name in SIDES)
    if reference is not None and candidate is not None:
        unit = 1.0 if kind == "absolute" else reference
        lost = (reference - candidate) / unit if unit else math.inf
        if not math.isclose(value, lost, rel_tol=0, abs_tol=SAME):
            _contradiction(drop, "drop", value, f"{lost:.6g}, which the two mAPs give")
    if limit is not None and within is not None and within is not (value <= limit):
        _contradiction(metric, "within", within, f"{str(value <= limit).lower()}: {value:g} of {limit:g} allowed")
    _check_interval(metric, drop, value, limit)


def _check_interval(metric: Part, drop: Part, value: float, limit: float | None) -> None:
    ends = drop.numbers("two_sided")
    if ends and (len(ends) != 2 or ends[0] > ends[1]):
        _contradiction(drop, "two_sided", list(ends), "a lower and an upper end")
    bounds, separated = (drop.number("at_most"), drop.number("at_least")), metric.flag("separated")
    if limit is None or separated is None or None in bounds:
        return
    at_most, at_least = bounds
    clear = at_most <= limit if value <= limit else at_least > limit  # type: ignore[operator]  # None is ruled out above
    if separated is not clear:
        _contradiction(metric, "separated", separated, f"{str(clear).lower()}, as the interval has it")


def _check_evaluation(document: Part) -> None:
    """Hold the figures of an evaluation against what they can be."""
    _share(document, "mAP")
    _count(document.part("data"), "images")
    coco = document.part("coco")
    for name in coco.values:
        _share(coco, name)
    for one in document.parts("per_class"):
        for name in ("ap", "ap50"):
            _share(one, name)
        _count(one, "objects")


def _share(part: Part, name: str) -> None:
    value = part.number(name)
    if value is not None and not 0 <= value <= 1:
        _contradiction(part, name, value, "an average precision, from 0 to 1")


def _count(part: Part, name: str) -> None:
    value = part.number(name)
    if value is not None and (value < 0 or value != int(value)):
        _contradiction(part, name, value, "a count")


def _contradiction(part: Part, name: str, got: object, wanted: str) -> NoReturn:
    raise InputFileError(
        f"{part.source}: '{name}' cannot be true",
        got=f"{got}"[:60],
        wanted=wanted,
        next_step="make the document again, or leave it out of the report",
    )

"""Whether what a document says of itself can be true at once; what cannot is refused, not shown."""

from __future__ import annotations

import math
from typing import Final

from hardnet_deploy.evaluate.bootstrap import LEAST_FOR_INTERVAL
from hardnet_deploy.evaluate.tolerances import BY_PRECISION, MatchTolerance, PrecisionTolerances
from hardnet_deploy.report.consistency_layers import check_device_profile, check_profile, check_roofline
from hardnet_deploy.report.contradicting import contradiction
from hardnet_deploy.report.documents import Document, Part

SAME: Final = 1e-6
"""Of a drop of mAP, absolute: both are computed from the same float64 figures, so only rounding is left."""
SIDES: Final = ("reference", "candidate")
_POST_PROCESSINGS: Final = ("own", "common", "upstream")


def check_document(document: Document) -> None:
    """Refuse a document that cannot be true; of benches and of devices' rows ``read_document`` has held the times.

    Raises:
        InputFileError: It is such a one, or a part of it is of another type than it must be.
    """
    if document.kind == "parity":
        _check_parity(document.content)
    elif document.kind == "evaluation":
        _check_evaluation(document.content)
    elif document.kind == "profile":
        check_profile(document.content)
    elif document.kind == "roofline":
        check_roofline(document.content)
    elif document.kind == "device-results":
        for row in document.content.parts("rows"):
            check_device_profile(row.part("profile"))


def _check_parity(document: Part) -> None:
    """Hold the verdict of a comparison against its figures, from which ``hardnet-deploy parity`` derives it."""
    _count(document.part("data"), "images")
    metric = document.part("metric")
    for one in (metric, *(metric.part("separation").part(name) for name in _POST_PROCESSINGS)):
        for name in SIDES:
            _share(one, name)
    _check_drop(metric, document.part("data").count("images"))
    for one in document.part("tensors").parts("outputs"):
        _check_output(one)
    for name in ("all", "shown"):
        _check_matched(document.part("detections").part(name))
    passed, code = document.flag("passed"), document.number("exit_code")
    failures = document.parts("failures")
    if passed is None:
        return
    if passed and metric and _beyond(metric):
        contradiction(document, "passed", passed, "false, as the drop of mAP is not within its limit")
    reason = _off(document) if passed else None
    if reason:
        contradiction(document, "passed", passed, f"false, as {reason}")
    if "failures" in document.values and passed is bool(failures):
        contradiction(document, "passed", passed, f"{str(not failures).lower()}, with {len(failures)} failures")
    if code is not None and passed is not (code == 0):
        contradiction(document, "exit_code", code, "0 where it passed, and nowhere else")


def _beyond(metric: Part) -> bool:
    drop, limit = metric.part("drop").number("drop"), metric.number("max_drop")
    return metric.flag("within") is False or (drop is not None and limit is not None and drop > limit)


def _off(document: Part) -> str | None:
    """What of tensors and detections a comparison that passed cannot have; None where there is nothing."""
    tensors = document.part("tensors")
    for one in tensors.parts("outputs"):
        if one.flag("ok") is False:
            return f"output '{one.text('name')}' is off"
    if tensors.texts("missing"):
        return tensors.texts("missing")[0]
    allowed: PrecisionTolerances | None = next(
        (one for precision, one in BY_PRECISION.items() if precision == document.part("candidate").text("precision")),
        None,
    )
    detections = document.part("detections")
    if allowed is None or not detections:
        return None
    for name, tolerance in (("all", allowed.detections), ("shown", allowed.shown)):
        share = detections.part(name)
        if tolerance is not None and _too_few(share, tolerance):
            return f"too few detections are matched ({name}), of which {100 * tolerance.share:g} % are wanted"
    return None


def _too_few(share: Part, tolerance: MatchTolerance) -> bool:
    """Whether less of a side is matched than ``tolerance`` wants, if it is the one that was asked for then."""
    if share.number("score_tolerance") not in {None, tolerance.score}:
        return False
    return any(share.count(f"matched_{side}") < tolerance.share * share.count(side) for side in SIDES)


def _check_output(output: Part) -> None:
    """An output is well where something was compared and nothing is beyond its tolerance."""
    ok, compared, wrong = output.flag("ok"), output.number("compared"), output.number("violations")
    if ok is None or compared is None or wrong is None:
        return
    if ok is not (compared > 0 and wrong == 0):
        contradiction(output, "ok", ok, f"{str(not ok).lower()}, with {wrong:g} of {compared:g} values beyond it")


def _check_matched(share: Part) -> None:
    for side in SIDES:
        _count(share, side)
        _count(share, f"matched_{side}")
        count, matched = share.number(side), share.number(f"matched_{side}")
        if count is None or matched is None:
            continue
        if matched > count:
            contradiction(share, f"matched_{side}", matched, f"{count:g} at most, which is all that there are")
        value = share.number(f"share_{side}")
        if value is not None and not math.isclose(value, matched / count if count else 0, rel_tol=0, abs_tol=SAME):
            contradiction(share, f"share_{side}", value, f"{matched:g} of {count:g}")


def _check_drop(metric: Part, images: int) -> None:
    drop = metric.part("drop")
    value, limit, within = drop.number("drop"), metric.number("max_drop"), metric.flag("within")
    if value is None:
        if within:
            contradiction(metric, "within", within, "false, as no drop is known")
        return
    kind = drop.text("kind") or metric.text("drop_type")
    if metric.text("drop_type") not in {kind, None}:
        contradiction(metric, "drop_type", metric.text("drop_type"), f"{kind}, as the drop is")
    reference, candidate = (metric.number(name) for name in SIDES)
    if reference is not None and candidate is not None:
        unit = 1.0 if kind == "absolute" else reference
        lost = (reference - candidate) / unit if unit else math.inf
        if not math.isclose(value, lost, rel_tol=0, abs_tol=SAME):
            contradiction(drop, "drop", value, f"{lost:.6g}, which the two mAPs give")
    if limit is not None and within is not None and within is not (value <= limit):
        contradiction(metric, "within", within, f"{str(value <= limit).lower()}: {value:g} of {limit:g} allowed")
    _check_interval(metric, drop, value, limit, images)


def _check_interval(metric: Part, drop: Part, value: float, limit: float | None, images: int) -> None:
    ends = drop.numbers("two_sided")
    if ends and (len(ends) != 2 or ends[0] > ends[1]):
        contradiction(drop, "two_sided", list(ends), "a lower and an upper end")
    if ends and images >= LEAST_FOR_INTERVAL and not ends[0] - SAME <= value <= ends[1] + SAME:
        contradiction(drop, "two_sided", list(ends), f"an interval that holds the drop, {value:g}")
    bounds, separated = (drop.number("at_most"), drop.number("at_least")), metric.flag("separated")
    if ends and any(one is not None and not ends[0] - SAME <= one <= ends[1] + SAME for one in bounds):
        contradiction(drop, "two_sided", list(ends), "an interval that holds the one-sided bounds")
    if limit is None or separated is None or None in bounds:
        return
    at_most, at_least = bounds
    clear = at_most <= limit if value <= limit else at_least > limit  # type: ignore[operator]  # None is ruled out above
    if separated is not clear:
        contradiction(metric, "separated", separated, f"{str(clear).lower()}, as the interval has it")


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
        contradiction(part, name, value, "an average precision, from 0 to 1")


def _count(part: Part, name: str) -> None:
    value = part.number(name)
    if value is not None and (value < 0 or value != int(value)):
        contradiction(part, name, value, "a count")

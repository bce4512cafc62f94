"""A device's comparison with PyTorch: do its counts and its verdict follow from its samples and tolerances?"""

from __future__ import annotations

from typing import Any, Final

from hardnet_deploy.device import run_engine
from hardnet_deploy.errors import ArtifactMismatchError
from hardnet_deploy.kit.json_record import Record

WRITER: Final = f"{run_engine.__name__.rpartition('.')[2]}.py"
AGAIN: Final = f"take report.json as the device wrote it, or run python3 {WRITER} all again"
COUNTS: Final = ("matched", "missing", "extra")
WORST: Final = ("worst_iou", "worst_score_difference")


def read_parity(report: Record) -> dict[str, Any]:
    """The ``parity`` of a row, after its counts and its verdict were held against its samples and tolerances.

    Args:
        report: The whole report.

    Raises:
        InputFileError: A part is missing or of another kind.
        ArtifactMismatchError: The counts or the verdict do not follow; "passed" with nothing compared is one.
    """
    parity = report.record("parity")
    detections, samples = parity.record("detections"), parity.records("samples")
    for name in COUNTS:
        total = sum(sample.count(name) for sample in samples if sample.has(name))
        if detections.count(name) != total:
            raise refused(report, f"{name} {detections.count(name)}", f"{total}, from its samples")
    for name, worst in (("worst_iou", min), ("worst_score_difference", max)):
        found = worst((sample.number(name) for sample in samples if sample.has(name)), default=None)
        stated = detections.number(name) if detections.has(name) else None
        if stated != found:
            raise refused(report, f"{name} {stated}", f"{found}, from its samples")
    failures = parity.texts("failures")
    broken = _broken_rules(parity)
    if parity.boolean("passed") != (not failures) or (broken and not failures):
        raise refused(
            report, f"parity {'passed' if parity.boolean('passed') else 'failed'}", broken or f"failures: {failures}"
        )
    if parity.boolean("passed") and not _judged(parity):
        raise refused(report, "parity passed", "no rule that judged anything")
    return {
        "passed": parity.boolean("passed"),
        "failures": failures,
        "samples": len(samples),
        **{name: detections.count(name) for name in COUNTS},
        **{name: detections.number(name) if detections.has(name) else None for name in WORST},
        "tolerances": dict(parity.record("tolerances").values),
    }


def _broken_rules(parity: Record) -> str:
    """What the counts say against the tolerances; empty where nothing does."""
    detections, tolerances = parity.record("detections"), parity.record("tolerances")
    matched, missing, extra = (detections.count(name) for name in COUNTS)
    if not matched + missing + extra and not any(sample.values.get("outputs") for sample in parity.records("samples")):
        return "nothing that was compared"
    counts: dict[str, tuple[tuple[int, int], ...]] = {
        "detections": ((matched + missing, matched), (matched + extra, matched))
    }
    if detections.has("shown") or tolerances.has("shown"):
        shown = detections.record("shown")
        counts["shown"] = tuple(
            (shown.count(side), shown.count(f"matched_{side}")) for side in ("reference", "candidate")
        )
        for (part, found), (total, _) in zip(counts["shown"], counts["detections"], strict=True):
            if not found <= part <= total or found > matched:
                return f"{found} of {part} matched among the shown, of {matched} and {total} in all"
    for key, sides in counts.items():
        if not tolerances.has(key):
            continue
        share = tolerances.record(key).number("share")
        if not 0 < share <= 1:
            tolerances.record(key).refuse("share", "above 0, 1 at most")
        for total, found in sides:
            if found < share * total:
                return f"{found} of {total} matched, which is less than the share of {share:g} for '{key}'"
    for sample in parity.records("samples"):
        outputs = sample.record("outputs") if sample.has("outputs") else None
        for name in outputs.values if outputs else ():
            if outputs and not _holds(outputs.record(name), tolerances):
                return f"output '{name}' of a sample is outside of its tolerance"
    return ""


def _holds(output: Record, tolerances: Record) -> bool:
    """False where an output's own figures, or its verdict, break a rule."""
    if output.values.get("passed") is False:
        return False
    if tolerances.has("outputs"):
        rule, scale = tolerances.record("outputs"), output.number("scale")
        relative = rule.number("rtol") + (rule.number("of_scale") if rule.has("of_scale") else 0.0)
        if not output.number("max_error") <= rule.number("atol") + relative * scale:  # of the largest value at best
            return False
    if tolerances.has("logits"):
        rule = tolerances.record("logits")
        return output.number("noise_share") <= rule.number("noise_share") and output.count("rank") <= rule.count("rank")
    return True


def _judged(parity: Record) -> bool:
    """True where a rule of the tolerances had something to judge."""
    detections, tolerances = parity.record("detections"), parity.record("tolerances")
    counts = {"detections": sum(detections.count(name) for name in COUNTS)}
    if tolerances.has("shown"):
        shown = detections.record("shown")
        counts["shown"] = shown.count("reference") + shown.count("candidate")
    if any(tolerances.has(key) and count for key, count in counts.items()):
        return True
    outputs = [sample.record("outputs").values for sample in parity.records("samples") if sample.has("outputs")]
    return (tolerances.has("outputs") or tolerances.has("logits")) and bool(outputs) and all(outputs)


def refused(report: Record, stated: str, found: str) -> ArtifactMismatchError:
    """The error of a report that says one thing and has another."""
    return ArtifactMismatchError(
        f"{report.source} does not hold together; nothing was imported",
        got=f"it says {stated}, but has {found}",
        next_step=AGAIN,
    )

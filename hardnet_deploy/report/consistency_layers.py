"""Whether the figures of a profile, a roofline or a device's layers can be true at once."""

from __future__ import annotations

import math
from typing import Final

from hardnet_deploy.report.contradicting import contradiction, refuse_below, refuse_outside
from hardnet_deploy.report.documents import Part

SAME: Final = 1e-6
"""Relative, of float64 figures that follow from others beside them: only the order of additions is left."""
WHOLE: Final = 100 * (1 + SAME)  # percent


def check_profile(document: Part) -> None:
    """Hold the times of a profile's layers against each other.

    Raises:
        InputFileError: A time that is none, or a share that the times do not give.
    """
    layers = document.parts("layers")
    for one in (*layers, *document.parts("groups")):
        refuse_below(one, "ms", 0)
        refuse_outside(one, "percent", 0, WHOLE)
    for name in ("run_ms", "plain_run_ms", "layers_ms", "accounted_percent", "runs"):
        refuse_below(document, name, 0)
    total = math.fsum(one.number("ms") or 0 for one in layers)
    for one in layers:
        _follows(one, "percent", 100 * (one.number("ms") or 0) / (total or 1))
    if layers:
        _follows(document, "layers_ms", total)
    sum_ms, run_ms = document.number("layers_ms"), document.number("run_ms")
    if sum_ms is not None and run_ms:
        _follows(document, "accounted_percent", 100 * sum_ms / run_ms)


def check_roofline(document: Part) -> None:
    """Hold bounds, times and shares of a roofline against each other.

    A share may be above 1: the bound is of a model that caches and Winograd's algorithm can beat.

    Raises:
        InputFileError: A time or a peak that is none, or a share that bound and time do not give.
    """
    for target in document.parts("targets"):
        peaks = target.part("peaks")
        for peak in (target.part("peak"), *(peaks.part(name) for name in peaks.values)):
            for name in ("flops", "bandwidth"):
                if peak.number(name) == 0:
                    contradiction(peak, name, 0, "a rate above 0")
                refuse_below(peak, name, 0)
        for name in ("bound_ms", "bound_ms_free_concatenation", "run_ms", "measured_ms", "unplaced_ms"):
            refuse_below(target, name, 0)
        refuse_outside(target, "memory_bound_percent", 0, WHOLE)
        for layer in target.parts("layers"):
            for name in ("flops", "bytes", "bound_ms", "measured_ms"):
                refuse_below(layer, name, 0)
            moved, bound = layer.number("bytes"), layer.number("bound_ms")
            if moved:
                _follows(layer, "intensity", (layer.number("flops") or 0) / moved)
            if bound is not None:
                _share(layer, bound, layer.number("measured_ms"))
        _target_share(target)


def check_device_profile(profile: Part) -> None:
    """Of one row of a device.

    Raises:
        InputFileError: A time or a share that is none.
    """
    for layer in profile.parts("layers"):
        for name in ("average_ms", "median_ms"):
            refuse_below(layer, name, 0)
        refuse_outside(layer, "percent", 0, WHOLE)


def _target_share(target: Part) -> None:
    layers, of = target.parts("layers"), target.text("share_of")
    run_ms, layers_ms = target.number("run_ms"), target.number("measured_ms")
    if of == "timed layers":
        untimed = set(target.texts("untimed"))
        layers, whole = tuple(one for one in layers if one.text("name") not in untimed), layers_ms
    else:
        whole = run_ms or layers_ms
    if of is None:  # a document of before 'share_of' was recorded, or nothing was timed
        refuse_below(target, "share", 0)
        if target.number("share") is not None and not whole:
            contradiction(target, "share", target.number("share"), "null, as no time of a run stands beside it")
        return
    _share(target, math.fsum(one.number("bound_ms") or 0 for one in layers), whole)


def _share(part: Part, bound_ms: float, measured_ms: float | None) -> None:
    if part.number("share") is None:
        return
    if not measured_ms:
        contradiction(part, "share", part.number("share"), "null, as it has no measured time")
    _follows(part, "share", bound_ms / measured_ms)


def _follows(part: Part, name: str, wanted: float) -> None:
    """Refuse a figure that is there and is not ``wanted``."""
    value = part.number(name)
    if value is not None and not math.isclose(value, wanted, rel_tol=SAME, abs_tol=SAME):
        contradiction(part, name, value, f"{wanted:.6g}, which the figures beside it give")

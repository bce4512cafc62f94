"""What the device's engine may differ by from PyTorch: the host's own tolerances, by name and with their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from hardnet_deploy.evaluate.tolerances import BY_PRECISION, SHOWN_SCORE
from hardnet_deploy.specs import F32
from hardnet_deploy.target_spec import Precision

LEAST_SHOWN: Final = 5


def tolerances_for(precision: Precision, detections: Sequence[F32] | None) -> tuple[dict[str, Any], str | None]:
    """The ``tolerances`` of ``kit.json``.

    Args:
        precision: Of the engine.
        detections: PyTorch's, of each sample [m, 6]; None for a backbone.

    Returns:
        ``outputs`` (None where they are reported only), ``detections`` (None likewise), ``shown``: of detections
        scoring at least ``shown_score``; each with its ``why``. And a sentence where ``shown_score`` had to be lowered
        for there to be something to judge.
    """
    rules = BY_PRECISION[precision]
    record: dict[str, Any] = {
        "from": f"tolerances for {precision} of hardnet-deploy parity",
        "outputs": asdict(rules.outputs) if rules.outputs else None,
        "detections": asdict(rules.detections) if rules.detections and detections is not None else None,
        "shown": asdict(rules.shown) if detections is not None else None,
        "shown_score": SHOWN_SCORE,
    }
    if detections is None:
        return record, None if rules.outputs else (
            f"the outputs of a backbone in {precision} are compared and reported, but nothing says how far they may be"
            " off: measure what it is used for"
        )
    scores = np.concatenate([rows[:, 5] for rows in detections]) if detections else np.empty(0, np.float32)
    if not len(scores) or int((scores >= SHOWN_SCORE).sum()) >= LEAST_SHOWN:
        return record, None
    lowered = float(np.sort(scores)[::-1][:LEAST_SHOWN][-1])
    record["shown_score"] = lowered
    return record, (
        f"PyTorch gives fewer than {LEAST_SHOWN} detections of {SHOWN_SCORE:g} or more in the samples, so parity"
        f" judges those of {lowered:.3g} or more"
    )

"""What the device's engine may differ by from PyTorch: the host's own tolerances, by name and with their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from hardnet_deploy.evaluate.tolerances import BY_PRECISION, SHOWN_SCORE
from hardnet_deploy.specs import F32
from hardnet_deploy.target_spec import Precision

LEAST_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class LogitsTolerance:
    """When a classifier's values for one image are still those of its reference.

    Args:
        noise_share: Most energy of the error, as a share of the reference's: 0.1 is a ratio of 10 dB.
        rank: Lowest place, from 1, that the reference's best class may have among the engine's.
        why: The reason.
    """

    noise_share: float
    rank: int
    why: str


INT8_LOGITS: Final = LogitsTolerance(
    noise_share=0.1,
    rank=5,
    why="8 bits leave an error of 0.0012 (hardnet85) to 0.012 (hardnet39ds, random weights) of the reference's energy "
    "and swap neighbouring classes; with a wrong scale it is 1, and the class far down. What 8 bits cost in accuracy "
    "only labelled images tell",
)


def tolerances_for(precision: Precision, detections: Sequence[F32] | None) -> tuple[dict[str, Any], str | None]:
    """The ``tolerances`` of ``kit.json``.

    Args:
        precision: Of the engine.
        detections: PyTorch's, of each sample [m, 6]; None for a backbone.

    Returns:
        ``outputs`` (None where they are reported only), ``logits`` (of a backbone in INT8, else None), ``detections``
        (None likewise), ``shown``: of detections scoring at least ``shown_score``; each with its ``why``. One of them
        always judges. And a sentence where ``shown_score`` had to be lowered for there to be something to judge.
    """
    rules = BY_PRECISION[precision]
    record: dict[str, Any] = {
        "from": f"tolerances for {precision} of hardnet-deploy parity",
        "outputs": asdict(rules.outputs) if rules.outputs else None,
        "logits": asdict(INT8_LOGITS) if detections is None and not rules.outputs else None,
        "detections": asdict(rules.detections) if rules.detections and detections is not None else None,
        "shown": asdict(rules.shown) if detections is not None else None,
        "shown_score": SHOWN_SCORE,
    }
    if detections is None:
        return record, None
    scores = np.concatenate([rows[:, 5] for rows in detections]) if detections else np.empty(0, np.float32)
    if not len(scores) or int((scores >= SHOWN_SCORE).sum()) >= LEAST_SHOWN:
        return record, None
    lowered = float(np.sort(scores)[::-1][:LEAST_SHOWN][-1])
    record["shown_score"] = lowered
    return record, (
        f"PyTorch gives fewer than {LEAST_SHOWN} detections of {SHOWN_SCORE:g} or more in the samples, so parity"
        f" judges those of {lowered:.3g} or more"
    )

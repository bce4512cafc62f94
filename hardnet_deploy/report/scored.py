"""How a mAP was measured: what two of them must share to stand on one axis, or in one table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hardnet_deploy.report import texts
from hardnet_deploy.report.documents import Document, Part

METRICS: Final = {
    "coco": "COCO AP @[.50:.95]",
    "voc07": "VOC07 AP @.50, 11 points",
    "voc12": "VOC12 AP @.50, area under the curve",
}
DEPLOYED: Final = "deployed"
UPSTREAM: Final = "upstream"
_JUDGED: Final = {"own": DEPLOYED, "upstream": UPSTREAM}  # a comparison's rows, and what an evaluation calls the same
_IN_WORDS: Final = {DEPLOYED: "the engine's own NMS", UPSTREAM: "the authors' post-processing"}
_SIDES: Final = ("reference", "candidate")


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """How a mAP was measured.

    Args:
        data: Digest of the images and of what is in them; where none is recorded, their name.
        metric: As documents have it.
        postprocess: What made detections of the network's outputs.
        thresholds: Of that, in words; empty for the authors' own, whose thresholds follow from the metric.
        name: Of the images.
    """

    data: str
    metric: str
    postprocess: str
    thresholds: str
    name: str = field(compare=False)

    @property
    def in_words(self) -> str:
        """All of it."""
        known = (METRICS.get(self.metric, self.metric), _IN_WORDS.get(self.postprocess, self.postprocess))
        made = ", ".join(text for text in (*known, self.thresholds) if text)
        return f"{made}; images: {self.name} (digest {texts.short(self.data)})"


def scoring_of_evaluation(evaluation: Document) -> Scoring:
    """Of an evaluation's mAP."""
    content = evaluation.content
    kind = content.part("postprocess").text("kind") or "post-processing not recorded"
    return _scoring(content.part("data"), content.text("metric"), kind, content.part("engine"))


def scoring_of_parity(parity: Document, role: str) -> Scoring:
    """Of the mAP of one side of a comparison.

    Args:
        parity: It.
        role: ``reference`` or ``candidate``.
    """
    content = parity.content
    metric = content.part("metric")
    return _scoring(content.part("data"), metric.text("metric"), _judged(metric), content.part(role))


def _judged(metric: Part) -> str:
    """By which post-processing the gate was judged: that under which both sides have just these mAPs."""
    wanted = [metric.number(side) for side in _SIDES]
    for row, kind in _JUDGED.items():
        if [metric.part("separation").part(row).number(side) for side in _SIDES] == wanted:
            return kind
    return "post-processing as compared"


def _scoring(data: Part, metric: str | None, kind: str, side: Part) -> Scoring:
    name = data.text("name") or "not named"
    return Scoring(
        data=data.text("digest") or name,
        metric=metric or "metric not recorded",
        postprocess=kind,
        thresholds="" if kind == UPSTREAM else _thresholds(side.part("thresholds")),
        name=name,
    )


def _thresholds(part: Part) -> str:
    score, iou, most = (part.number(name) for name in ("score", "iou", "max_detections"))
    if score is None or iou is None or most is None:
        return "thresholds not recorded"
    return f"scores from {score:g}, IoU {iou:g}, at most {most:g} boxes an image"

"""The result of a parity comparison for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardnet_deploy.evaluate.detections import DetectionsParity, MatchedShare, Quantiles
    from hardnet_deploy.evaluate.layers import LayersParity
    from hardnet_deploy.workflows.parity_metric import MetricParity, PostProcessed
    from hardnet_deploy.workflows.parity_result import ParityResult
    from hardnet_deploy.workflows.parity_side import Side
    from hardnet_deploy.workflows.parity_tensors import TensorsParity

SHOWN_LAYERS = 5


def summary(result: ParityResult) -> Iterator[str]:
    """Every part, then the verdict."""
    dataset = result.dataset
    yield f"reference   {_side(result.reference)}"
    yield f"candidate   {_side(result.candidate)}"
    yield f"data        {dataset.name}: {len(dataset)} images (digest {dataset.digest[:12]})"
    yield ""
    yield from _tensors(result.tensors)
    if result.detections is not None:
        yield ""
        yield from _detections(result.detections, f"{result.matched}", result)
    if result.metric is not None:
        yield ""
        yield from _metric(result.metric)
        yield from (f"  {line}" for line in too_few(len(result.dataset)))
    yield ""
    if result.passed:
        yield "passed"
        return
    yield f"FAILED, exit code {result.exit_code}"
    for failure in result.failures:
        yield f"  {failure.part}: {failure.what}"


def too_few(images: int) -> Iterator[str]:
    """What to think of an interval that rests on so few images; nothing where they are enough."""
    from hardnet_deploy.evaluate.bootstrap import LEAST_FOR_INTERVAL

    if images < LEAST_FOR_INTERVAL:
        yield (
            f"of {images} image{'' if images == 1 else 's'}: too few for an interval (from {LEAST_FOR_INTERVAL}); "
            "it is shown too narrow"
        )


def _side(side: Side) -> str:
    engine = side.engine
    known = engine.as_dict()
    identity = known["sha256"] or known["state_sha256"]
    kept = engine.thresholds
    nms = f", score {kept.score:g}, IoU {kept.iou:g}, {kept.max_detections} boxes" if engine.head else ""
    digest = identity[:12] if identity else "unknown"
    return f"{engine.label} (SHA-256 {digest}), {side.precision}, {engine.runner.name}{nms}"


def _tensors(tensors: TensorsParity) -> Iterator[str]:
    yield f"tensors on {tensors.images} images, tolerances of {tensors.precision}"
    yield f"  {'output':<8} {'max abs':>9} {'max rel':>9} {'cosine':>10} {'SQNR':>10}  verdict: allowed; from what"
    for one in tensors.outputs:
        cosine = "none" if one.cosine is None else f"{one.cosine:.7f}"
        allowed = f"{one.tolerance}" if one.tolerance else "reported only"
        mark = "ok" if one.ok else "FAILED"
        yield (
            f"  {one.name:<8} {one.max_abs:>9.2e} {one.max_rel:>9.2e} {cosine:>10} {one.sqnr_text:>10}  "
            f"{mark}: {allowed}; {one.case}"
        )
    yield from (f"  FAILED: {text}" for text in tensors.missing)
    yield from _layers(tensors.layers)


def _layers(layers: LayersParity) -> Iterator[str]:
    if not layers.layers:
        yield f"  inside   not compared: {layers.why}"
        return
    yield f"  inside   {layers.sentence()}"
    yield f"           {layers.only_reference} only in the reference, {layers.only_candidate} only in the candidate"
    yield f"  {'worst inside':<36} {'max rel':>9} {'SQNR':>10}  operation"
    for layer in layers.worst[:SHOWN_LAYERS]:
        yield f"  {layer.title:<36} {layer.error:>9.2e} {layer.parity.sqnr_text:>10}  {layer.operation}"


def _detections(parity: DetectionsParity, matched: str, result: ParityResult) -> Iterator[str]:
    yield f"detections in {parity.images} images, matched by class and IoU of at least 0.5 ({matched})"
    yield from _share("all", parity.everything)
    yield from _share(f"score from {parity.shown.least_score:g}", parity.shown)
    for image, picture in zip(parity.worst, result.pictures, strict=False):
        yield f"  picture  {picture.path}: {len(image.lost)} lost, {len(image.invented)} invented"


def _share(name: str, share: MatchedShare) -> Iterator[str]:
    sides = (
        f"{matched} of {count} of the {side}" + (f" ({100 * matched / count:.2f} %)" if count else "")
        for side, matched, count in (
            ("reference", share.matched_reference, share.reference),
            ("candidate", share.matched_candidate, share.candidate),
        )
    )
    yield f"  {name:<15} {', '.join(sides)}"
    yield f"  {'':<15} |score error| {_quantiles(share.score_error)}; 1 - IoU {_quantiles(share.box_error)}"


def _quantiles(found: Quantiles | None) -> str:
    if found is None:
        return "none"
    return f"50 % {found.p50:.1e}, 90 % {found.p90:.1e}, 99 % {found.p99:.1e}, max {found.max:.1e}"


def _metric(metric: MetricParity) -> Iterator[str]:
    yield f"{metric.metric} mAP"
    yield f"  {'post-processing':<24} {'reference':>9} {'candidate':>9} {'change':>9}"
    separation = metric.separation
    yield from (_row(row) for row in (separation.own, separation.common, separation.upstream))
    yield f"  effect of the network {_change(separation.network)}, of the NMS {_change(separation.nms)}"
    if metric.drop is not None:
        drop = metric.drop
        yield (
            f"  {drop.resamples} resamples of the images, seed {drop.seed}{_undefined(drop.undefined)}: one-sided, at "
            f"{drop.confidence:.0%}, the drop is at most {drop.at_most:.2e}, and at least {drop.at_least:.2e}"
        )
    yield f"  {metric.verdict()}"


def _undefined(count: int) -> str:
    return f" ({count} more held nothing that the reference finds)" if count else ""


def _row(row: PostProcessed) -> str:
    values = " ".join(f"{'none' if value is None else f'{value:.4f}':>9}" for value in (row.reference, row.candidate))
    return f"  {row.postprocess:<24} {values} {_change(row.change):>9}" + (f"  {row.why}" if row.why else "")


def _change(value: float | None) -> str:
    return "not available" if value is None else f"{value:+.4f}"

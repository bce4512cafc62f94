"""Parity in detail: tensors, where the difference begins, matched boxes, what of it the NMS has done; worst images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Absent, Block, Cell, Column, Fold, Gallery, Section, Status, Table, Text
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.pictures import Embedder
from hardnet_deploy.report.runs import Runs
from hardnet_deploy.report.sections_accuracy import PARITY, verdict_cell

SEPARATION = (("own", "each with its own NMS"), ("common", "one NMS for both"), ("upstream", "the authors' for both"))


def parity(runs: Runs) -> Section:
    """Every comparison in one row, then each in full."""
    section = Section(ident="parity", title="Parity with the reference")
    documents = runs.collection.of("parity")
    if not documents:
        section.blocks.append(Absent(what="a comparison of an engine with its reference", command=PARITY))
        return section
    section.blocks.append(_overview(documents, runs))
    for document in documents:
        opened = len(documents) == 1 or document.content.flag("passed") is not True
        section.blocks.append(
            Fold(title=f"In full: {title_of(document, runs)}", blocks=list(_comparison(document, runs)), opened=opened)
        )
    return section


def _overview(documents: Sequence[Document], runs: Runs) -> Table:
    rows = []
    for document in documents:
        part = document.content
        tensors = part.part("tensors")
        judged = [one for one in tensors.parts("outputs") if one.part("tolerance")]
        wrong = [one.text("name") or "an output" for one in tensors.parts("outputs") if one.flag("ok") is not True]
        first, shares = tensors.part("layers").part("first"), part.part("detections").part("shown")
        nms = part.part("metric").part("separation").number("effect_of_nms")
        rows.append(
            [
                Cell(text=title_of(document, runs)),
                verdict_cell(document, runs),
                Cell(text=f"{', '.join(wrong)} off" if wrong else f"{len(judged)} judged, none off"),
                Cell(
                    text=first.text("title") or first.text("name") or "none" if tensors.part("layers") else texts.NONE
                ),
                Cell(text=texts.percent(shares.number("share_reference")), bar=shares.number("share_reference")),
                Cell(text=texts.NONE if nms is None else texts.change(nms)),
            ]
        )
    titles = (
        "comparison",
        "verdict",
        "output tensors",
        "first layer that diverges",
        "shown boxes matched",
        "mAP by the NMS",
    )
    columns = [Column(title=one, figures=one in titles[4:]) for one in titles]
    note = "Shown boxes: from the score that a product would show. mAP by the NMS: what of its change the NMS has done."
    return Table(caption="All comparisons", columns=columns, rows=rows, notes=[note])


def title_of(document: Document, runs: Runs) -> str:
    """``CANDIDATE against REFERENCE``."""
    names = []
    for role in ("candidate", "reference"):
        part = document.content.part(role)
        engine = runs.find(part.text("sha256"), part.text("state_sha256"), f"label:{part.text('engine')}")
        names.append(engine.name if engine else part.text("engine") or role)
    return " against ".join(names)


def _comparison(document: Document, runs: Runs) -> Iterator[Block]:
    part, title = document.content, title_of(document, runs)
    failures = part.parts("failures")
    yield _outputs(part, title)
    if failures:
        yield Text(
            text=f"{title} failed: {'; '.join(one.text('what') or 'no reason recorded' for one in failures)}",
            caution=True,
        )
    for note in part.texts("notes"):
        yield Text(text=f"{title}: {note}")
    layers = part.part("tensors").part("layers")
    if layers.parts("worst"):
        yield _inside(layers, title)
    elif layers.text("not_available"):
        yield Text(text=f"Inner tensors of {title} were not compared: {layers.text('not_available')}")
    detections = part.part("detections")
    if detections:
        yield _matched(detections, title)
    separation = part.part("metric").part("separation")
    if separation:
        yield _separation(separation, title)


def _outputs(part: Part, title: str) -> Table:
    tensors = part.part("tensors")
    rows = []
    for one in tensors.parts("outputs"):
        tolerance = one.part("tolerance")
        gated = bool(tolerance)
        allowed = (
            f"atol {tolerance.number('atol') or 0:g}, rtol {tolerance.number('rtol') or 0:g}"
            if gated
            else "reported only"
        )
        ok = one.flag("ok")
        rows.append(
            [
                Cell(text=one.text("name") or texts.NONE, code=True),
                Cell(text=one.text("case") or texts.NONE),
                Cell(text=texts.scientific(one.number("max_abs"))),
                Cell(text=texts.scientific(one.number("max_rel"))),
                Cell(text=texts.NONE if one.number("cosine") is None else f"{one.number('cosine'):.6f}"),
                Cell(text=one.text("sqnr") or texts.NONE),
                Cell(text=allowed),
                Cell(text="failed" if not ok else "ok" if gated else "not judged", status=_status(ok=ok, gated=gated)),
            ]
        )
    titles = ("output", "computed", "max error", "relative", "cosine", "SQNR", "allowed", "verdict")
    columns = [Column(title=one, figures=one in {"max error", "relative", "cosine", "SQNR"}) for one in titles]
    notes = [*tensors.texts("missing")]
    if tensors.text("not_available"):
        notes.append(str(tensors.text("not_available")))
    return Table(
        caption=f"Output tensors, {title}, {texts.counted(tensors.number('images'), 'image')}",
        columns=columns,
        rows=rows,
        notes=notes,
    )


def _status(*, ok: bool | None, gated: bool) -> Status:
    if not ok:
        return "fail"
    return "pass" if gated else "none"


def _inside(layers: Part, title: str) -> Table:
    rows = [
        [
            Cell(text=one.text("title") or one.text("name") or texts.NONE, code=True),
            Cell(text=one.text("candidate_operation") or texts.NONE),
            Cell(text=texts.scientific(one.number("max_rel"))),
            Cell(text=texts.NONE if one.number("allowed") is None else f"{one.number('allowed'):g}"),
            Cell(text=one.text("sqnr") or texts.NONE),
            Cell(text="diverges", status="fail") if one.flag("diverges") else Cell(text="within", status="pass"),
        ]
        for one in layers.parts("worst")
    ]
    first = layers.part("first")
    compared, name = layers.count("compared"), first.text("title") or first.text("name")
    note = f"None of {compared} inner tensors diverges."
    if first:
        note = f"The first of {compared} inner tensors to diverge is {name}."
    titles = ("tensor", "operation", "relative error", "allowed", "SQNR", "verdict")
    columns = [Column(title=one, figures=one in {"relative error", "allowed", "SQNR"}) for one in titles]
    return Table(caption=f"Inner tensors that differ most, {title}", columns=columns, rows=rows, notes=[note])


def _matched(detections: Part, title: str) -> Table:
    rows = []
    for name in ("all", "shown"):
        share = detections.part(name)
        if not share:
            continue
        what = "all detections" if name == "all" else f"scores from {share.number('least_score') or 0:g}"
        scores, boxes = share.part("score_error"), share.part("box_error")
        rows.append(
            [
                Cell(text=what),
                Cell(text=f"{share.count('matched_reference')} of {share.count('reference')}"),
                Cell(text=texts.percent(share.number("share_reference")), bar=share.number("share_reference")),
                Cell(text=f"{share.count('matched_candidate')} of {share.count('candidate')}"),
                Cell(text=texts.percent(share.number("share_candidate")), bar=share.number("share_candidate")),
                *(
                    Cell(text=texts.scientific(one.number(key)))
                    for one in (scores, boxes)
                    for key in ("p50", "p99", "max")
                ),
            ]
        )
    titles = (
        "detections", "of the reference's", "matched", "of the engine's", "matched",
        "score error, median", "99 %", "largest", "1 − IoU, median", "99 %", "largest",
    )  # fmt: skip
    columns = [Column(title=one, figures=one != "detections") for one in titles]
    made, least = detections.text("postprocess") or "NMS not recorded", detections.number("iou_at_least")
    note = f"Matched by class and IoU of at least {least or 0.5:g}; {made}."
    return Table(
        caption=f"Matched detections, {title}, {texts.counted(detections.number('images'), 'image')}",
        columns=columns,
        rows=rows,
        notes=[note],
    )


def _separation(separation: Part, title: str) -> Table:
    rows = []
    for name, words in SEPARATION:
        row = separation.part(name)
        change = row.number("change")
        rows.append(
            [
                Cell(text=words),
                Cell(text=texts.mean_ap(row.number("reference"))),
                Cell(text=texts.mean_ap(row.number("candidate"))),
                Cell(text=row.text("why") or "not available" if change is None else texts.change(change)),
            ]
        )
    network, nms = (separation.number(f"effect_of_{name}") for name in ("network", "nms"))
    told = [
        f"{name} {'not available' if value is None else texts.change(value)}"
        for name, value in (("the network's doing", network), ("the NMS's", nms))
    ]
    titles = ("post-processing", "reference mAP", "engine mAP", "change")
    columns = [Column(title=one, figures=one != "post-processing") for one in titles]
    note = f"Of the whole change in mAP, {' and '.join(told)}."
    return Table(caption=f"What the NMS changes, {title}", columns=columns, rows=rows, notes=[note])


def worst_images(runs: Runs, embedder: Embedder) -> Section:
    """The pictures that the comparisons have drawn."""
    section = Section(ident="worst-images", title="Worst images")
    for document in runs.collection.of("parity"):
        pictures, lost = embedder.of_parity(document)
        if pictures:
            section.blocks.append(
                Text(
                    text=f"{title_of(document, runs)}: reference on the left, engine on the right, worst first. "
                    "Thick boxes have no partner on the other side."
                )
            )
            section.blocks.append(Gallery(pictures=pictures))
        if lost:
            section.blocks.append(Text(text=f"{title_of(document, runs)}: {lost}"))
    if not section.blocks:
        section.blocks.append(Absent(what="pictures of the images on which the two differ most", command=PARITY))
    return section

"""Accuracy: the plot against latency, mAP with intervals, classes, parity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardnet_deploy.evaluate.bootstrap import LEAST_FOR_INTERVAL
from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Absent, Cell, Column, Section, Table, Text
from hardnet_deploy.report.documents import Document, Part
from hardnet_deploy.report.lineage import why_void
from hardnet_deploy.report.next_steps import free_name
from hardnet_deploy.report.plots import Point, Shape, scatter
from hardnet_deploy.report.runs import Engine, Runs
from hardnet_deploy.report.scored import METRICS, Scoring, scoring_of_evaluation, scoring_of_parity
from hardnet_deploy.report.timings import Group, Timing
from hardnet_deploy.report.verdicts import Cost, Verdict, cost_of, judge

SHOWN_PLACES, MOST_PLACES = 2, 8  # of a bound in percent: what differs by less is rounding
COCO_NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
EVALUATE = "hardnet-deploy evaluate ENGINE --data DATA -o evaluation.json"
PARITY = "hardnet-deploy parity REFERENCE CANDIDATE --data DATA --pictures worst -o parity.json"


def against_latency(runs: Runs) -> Section:
    """One drawing for each run that timed engines whose mAP was measured alike, on the same images."""
    section = Section(ident="accuracy-latency", title="Accuracy against latency")
    groups: dict[tuple[Scoring, Group], list[tuple[Timing, Point]]] = {}
    for engine, scoring, point in _scored(runs):
        for timing in engine.timings:
            alone = len({one.median_ms for one in engine.timings if one.group == timing.group}) == 1
            label = engine.name if alone else f"{engine.name}, {timing.source.text('engine') or 'timed again'}"
            label += ", its plugin by NumPy" if timing.plugin_by_numpy else ""
            at = Point(x=timing.median_ms, y=point.y, y_range=point.y_range, label=label, shape=point.shape)
            groups.setdefault((scoring, timing.group), []).append((timing, at))
    for number, ((scoring, _), found) in enumerate(groups.items(), start=1):
        timing = found[0][0]
        where = f"{timing.where}; {timing.of_what}"
        told = "; ".join(f"{at.label}: {texts.milliseconds(at.x)} ms, mAP {at.y:.4f}" for _, at in found)
        section.blocks.append(
            scatter(
                [at for _, at in found],
                ident=f"accuracy-latency-{number}",
                title=f"mAP against time. {where}",
                description=told,
                x_label="median time of one run, ms",
                y_label="mAP",
                key=[("circle", "passed parity"), ("cross", "failed parity"), ("square", "reference, or not compared")],
            )
        )
        section.blocks.append(
            Text(
                text="Up and to the left is better; the vertical axis does not begin at 0. Vertical lines: 95 % "
                "interval of the difference from the reference, whose own mAP is taken as it is. mAP: "
                f"{scoring.in_words}."
            )
        )
    if not section.blocks:
        section.blocks.append(Absent(what="an engine of which both mAP and time are known", command=_bench(runs)))
    return section


def _bench(runs: Runs) -> str:
    save = texts.shell([str(free_name(runs.collection, "bench.json"))])
    return f"hardnet-deploy bench REFERENCE ENGINE... --engines eager --data DATA --save {save}"


def _scored(runs: Runs) -> Iterator[tuple[Engine, Scoring, Point]]:
    """Every engine with each mAP that a comparison or an evaluation gave it, and how that was measured."""
    for engine in runs.engines:
        known: dict[Scoring, Point] = {}
        shape = _shape(engine, runs)
        for document in engine.evaluations:
            value = document.content.number("mAP")
            if value is not None:
                known[scoring_of_evaluation(document)] = Point(x=0, y=value, shape=shape)
        for document in engine.reference_of:
            value = document.content.part("metric").number("reference")
            if value is not None:
                known[scoring_of_parity(document, "reference")] = Point(x=0, y=value, shape="square")
        for document in engine.parity:
            cost = cost_of(document)
            if cost and cost.candidate is not None and why_void(document, runs) is None:
                known[scoring_of_parity(document, "candidate")] = Point(
                    x=0, y=cost.candidate, y_range=cost.mean_ap_interval, shape=shape
                )
        for scoring, point in known.items():
            yield engine, scoring, point


def _shape(engine: Engine, runs: Runs) -> Shape:
    state = judge(engine, runs).state
    return "circle" if state == "passed" else "cross" if state == "failed" else "square"


def accuracy(runs: Runs) -> Section:
    """Mean average precision of every engine on every data set, with intervals; COCO's twelve numbers; every class."""
    section = Section(ident="accuracy", title="mAP")
    compared = [document for engine in runs.engines for document in engine.parity if document.content.part("metric")]
    if compared:
        section.blocks.append(_drops(compared, runs))
    else:
        section.blocks.append(Absent(what="mAP of an engine beside its reference's", command=PARITY))
    evaluations = runs.collection.of("evaluation")
    if evaluations:
        section.blocks.append(_evaluations(evaluations, runs))
        with_coco = [one for one in evaluations if one.content.part("coco")]
        section.blocks += [_twelve(alike, scoring, runs) for scoring, alike in _by_scoring(with_coco)]
        for document in evaluations:
            section.blocks += [
                Text(text=f"{_name(document, runs)}: {warning}", caution=True)
                for warning in document.content.texts("warnings")
            ]
    else:
        section.blocks.append(Absent(what="COCO's twelve numbers, or VOC's mAP", command=EVALUATE))
    with_classes = [one for one in evaluations if one.content.parts("per_class")]
    section.blocks += [_classes(alike, scoring, runs) for scoring, alike in _by_scoring(with_classes)]
    if not with_classes:
        section.blocks.append(Absent(what="AP of every class", command=EVALUATE))
    return section


def _by_scoring(evaluations: Sequence[Document]) -> list[tuple[Scoring, list[Document]]]:
    """Those whose figures may stand in one table, together."""
    found: dict[Scoring, list[Document]] = {}
    for document in evaluations:
        found.setdefault(scoring_of_evaluation(document), []).append(document)
    return list(found.items())


def _name(document: Document, runs: Runs) -> str:
    part = document.content.part("engine")
    engine = runs.find(part.text("sha256"), part.text("state_sha256"), f"label:{part.text('engine')}")
    return engine.name if engine else part.text("engine") or "engine"


def _names(documents: Sequence[Document], runs: Runs) -> list[str]:
    """Of the engines; where two documents are of one, with the document."""
    names = [_name(document, runs) for document in documents]
    return [
        f"{name}, {document.path}" if names.count(name) > 1 else name
        for name, document in zip(names, documents, strict=True)
    ]


def verdict_cell(parity: Document, runs: Runs) -> Cell:
    """What a comparison found, and whether that counts."""
    if parity.content.flag("passed") is not True:
        return Cell(text="failed", status="fail")
    void = why_void(parity, runs)
    return Cell(text=f"does not count: {void}", status="warn") if void else Cell(text="passed", status="pass")


def _images(data: Part) -> str:
    return f"{data.text('name') or 'not named'} ({texts.short(data.text('digest'))})"


def _drops(documents: Sequence[Document], runs: Runs) -> Table:
    rows = []
    for document in documents:
        part, metric = document.content, document.content.part("metric")
        candidate = part.part("candidate")
        engine = runs.find(candidate.text("sha256"), candidate.text("state_sha256"))
        verdict = judge(engine, runs) if engine else None
        drop, cost = metric.part("drop"), cost_of(document)
        low, high = (cost.low, cost.high) if cost else (None, None)
        kind = metric.text("drop_type")
        value = drop.number("drop")
        interval = (
            "no interval"
            if low is None or high is None
            else f"{texts.drop_in_words(low, kind)} to {texts.drop_in_words(high, kind)}"
        )
        limit = metric.number("max_drop")
        rows.append(
            [
                Cell(text=engine.name if engine else texts.NONE),
                Cell(text=texts.mean_ap(metric.number("reference"))),
                Cell(text=texts.mean_ap(metric.number("candidate"))),
                Cell(text=texts.NONE if value is None else f"{texts.drop_in_words(value, kind)} {kind or ''}".strip()),
                Cell(text=interval),
                Cell(text=texts.NONE if limit is None else texts.drop_in_words(limit, kind)),
                Cell(text=_separated(metric, cost)),
                verdict_cell(document, runs),
                Cell(text=_images(part.part("data"))),
                Cell(text=", ".join(_marks(verdict)) or "none"),
            ]
        )
    columns = [
        Column(title="engine"),
        Column(title="reference mAP", figures=True),
        Column(title="engine mAP", figures=True),
        Column(title="drop", figures=True),
        Column(title="95 % interval, two-sided", figures=True),
        Column(title="allowed", figures=True),
        Column(title="one-sided 95 % bound separates from it"),
        Column(title="parity"),
        Column(title="images (digest)"),
        Column(title="marks"),
    ]
    note = "A drop below 0 is a gain. Drops are of the reference's mAP where it says relative."
    return Table(caption="mAP beside the reference", columns=columns, rows=rows, notes=[note])


def _separated(metric: Part, cost: Cost | None) -> str:
    """Whether the drop is apart from its limit, and the bound by which it is, or is not."""
    separated = metric.flag("separated")
    if cost and cost.images < LEAST_FOR_INTERVAL:
        return "too few images"
    if separated is None:
        return texts.NONE
    drop = metric.part("drop")
    value, limit = drop.number("drop"), metric.number("max_drop")
    over = value is not None and limit is not None and value > limit
    bound = drop.number("at_least" if over else "at_most")
    words = "yes" if separated else "no, more images would"
    if bound is None or limit is None:
        return words
    return f"{words}: {'at least' if over else 'at most'} {_apart(bound, limit, metric.text('drop_type'))}"


def _apart(bound: float, limit: float, kind: str | None) -> str:
    """The bound, with as many digits as it takes to see on which side of the limit it lies."""
    for places in range(SHOWN_PLACES, MOST_PLACES):
        told = texts.drop_in_words(bound, kind, places)
        if bound == limit or told != texts.drop_in_words(limit, kind, places):
            return told
    return texts.drop_in_words(bound, kind, MOST_PLACES)


def _marks(verdict: Verdict | None) -> list[str]:
    wanted = ("untrained", "simulated", "not known", "taken with", "compared with")
    return [why for why in (verdict.why_not if verdict else ()) if why.startswith(wanted)]


def _evaluations(documents: Sequence[Document], runs: Runs) -> Table:
    rows = []
    for document in documents:
        part, data = document.content, document.content.part("data")
        untrained = {True: "untrained", False: "trained", None: "not known"}[part.flag("untrained")]
        rows.append(
            [
                Cell(text=_name(document, runs)),
                Cell(text=texts.mean_ap(part.number("mAP"))),
                Cell(text=METRICS.get(part.text("metric") or "", part.text("metric") or texts.NONE)),
                Cell(text=f"{_images(data)}, {texts.counted(data.number('images'), 'image')}"),
                Cell(text=part.part("postprocess").text("made_by") or texts.NONE),
                Cell(text=untrained, status="warn" if untrained != "trained" else "none"),
            ]
        )
    titles = ("engine", "mAP", "metric", "images (digest)", "detections made by", "weights")
    columns = [Column(title=title, figures=title == "mAP") for title in titles]
    return Table(caption="mAP by itself", columns=columns, rows=rows)


def _twelve(documents: Sequence[Document], scoring: Scoring, runs: Runs) -> Table:
    rows = [
        [
            Cell(text=name),
            *(Cell(text=texts.mean_ap(one.content.part("coco").number(number))) for number in COCO_NUMBERS),
        ]
        for name, one in zip(_names(documents, runs), documents, strict=True)
    ]
    columns = [Column(title="engine"), *(Column(title=name, figures=True) for name in COCO_NUMBERS)]
    note = "s, m, l: small, medium and large objects; 1, 10, 100: boxes an image. A dash: there are no such objects."
    return Table(caption=f"COCO's twelve numbers: {scoring.in_words}", columns=columns, rows=rows, notes=[note])


def _classes(documents: Sequence[Document], scoring: Scoring, runs: Runs) -> Table:
    by_class: dict[str, dict[int, Part]] = {}
    for place, document in enumerate(documents):
        for entry in document.content.parts("per_class"):
            by_class.setdefault(entry.text("name") or f"class {entry.count('class_id')}", {})[place] = entry
    rows = []
    for name, found in by_class.items():
        cells = [Cell(text=name), Cell(text=texts.count(next(iter(found.values())).number("objects")))]
        for place in range(len(documents)):
            value = found[place].number("ap") if place in found else None
            cells.append(Cell(text=texts.mean_ap(value), bar=value))
        rows.append(cells)
    columns = [Column(title="class"), Column(title="objects", figures=True)]
    columns += [Column(title=name, figures=True) for name in _names(documents, runs)]
    return Table(caption=f"AP of every class: {scoring.in_words}", columns=columns, rows=rows)

"""Where each number comes from: manifests, hashes, commands, documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from hardnet_deploy.report import texts
from hardnet_deploy.report.blocks import Absent, Cell, Column, Commands, Section, Table, Text
from hardnet_deploy.report.documents import Document
from hardnet_deploy.report.file_states import UNCHANGED
from hardnet_deploy.report.runs import Runs
from hardnet_deploy.report.sections_parity import title_of

EXPORT = "hardnet-deploy export MODEL -o F.onnx"
_WORDS = {
    "manifest": "artifact",
    "calibration": "calibration",
    "parity": "parity",
    "evaluation": "mAP",
    "sensitivity": "sensitivity",
    "bench": "timings",
    "profile": "time by layer",
    "roofline": "roofline",
}


def manifests(runs: Runs, states: Mapping[Path, str]) -> Section:
    """Every artifact with its hash, and whether the file beside the manifest is still that file."""
    section = Section(ident="manifests", title="Artifacts and hashes")
    rows = []
    for document in runs.collection.of("manifest"):
        part = document.content
        weights, precision = part.part("weights"), part.part("precision")
        state = states[document.path]
        rows.append(
            [
                Cell(text=str(document.artifact), code=True),
                Cell(text=part.text("sha256") or texts.NONE, code=True),
                Cell(text=state, status="pass" if state == UNCHANGED else "warn"),
                Cell(text=part.part("model").text("name") or texts.NONE),
                Cell(text=part.text("target") or "none named"),
                Cell(text=(precision.text("requested") or texts.NONE).upper()),
                Cell(
                    text="trained" if weights.flag("trained") else "untrained",
                    status="none" if weights.flag("trained") else "warn",
                ),
                Cell(text=weights.text("source") or texts.NONE),
                Cell(text=weights.text("sha256") or weights.text("state_sha256") or texts.NONE, code=True),
                Cell(
                    text=", ".join(f"{name} {version}" for name, version in part.part("versions").values.items())
                    or texts.NONE
                ),
            ]
        )
    if not rows:
        section.blocks.append(Absent(what="manifests of the artifacts", command=EXPORT))
        return section
    titles = (
        "file",
        "SHA-256",
        "file now",
        "model",
        "target",
        "requested",
        "weights",
        "weights from",
        "SHA-256 of the weights",
        "versions",
    )
    section.blocks.append(Table(caption="Artifacts", columns=[Column(title=one) for one in titles], rows=rows))
    return section


def reproduce(runs: Runs) -> Section:
    """The command of every document."""
    section = Section(ident="reproduce", title="How to reproduce each number")
    made: dict[str, list[str]] = {}
    unknown = []
    for document in runs.collection.documents:
        words = document.content.texts("command")
        if words:
            what = f"{_WORDS.get(document.kind, document.kind)}: {_title(document, runs)}"
            made.setdefault(texts.shell(words), []).append(what)
        elif document.kind in _WORDS:
            unknown.append(document.path.name)
    if made:
        section.blocks.append(Text(text="As recorded in the documents, to be run where they were made."))
        section.blocks.append(Commands(lines=[("; ".join(what), line) for line, what in made.items()]))
    if unknown:
        section.blocks.append(Text(text=f"No command is recorded in {', '.join(unknown)}."))
    if runs.collection.of("device-results"):
        section.blocks.append(
            Text(text="Devices' rows came through import-report; the device's own report has its command.")
        )
    section.blocks.append(_documents(runs))
    return section


def _title(document: Document, runs: Runs) -> str:
    if document.kind == "manifest":
        return document.artifact.name
    if document.kind == "parity":
        return title_of(document, runs)
    return document.path.name


def _documents(runs: Runs) -> Table:
    rows = [
        [Cell(text=str(one.path), code=True), Cell(text=one.kind), Cell(text=one.sha256, code=True)]
        for one in runs.collection.documents
    ]
    columns = [Column(title=title) for title in ("document", "kind", "SHA-256 of the document")]
    return Table(
        caption="Documents that this page is made of", columns=columns, rows=rows, notes=list(_passed_over(runs))
    )


def _passed_over(runs: Runs) -> Iterator[str]:
    foreign = runs.collection.foreign
    if foreign:
        yield f"{foreign} other JSON files in the folders are none of a report's documents and were passed over."

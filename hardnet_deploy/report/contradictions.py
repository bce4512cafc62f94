"""What in the runs does not fit together, or makes a number worth less than it looks: each as one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.report.decision import disagreements
from hardnet_deploy.report.documents import Document
from hardnet_deploy.report.file_states import CHANGED, compared_file, file_state
from hardnet_deploy.report.lineage import why_void
from hardnet_deploy.report.runs import Engine, Runs
from hardnet_deploy.report.texts import mean_ap, short
from hardnet_deploy.report.timings import load_of
from hardnet_deploy.report.verdicts import judge

SAME_MAP: Final = 1e-3
"""Two runs of one engine on the same images may differ by so much: in other batches sums come out in another order,
and detections of nearly equal scores change places."""
_OF_ONE_WRITING: Final = frozenset({"schema", "command", "target", "checks", "versions"})  # not of the file itself


def contradictions(runs: Runs, states: Mapping[Path, str]) -> tuple[str, ...]:
    """All of them, the gravest kind first.

    Args:
        runs: What was joined.
        states: Of every manifest, as :func:`file_states` has them.
    """
    found = (
        *_untrue_files(runs, states),
        *_other_files(runs),
        *_two_files_of_one_name(runs),
        *_two_manifests(runs),
        *_other_than_compared(runs),
        *_two_verdicts(runs),
        *_two_scores(runs),
        *disagreements(runs),
        *_void(runs),
        *_other_images(runs),
        *_not_found(runs),
        *_marked(runs),
        *_timings(runs),
        *(f"{path} is not in this report: {why}." for path, why in runs.collection.unread),
    )
    return tuple(dict.fromkeys(found))


def file_states(runs: Runs) -> dict[Path, str]:
    """Of every manifest: whether the artifact beside it is still the file that it describes: ``unchanged``, or what."""
    return {document.path: file_state(document) for document in runs.collection.of("manifest")}


def _untrue_files(runs: Runs, states: Mapping[Path, str]) -> Iterator[str]:
    for document in runs.collection.of("manifest"):
        if states[document.path] == CHANGED:
            yield f"{document.artifact} has changed since its manifest was written: these are not its numbers."


def _other_files(runs: Runs) -> Iterator[str]:
    """Of files that have a manifest beside them the manifest's own state tells."""
    for engine in runs.engines:
        compared = compared_file(engine, runs)
        for path in compared.others if compared else ():
            own = {os.path.realpath(document.artifact) for document in engine.manifests}
            if os.path.realpath(path) not in own:
                yield (
                    f"{path} is another file now than {engine.name} (SHA-256 {short(engine.sha256)}), which these runs "
                    "are about: these are not its numbers."
                )


def _not_found(runs: Runs) -> Iterator[str]:
    """Engines that might be deployed, and whose file is neither where it was nor beside what is known of it."""
    lost = []
    for engine in runs.engines:
        compared = compared_file(engine, runs)
        if compared and not compared.found and engine.judged and judge(engine, runs).eligible:
            lost.append(f"{engine.labels[0]} (SHA-256 {short(engine.sha256)})")
    if lost:
        yield (
            f"Not found, so that nothing says whether they are still the files that were compared: {', '.join(lost)}."
        )


def _two_files_of_one_name(runs: Runs) -> Iterator[str]:
    labels: dict[str, list[Engine]] = {}
    for engine in runs.engines:
        for label in engine.labels:
            labels.setdefault(label, []).append(engine)
    for label, engines in labels.items():
        if len(engines) > 1:
            hashes = ", ".join(short(engine.sha256) for engine in engines)
            yield f"{label} stands for different files in these runs (SHA-256 {hashes}); each is shown by itself."


def _two_manifests(runs: Runs) -> Iterator[str]:
    for engine in runs.engines:
        for other in engine.manifests[1:]:
            first = engine.manifests[0]
            differ = _difference(first.content.values, other.content.values)
            if differ:
                yield (
                    f"{first.path} and {other.path} describe one file (SHA-256 {short(engine.sha256)}) and disagree on "
                    f"its {', '.join(differ)}: which of them is right is not known."
                )


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Entries of two manifests that say different things of the same bytes; where a file lay is none of them."""
    return sorted(
        name
        for name in (one.keys() | other.keys()) - _OF_ONE_WRITING
        if _without_source(one.get(name)) != _without_source(other.get(name))
    )


def _without_source(value: Any) -> Any:
    return {key: one for key, one in value.items() if key != "source"} if isinstance(value, dict) else value


def _other_than_compared(runs: Runs) -> Iterator[str]:
    """A timed file that goes by the name of a compared one and is another."""
    judged = [engine for engine in runs.engines if engine.judged]
    known = {digest for engine in judged for digest in engine.ids}
    names = {Path(label).absolute(): engine for engine in judged for label in engine.labels}
    for document in runs.collection.of("bench"):
        for row in document.content.parts("rows"):
            artifact = row.part("artifact")
            file, digest = artifact.text("file"), artifact.text("sha256")
            engine = names.get(Path(file).absolute()) if file else None
            if engine and digest and digest not in known:
                yield (
                    f"{file} was timed with SHA-256 {short(digest)}, but compared with SHA-256 {short(engine.sha256)}: "
                    "the time is not of the engine whose accuracy is known."
                )


def _two_verdicts(runs: Runs) -> Iterator[str]:
    for engine in runs.engines:
        verdicts = {document.content.flag("passed") for document in engine.parity}
        if verdicts >= {True, False}:
            yield f"{engine.name} passed one comparison and failed another; it counts as failed."


def _two_scores(runs: Runs) -> Iterator[str]:
    """An evaluation and a comparison that give one engine another mAP on the same images by the same detections."""
    for engine in runs.engines:
        compared = [(document, "candidate") for document in engine.parity]
        compared += [(document, "reference") for document in engine.reference_of]
        for evaluation in engine.evaluations:
            alone = evaluation.content.number("mAP")
            for parity, role in compared:
                beside = _score(parity, role, evaluation)
                if alone is not None and beside is not None and abs(alone - beside) > SAME_MAP:
                    told = f"{mean_ap(alone)} in {evaluation.path.name} and of {mean_ap(beside)} in {parity.path.name}"
                    yield f"{engine.name} has a mAP of {told}, on the same images: at least one of them is wrong."


def _score(parity: Document, role: str, evaluation: Document) -> float | None:
    """The mAP of one side, post-processed as in ``evaluation``; None where the two are not of the same."""
    side, alone = parity.content.part(role), evaluation.content.part("engine")
    data, metric = parity.content.part("data"), parity.content.part("metric")
    same_data = data.text("digest") and data.text("digest") == evaluation.content.part("data").text("digest")
    if not same_data or metric.text("metric") != evaluation.content.text("metric"):
        return None
    kind = evaluation.content.part("postprocess").text("kind")
    if kind == "upstream":
        return metric.part("separation").part("upstream").number(role)
    if kind != "deployed" or side.values.get("thresholds") != alone.values.get("thresholds"):
        return None
    return metric.part("separation").part("own").number(role)


def _void(runs: Runs) -> Iterator[str]:
    for engine in runs.engines:
        for document in engine.parity:
            void = why_void(document, runs)
            if void:
                yield f"{document.path.name}: {engine.name} was {void}: this comparison does not count."


def _other_images(runs: Runs) -> Iterator[str]:
    digests: dict[str, set[str]] = {}
    for kind in ("parity", "evaluation"):
        for document in runs.collection.of(kind):
            data = document.content.part("data")
            digests.setdefault(data.text("digest") or "unknown", set()).add(data.text("name") or "not named")
    if len(digests) > 1:
        told = "; ".join(f"{', '.join(sorted(names))} (digest {short(digest)})" for digest, names in digests.items())
        yield f"mAP was measured on different images, and is comparable only within one of these: {told}."


def _marked(runs: Runs) -> Iterator[str]:
    for engine in runs.engines:
        if False in engine.trained:
            also = ", though another document says that they are trained" if True in engine.trained else ""
            yield f"{engine.name} is untrained: its weights are drawn from a seed{also}."
        if engine.simulated:
            yield f"{engine.name} was run by a simulated device: nothing of it is a result of the real one."
        for warning in engine.warnings:
            yield f"{engine.name} was taken with --trust: {warning}."


def _timings(runs: Runs) -> Iterator[str]:
    for document in runs.collection.of("bench"):
        rows = document.content.parts("rows")
        unstable = [row.text("key") or "a row" for row in rows if row.part("measured").flag("stable") is False]
        if unstable:
            yield f"{document.path.name}: not stable: {', '.join(unstable)}."
        if document.content.flag("finished") is False:
            yield f"{document.path.name}: the run was interrupted, and holds the rounds that were finished."
        if document.content.part("conditions").flag("throttled"):
            yield f"{document.path.name}: the device throttled while it was timed."
        load = load_of(document)
        if load:
            yield f"{document.path.name}: {load}."

"""What would have to be known too, and the commands that make it: none writes over what is there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hardnet_deploy.bench.engine_columns import EAGER
from hardnet_deploy.bench.sides import END_TO_END, boundary_of
from hardnet_deploy.report.collect import Collection
from hardnet_deploy.report.lineage import references
from hardnet_deploy.report.options import AROUND_1, FEW_ROUNDS, NO_GAIN, UNSTABLE, UNTIMED, Option
from hardnet_deploy.report.runs import Engine, Runs
from hardnet_deploy.report.timings import Group
from hardnet_deploy.report.verdicts import LEAST_TO_RECOMMEND

KIT: Final = "hardnet-deploy kit MODEL --target TARGET -o DIR"
NO_PYTORCH_THERE: Final = (
    "which what came back from the device cannot tell: no PyTorch was timed there. Engines on one device can be"
    " compared with each other; with PyTorch only by hardnet-deploy bench on it, which needs Python 3.10 or newer"
    " (a Jetson Nano has 3.6)"
)
ENGINES: Final = "\0"
"""Stands for names in a sentence; no name holds it."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What is not there, and the command that makes it.

    Args:
        what: In words.
        command: To be typed as it stands; None where the documents do not know every word of it.
        not_found: Files in the command that are not there from this folder, as the runs named them.
    """

    what: str
    command: str | None = None
    not_found: tuple[str, ...] = ()

    @property
    def in_words(self) -> str:
        """What is missing, and which files of the command are elsewhere."""
        elsewhere = f" ({', '.join(self.not_found)}: not found from this folder)" if self.not_found else ""
        return self.what + elsewhere


def free_name(collection: Collection, name: str) -> Path:
    """A file beside the times that are known, else beside the comparisons, that is not there yet: ``bench-2.json``."""
    known = [*collection.of("bench"), *collection.of("parity"), *collection.documents]
    path = (known[0].path.parent if known else Path()) / name
    stem, number = path.name.removesuffix(".json"), 2
    while os.path.lexists(path):
        path, number = path.with_name(f"{stem}-{number}.json"), number + 1
    return path


def missing(options: Sequence[Option], runs: Runs, group: Group | None) -> Iterator[Missing]:
    """Everything that would have to be known to decide among ``options``, whose times are of ``group``."""
    yield from _times(options, runs, group)
    waiting = [one for one in options if one.verdict.eligible and one.for_plugin and not _abroad(one.verdict.engine)]
    if waiting and not any(one.usable for one in options):
        yield Missing(
            what=f"times of {_names(waiting)} on a device with TensorRT, which has their plugin: "
            "hardnet-deploy kit packs what such a device runs"
        )
    abroad = [one for one in options if one.verdict.eligible and one.timing and not one.timing.group.here]
    if any(NO_GAIN in one.obstacles for one in abroad if one.timing and not one.timing.simulated):
        yield Missing(what=f"the gain of {_names(abroad)} over PyTorch, {NO_PYTORCH_THERE}")
    for one in options:
        engine = one.verdict.engine
        if one.verdict.state == "not compared" and engine.labels:
            yield _comparison(engine, runs)
        cost = one.verdict.cost
        if cost and (cost.separated is False or cost.images < LEAST_TO_RECOMMEND):
            yield _on_more_images(engine, runs)


def nothing_compared(runs: Runs) -> Missing:
    """Where no engine is there that could be compared."""
    known = [one for one in runs.engines if one.labels and not one.in_pytorch and _reference(one, runs)]
    if known:
        return _comparison(known[0], runs)
    return Missing(what="a comparison of an engine with its reference, by hardnet-deploy parity")


def _comparison(engine: Engine, runs: Runs) -> Missing:
    what = f"whether {engine.name} detects what its reference does"
    label, reference, data = _label(engine), _reference(engine, runs) or _of_its_model(engine, runs), _data(runs)
    if reference is None or data is None:
        unknown = " or ".join(name for name, value in (("reference", reference), ("images", data)) if value is None)
        return Missing(what=f"{what}, by hardnet-deploy parity: no {unknown} that these runs know of")
    words = ["hardnet-deploy", "parity", reference, label, "--data", data, *_classes(runs)]
    words += ["-o", str(free_name(runs.collection, f"{Path(label).stem}.parity.json"))]
    return Missing(what=what, command=shlex.join(words), not_found=_not_found([label]))


def _on_more_images(engine: Engine, runs: Runs) -> Missing:
    """The comparison on most images again, on all that its data has; there is no such command where it was on all."""
    what = f"enough images to separate the drop of {engine.name} from its limit"
    most = max(engine.parity, key=lambda one: one.content.part("data").count("images"))
    words = list(most.content.texts("command"))
    if "--count" not in words[:-1]:
        return Missing(what=f"{what}: more than the {most.content.part('data').count('images')} that its data gave")
    for option in ("--count", "--output", "-o", "--pictures"):
        while option in words[:-1]:
            place = words.index(option)
            del words[place : place + 2]
    words += ["-o", str(free_name(runs.collection, f"{Path(_label(engine)).stem}.parity.json"))]
    return Missing(what=what, command=shlex.join(words), not_found=_not_found([_label(engine)]))


def _of_its_model(engine: Engine, runs: Runs) -> str | None:
    """A model in PyTorch of these runs that has the name in the engine's manifest."""
    names = {one.content.part("model").text("name") for one in engine.manifests}
    known = (label for one in runs.engines if one.in_pytorch for label in one.labels)
    return next((label for label in known if label.partition("=")[0] in names), None)


def _data(runs: Runs) -> str | None:
    """Labelled images that a comparison or an evaluation of these runs was made on, as it was typed."""
    return _typed(runs, "--data")


def _classes(runs: Runs) -> list[str]:
    """The option that named a checkpoint's own classes there."""
    file = _typed(runs, "--classes")
    return ["--classes", file] if file else []


def _typed(runs: Runs, option: str) -> str | None:
    for document in (*runs.collection.of("parity"), *runs.collection.of("evaluation")):
        command = document.content.texts("command")
        if option in command[:-1]:
            return command[command.index(option) + 1]
    return None


def _label(engine: Engine) -> str:
    """As it was called: by a name under which it is there, where it has one."""
    return next((label for label in engine.labels if os.path.lexists(label)), engine.labels[0])


def _not_found(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(label for label in labels if not os.path.lexists(label))


def _names(options: Sequence[Option]) -> str:
    return ", ".join(one.name for one in options)


def _times(options: Sequence[Option], runs: Runs, group: Group | None) -> Iterator[Missing]:
    """One run of PyTorch and everything that passed, for each boundary and batch that files are made for."""
    files = [one for one in options if one.verdict.eligible and not one.for_plugin and _is_file(one.verdict.engine)]
    files = [one for one in files if one.timing is None or one.timing.group.here]
    if group is not None and not group.here:
        return
    together: dict[tuple[str | None, int | None], list[Option]] = {}
    for one in files:
        together.setdefault((_boundary(one, group), _batch(one)), []).append(one)
    for (boundary, batch), found in together.items():
        wanted = tuple(_wanted(found, group))
        if wanted:
            yield Missing(
                what="; ".join(wanted),
                command=_bench(found, runs, group, boundary=boundary, batch=batch),
                not_found=_not_found([_label(one.verdict.engine) for one in found]),
            )


def _wanted(options: Sequence[Option], group: Group | None) -> Iterator[str]:
    """What is not known of the times of ``options``; an engine that has a time of its own in that run lacks none."""
    untimed = [one for one in options if UNTIMED in one.obstacles and not _elsewhere(one.verdict.engine, group)]
    if untimed:
        yield f"times of {_names(untimed)}"
    unknown = [one for one in options if NO_GAIN in one.obstacles]
    if unknown:
        yield f"the gain of {_names(unknown)} over PyTorch"
    by_reason: dict[str, list[Option]] = {}
    for one in (one for one in options if one.to_repeat):
        for reason in _to_settle(one):
            by_reason.setdefault(reason, []).append(one)
    for reason, found in by_reason.items():
        yield reason.replace(ENGINES, _names(found))


def _to_settle(option: Option) -> Iterator[str]:
    """What another run is to bring, with :data:`ENGINES` for their names."""
    if UNSTABLE in option.obstacles:
        yield f"stable times of {ENGINES}, on an idle machine"
    if FEW_ROUNDS in option.obstacles:
        yield f"more rounds of {ENGINES} and of PyTorch, for an interval of the gain"
    if AROUND_1 in option.obstacles:
        yield f"a gain of {ENGINES} that is established: more rounds, on an idle machine"
    for doubt in option.gain.doubts if option.gain else ():
        yield f"another run of {ENGINES} beside PyTorch, as {doubt}"


def _elsewhere(engine: Engine, group: Group | None) -> bool:
    return group is not None and any(timing.group.run == group.run for timing in engine.timings)


def _abroad(engine: Engine) -> bool:
    return any(not timing.group.here for timing in engine.timings)


def _is_file(engine: Engine) -> bool:
    return bool(engine.labels and (engine.parity or engine.manifests))


def _boundary(option: Option, group: Group | None) -> str | None:
    """At which a file can be timed beside the others; None where nothing says so, and ``bench`` sees for itself."""
    if option.timing:
        return option.timing.group.boundary
    outputs = [name for one in option.verdict.engine.manifests for name in one.content.part("graph").texts("outputs")]
    own = boundary_of(outputs) if outputs else None
    if group is not None and (own is None or group.boundary in {own, END_TO_END}):
        return group.boundary
    return own


def _batch(option: Option) -> int | None:
    """Of a file that is made for more than one image; None for any other."""
    found = [one.content.part("graph").values.get("batch") for one in option.verdict.engine.manifests]
    found += [option.timing.source.values.get("batch")] if option.timing else []
    return next((batch for batch in found if isinstance(batch, int) and batch > 1), None)


def _bench(
    options: Sequence[Option], runs: Runs, group: Group | None, *, boundary: str | None, batch: int | None
) -> str | None:
    """The command line; None where no model in PyTorch is known that the engines go back to."""
    engines = [one.verdict.engine for one in options]
    reference = next((label for engine in engines if (label := _reference(engine, runs))), None)
    if reference is None:
        return None
    words = ["hardnet-deploy", "bench", reference, *dict.fromkeys(_label(engine) for engine in engines)]
    words += ["--engines", EAGER]
    words += ["--boundary", boundary.lower()] if boundary else []
    words += ["--batch", str(batch)] if batch else []
    words += _threads(runs, group)
    words += _size(engines)
    words += _as_compared(engines, code_line="=" in reference)
    return shlex.join([*words, "--save", str(free_name(runs.collection, "bench.json"))])


def _reference(engine: Engine, runs: Runs) -> str | None:
    """The model in PyTorch that ``engine`` goes back to, as it was named; None where it goes back to none."""
    return next((one.labels[0] for one in references(engine, runs) if one.in_pytorch and one.labels), None)


def _threads(runs: Runs, group: Group | None) -> list[str]:
    """As many as the run of ``group`` had: of other numbers the times are other ones."""
    timings = (timing for one in runs.engines for timing in one.timings if group and timing.group.run == group.run)
    threads = next((timing.document.content.part("protocol").number("threads") for timing in timings), None)
    return ["--threads", f"{threads:g}"] if threads else []


def _size(engines: Sequence[Engine]) -> list[str]:
    """A backbone is made for any size; its files are for one."""
    for document in (one for engine in engines for one in engine.manifests):
        size = document.content.part("preprocess").number("size")
        if size and not document.content.part("head"):
            return ["--size", f"{size:g}"]
    return []


def _as_compared(engines: Sequence[Engine], *, code_line: bool) -> list[str]:
    """The images that the comparison was made on, and which repository trained the checkpoint."""
    words: list[str] = []
    for document in (one for engine in engines for one in engine.parity):
        command = document.content.texts("command")
        if "--data" in command[:-1]:
            words += ["--data", command[command.index("--data") + 1]]
        trained_by = document.content.part("reference").text("code_line")
        if code_line and trained_by:
            words += ["--code-line", trained_by]
        if "--classes" in command[:-1]:
            words += ["--classes", command[command.index("--classes") + 1]]
        if words:
            break
    return words

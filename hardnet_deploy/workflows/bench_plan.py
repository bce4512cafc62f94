"""From the options of a bench to its rows: which network, by which engine, at which boundary, and what cannot be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from hardnet_deploy.bench.engine_columns import COLUMNS, Machine, read_columns, usual_columns
from hardnet_deploy.bench.protocols import (
    BOUNDARIES,
    DEFAULT_PROTOCOL,
    OWN,
    OWN_ITERATIONS,
    Protocol,
    get_protocol,
    title_of,
)
from hardnet_deploy.bench.sides import NETWORK, NETWORK_NMS, Boundary, Device
from hardnet_deploy.bench.stats import LEAST_LOADINGS
from hardnet_deploy.bench.timing import USUAL_LOADINGS, WARM_UP_MS
from hardnet_deploy.data.loading import usual_workers
from hardnet_deploy.errors import TargetError, UsageError
from hardnet_deploy.workflows.bench_options import (
    QUICK_BUDGET_S,
    USUAL_BUDGET_S,
    BenchRequest,
    parse_boundary,
    parse_budget,
    refuse_nonsense,
)
from hardnet_deploy.workflows.bench_subjects import BenchFile, Subject, find_subject
from hardnet_deploy.workflows.bench_thresholds import with_files_thresholds


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """A row to be.

    Args:
        key: Unique in the run.
        subject: What is timed.
        column: Name of the engine.
        boundary: What is counted in.
        batch: Images at once.
        device: Where it runs, or would run if it could.
        why_not: Why it cannot be timed here; None where it can, as far as is known before anything is built.
    """

    key: str
    subject: Subject
    column: str
    boundary: Boundary
    batch: int
    device: Device
    why_not: str | None


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """What will be timed, every default decided.

    Args:
        protocol: The one that is followed, with the user's networks, size, batch and boundaries in it; its
            ``reference`` is the label of a subject.
        rows: In the order of the table.
        iterations: Of every row, where nothing else ends the timing before.
        rounds: Exactly so many; None where stability decides.
        budget_s: Of timing; None for no limit.
        least_rounds: That are timed whatever a budget that nobody asked for.
        warm_up_ms: Before each turn.
        loadings: Times that each engine is loaded, spread over the rounds.
        threads: Of each engine on the CPU.
        device: Where PyTorch runs.
        notes: What the user should know of the choice.
    """

    protocol: Protocol
    rows: tuple[PlannedRow, ...]
    iterations: int
    rounds: int | None
    budget_s: float | None
    least_rounds: int
    warm_up_ms: float
    loadings: int
    threads: int
    device: str
    notes: tuple[str, ...]

    @property
    def to_time(self) -> tuple[PlannedRow, ...]:
        """Rows that can be timed here."""
        return tuple(row for row in self.rows if row.why_not is None)


def plan_bench(request: BenchRequest, machine: Machine) -> BenchPlan:
    """Decide every default and refuse what cannot be meant, before anything long runs.

    Raises:
        UsageError: Options that cannot be meant, or that would do nothing.
        TargetError: Nothing of it can be timed on this machine.
        InputFileError, ArtifactMismatchError: A file that cannot be opened.
        OutputFileError: An output clearly cannot be written.
    """
    refuse_nonsense(request)
    protocol, notes = _protocol(request)
    found = tuple(find_subject(text, request, usual_size=protocol.size) for text in protocol.networks)
    protocol = _with_labels(protocol, found)
    subjects, limits = with_files_thresholds(found)
    _refuse_other_sizes(protocol, subjects)
    columns = _columns(request, machine, subjects, named=protocol.name != OWN)
    rows = [
        _row(subject, column, boundary, request.batch, machine)
        for subject in subjects
        for boundary in _boundaries(subject, subjects, request, protocol)
        for column in ((subject.file.column,) if subject.file else columns)
    ]
    boundaries = tuple(one for one in BOUNDARIES if any(row.boundary == one for row in rows))
    if request.results is None:
        _refuse_nothing(rows)
    return BenchPlan(
        protocol=dataclasses.replace(protocol, boundaries=boundaries),
        rows=tuple(sorted(rows, key=lambda row: boundaries.index(row.boundary))),
        iterations=request.iterations or protocol.iterations,
        rounds=request.rounds,
        budget_s=_budget(request, rows, len(subjects)),
        least_rounds=1 if request.budget else LEAST_LOADINGS,
        warm_up_ms=float(WARM_UP_MS) if request.warm_up_ms is None else request.warm_up_ms,
        loadings=USUAL_LOADINGS,
        threads=request.threads or usual_workers(),
        device=machine.device,
        notes=(*notes, *limits),
    )


def _protocol(request: BenchRequest) -> tuple[Protocol, tuple[str, ...]]:
    """The protocol with what the user changed of it, its ``networks`` being what was typed; and what that means."""
    if request.protocol is None and request.subjects:
        return Protocol(
            name=OWN,
            networks=request.subjects,
            reference=request.subjects[0],
            size=request.size,
            batch=request.batch or 1,
            iterations=OWN_ITERATIONS,
            published_iterations=None,
            statistic="median",
            boundaries=(),
            published={},
        ), ()
    protocol = get_protocol(request.protocol or DEFAULT_PROTOCOL)
    notes = []
    if request.subjects:
        added = () if protocol.reference in request.subjects else (protocol.reference,)
        protocol = dataclasses.replace(protocol, networks=(*request.subjects, *added))
        notes += [f"{title_of(protocol.reference)} is timed too: the ratios are taken to it"] if added else []
    size = protocol.size if request.size is None else request.size
    batch = request.batch or protocol.batch
    if (size, batch) != (protocol.size, protocol.batch) and protocol.published:
        was = f"{protocol.size} x {protocol.size} in batches of {protocol.batch}"
        notes.append(f"the published times are of {was}: they are not shown beside another size or batch")
        protocol = dataclasses.replace(protocol, published={})
    return dataclasses.replace(protocol, size=size, batch=batch), tuple(notes)


def _with_labels(protocol: Protocol, subjects: Sequence[Subject]) -> Protocol:
    """The protocol with the labels of what was typed, which rows are named and found by: ``./a.onnx`` is ``a.onnx``."""
    typed: dict[str, list[str]] = {}
    for text, subject in zip(protocol.networks, subjects, strict=True):
        typed.setdefault(subject.label, []).append(text)
    repeated = [" and ".join(dict.fromkeys(texts)) for texts in typed.values() if len(texts) > 1]
    if repeated:
        raise UsageError(f"named more than once: {', '.join(repeated)}", next_step="name each once")
    label = {text: subject.label for text, subject in zip(protocol.networks, subjects, strict=True)}
    return dataclasses.replace(protocol, networks=tuple(label.values()), reference=label[protocol.reference])


def _refuse_other_sizes(protocol: Protocol, subjects: Sequence[Subject]) -> None:
    if protocol.name == OWN or protocol.size is None:
        return
    for subject in subjects:
        if subject.size != protocol.size:
            raise UsageError(
                f"{subject.label} takes images of {subject.size} x {subject.size}",
                got=f"protocol {protocol.name}, at {protocol.size} x {protocol.size}",
                next_step="leave --protocol out to time it as it is"
                + ("; --protocol ssd-512 is for detectors" if subject.detects else ""),
            )


def _columns(request: BenchRequest, machine: Machine, subjects: Sequence[Subject], *, named: bool) -> tuple[str, ...]:
    """Engines of every network. Of a protocol also those that cannot run here: the rows say so."""
    if request.engines is None:
        usual = usual_columns(machine, quick=request.quick)
        return tuple(column.name for column in usual if named or machine.why_not(column) is None)
    if all(subject.file for subject in subjects):
        raise UsageError(
            "--engines would do nothing: every file is an engine already", next_step="drop it, or name a model"
        )
    return tuple(column.name for column in read_columns(request.engines))


def _boundaries(
    subject: Subject, subjects: Sequence[Subject], request: BenchRequest, protocol: Protocol
) -> tuple[Boundary, ...]:
    asked = parse_boundary(request.boundary)
    if asked is None and protocol.name == OWN:
        if subject.file is not None:
            return (subject.file.boundary,)
        files = [one.file for one in subjects if one.file]
        beside = bool(files) and all(file.boundary == NETWORK_NMS for file in files)
        return (NETWORK_NMS if beside and subject.detects else NETWORK,)
    if asked is None and subject.file is not None and subject.detects:
        return (_boundary_of_protocol(subject, subject.file.boundary, protocol),)
    wanted = (asked,) if asked is not None else protocol.boundaries
    for boundary in wanted:
        _refuse_boundary(subject, boundary)
    return wanted


def _boundary_of_protocol(subject: Subject, own: Boundary, protocol: Protocol) -> Boundary:
    """A file has one boundary, and takes part in a protocol there."""
    if own not in protocol.boundaries:
        ends = "has its NMS inside" if own == NETWORK_NMS else "ends before the NMS"
        raise UsageError(
            f"{subject.label} {ends}: it has no row in protocol {protocol.name}",
            got=f"a file for {own}",
            wanted=" or ".join(protocol.boundaries),
            next_step="leave --protocol out to time it as it is",
        )
    return own


def _refuse_boundary(subject: Subject, boundary: Boundary) -> None:
    """Refuse what a network or file does not compute."""
    if boundary == NETWORK_NMS and not subject.detects:
        raise UsageError(
            f"{subject.label} is a backbone: there is no NMS to time",
            next_step="--boundary network, or name a detector",
        )
    file = subject.file
    if file is None or not subject.detects:
        return
    if boundary == NETWORK and file.boundary == NETWORK_NMS:
        raise UsageError(
            f"{subject.label} has its NMS inside, so the network alone cannot be timed in it",
            next_step="drop --boundary, or export with --outputs raw",
        )
    if boundary != NETWORK and file.boundary == NETWORK:
        raise UsageError(
            f"{subject.label} ends before the NMS, so {boundary} cannot be timed in it",
            next_step="drop --boundary, or export with --outputs detections",
        )


def _row(subject: Subject, column: str, boundary: Boundary, batch: int | None, machine: Machine) -> PlannedRow:
    file = subject.file
    return PlannedRow(
        key=f"{subject.label}/{column}" + ("" if boundary == NETWORK else f"/{boundary}"),
        subject=subject,
        column=column,
        boundary=boundary,
        batch=batch or (file.batch if file else None) or 1,
        device=_device(column, file, machine),
        why_not=machine.why_not(COLUMNS[column]) if file is None else file.why_not,
    )


def _device(column: str, file: BenchFile | None, machine: Machine) -> Device:
    """Where an engine runs: plans on the GPU, ONNX Runtime on the CPU, PyTorch where the machine has it."""
    if file is not None:
        return "cuda" if file.column.startswith("trt-") else "cpu"
    runtime = COLUMNS[column].runtime
    return machine.device if runtime == "torch" else "cuda" if runtime == "tensorrt" else "cpu"


def _refuse_nothing(rows: Sequence[PlannedRow]) -> None:
    if any(row.why_not is None for row in rows):
        return
    reasons = dict.fromkeys(f"{row.column}: {row.why_not}" for row in rows)
    raise TargetError(
        "nothing of this can be timed on this machine",
        got="; ".join(reasons),
        next_step="--engines eager,ort-fp32 run on any; hardnet-deploy kit makes a folder that times on the device",
    )


def _budget(request: BenchRequest, rows: Sequence[PlannedRow], subjects: int) -> float | None:
    """Seconds of timing; where a row runs on the CPU there is a limit unless iterations are asked for."""
    given = parse_budget(request.budget)
    if given is not None:
        return given
    if request.quick:
        return QUICK_BUDGET_S * subjects
    on_cpu = any(row.device == "cpu" for row in rows if row.why_not is None)
    return USUAL_BUDGET_S if on_cpu and request.iterations is None else None

"""``hardnet-deploy import-report``: what a device measured, held against itself and its kit, into the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hardnet_deploy.errors import UsageError
from hardnet_deploy.files import refuse_unwritable
from hardnet_deploy.kit.device_report import read_report
from hardnet_deploy.kit.document import KitFolder, read_kit
from hardnet_deploy.kit.layout import KIT
from hardnet_deploy.kit.results import merge
from hardnet_deploy.workflows.import_trtexec import TrtexecFiles, row_of_trtexec

STORE: Final = Path("results.json")


@dataclass(frozen=True, kw_only=True)
class ImportRequest:
    """The options of ``hardnet-deploy import-report`` as typed; None means that the user left it out."""

    report: Path | None = None
    kit: Path | None = None
    times: Path | None = None
    profile: Path | None = None
    layer_info: Path | None = None
    tensorrt: str | None = None
    device: str | None = None
    date: str | None = None
    engine: Path | None = None
    warm_up_ms: float | None = None
    save: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ImportResult:
    """An imported row.

    Args:
        row: As stored.
        new: False where the same report was there already.
        store: The file it is in.
        notes: What the user should know.
    """

    row: dict[str, Any]
    new: bool
    store: Path
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"store": str(self.store), "new": self.new, "row": self.row, "notes": list(self.notes)}


def run_import(request: ImportRequest) -> ImportResult:
    """Check what came from a device, and merge it into the results.

    Raises:
        UsageError: Options that cannot be meant.
        InputFileError: A file that cannot be read or is not what it should be.
        ArtifactMismatchError: Hashes or figures that disagree.
        OutputFileError: The results cannot be written.
    """
    store = request.save or STORE
    _refuse_options(request)
    refuse_unwritable(store)
    if request.report is not None:
        row = read_report(request.report, _kit_of(request.report, request.kit))
    else:
        row = row_of_trtexec(_trtexec(request))
    stored, new = merge(store, row)
    notes = row.notes if new else (*row.notes, "the same report was imported before: its row was replaced")
    return ImportResult(row=stored, new=new, store=store, notes=notes)


def _refuse_options(request: ImportRequest) -> None:
    of_trtexec = {
        "--profile": request.profile,
        "--layer-info": request.layer_info,
        "--tensorrt": request.tensorrt,
        "--device": request.device,
        "--date": request.date,
        "--engine": request.engine,
        "--warm-up": request.warm_up_ms,
    }
    if (request.report is None) == (request.times is None):
        raise UsageError(
            "name one of: the report.json of a device, or --times with what trtexec exported",
            next_step="hardnet-deploy import-report report.json",
        )
    given = [name for name, value in of_trtexec.items() if value is not None]
    if request.report is not None and given:
        raise UsageError(
            f"a device's report says this itself: {', '.join(given)}", next_step="drop them, or give --times instead"
        )
    if request.times is None:
        return
    missing = [name for name in ("--tensorrt", "--device", "--date") if of_trtexec[name] is None]
    if missing:
        raise UsageError(f"trtexec does not write down {', '.join(missing)}", next_step="add what is missing")
    if request.engine is None and request.kit is None:
        raise UsageError(
            "trtexec does not write down which engine it timed", next_step="add --engine F, --kit DIR or both"
        )
    if request.warm_up_ms is not None and not 0 <= request.warm_up_ms < float("inf"):
        raise UsageError(
            f"--warm-up {request.warm_up_ms:g} is out of range",
            wanted="0 ms or more",
            next_step="give trtexec's --warmUp",
        )


def _kit_of(report: Path, kit: Path | None) -> KitFolder | None:
    """``--kit``; without it the kit in the report's own folder, if there is one."""
    if kit is not None:
        return read_kit(kit)
    folder = report.absolute().parent
    return read_kit(folder) if (folder / KIT).exists() else None


def _trtexec(request: ImportRequest) -> TrtexecFiles:
    """The options of trtexec's files, which :func:`_refuse_options` found to be there."""
    assert request.times is not None
    return TrtexecFiles(
        times=request.times,
        profile=request.profile,
        layer_info=request.layer_info,
        tensorrt=request.tensorrt or "",
        device=request.device or "",
        date=request.date or "",
        engine=request.engine,
        kit=request.kit,
        warm_up_ms=request.warm_up_ms,
    )

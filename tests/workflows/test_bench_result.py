"""What a finished bench comes to: why it is no result, what it says of its loadings, and the files it is written to."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_up_bench import LAPTOP, WORKSTATION, MadeUpTimings, made_up_timing

from hardnet_deploy.bench.engine_columns import Machine
from hardnet_deploy.bench.gpu_state import GpuReader
from hardnet_deploy.bench.sides import Side
from hardnet_deploy.bench.stability import rule
from hardnet_deploy.bench.timing import USUAL_LOADINGS, StoppedBy, Timings
from hardnet_deploy.workflows import bench as workflow
from hardnet_deploy.workflows.bench import run_bench
from hardnet_deploy.workflows.bench_options import BenchRequest
from hardnet_deploy.workflows.bench_result import BenchResult


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> MadeUpTimings:
    made_up = MadeUpTimings()
    monkeypatch.setattr(workflow, "time_sides", made_up)
    return made_up


def benched(engines: str, *, rounds: int | None = None) -> BenchResult:
    request = BenchRequest(subjects=("hardnet68",), engines=engines, rounds=rounds)
    return run_bench(request, lambda *_: None, machine=LAPTOP)


@pytest.mark.parametrize(
    ("rounds", "asked", "stopped_by", "told"),
    [
        (3, None, "budget", "the budget held 3 rounds; give one that holds 5"),
        (1, None, "budget", "the budget held 1 round; give one that holds 5"),
        (3, 3, "done", "give --rounds 5 or more"),
        (5, None, "budget", "leave the machine to the bench"),
    ],
)
def test_too_few_rounds_to_tell_are_named_as_what_is_missing(
    timings: MadeUpTimings, rounds: int, asked: int | None, stopped_by: StoppedBy, told: str
) -> None:
    timings.changes = {"hardnet68/eager": {"stable": False}}
    timings.stopped_by = stopped_by
    result = benched("eager", rounds=asked)
    result.document["protocol"]["rounds"] = rounds
    assert result.error is not None
    assert told in (result.error.next_step or "")
    assert "--allow-unstable" in (result.error.next_step or "")


@pytest.mark.usefixtures("timings")
def test_each_device_that_rows_are_timed_on_has_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    pretended = dict.fromkeys(("clock_mhz", "held_back", "held_back_us")) | {"name": "A pretended GPU"}
    monkeypatch.setattr(GpuReader, "read", lambda _: pretended)

    def document(engines: str, machine: Machine) -> dict[str, Any]:
        request = BenchRequest(subjects=("hardnet68",), engines=engines)
        return run_bench(request, lambda *_: None, machine=machine).document

    cpu, cuda = rule("cpu", loadings=USUAL_LOADINGS), rule("cuda")
    both = document("eager,ort-fp32", WORKSTATION)
    assert both["protocol"]["stability"] == f"on the CPU: {cpu}; on the GPU: {cuda}"
    assert both["machine"].startswith("A pretended GPU, ")
    alone = document("ort-fp32", WORKSTATION)  # PyTorch would run on the GPU there, and runs nothing
    assert alone["protocol"]["stability"] == document("eager", LAPTOP)["protocol"]["stability"] == cpu
    assert "pretended" not in alone["machine"]
    assert document("eager", WORKSTATION)["protocol"]["stability"] == cuda


def test_an_engine_that_ended_early_is_an_error_although_its_times_had_settled(timings: MadeUpTimings) -> None:
    timings.changes = {"hardnet68/fused": {"problem": "its process was ended by SIGKILL"}}
    result = benched("eager,fused")
    assert next(row for row in result.rows if row["engine"] == "fused")["measured"]["stable"] is True
    assert result.error is not None
    assert result.error.exit_code == 7
    assert "hardnet68/fused (ended early: its process was ended by SIGKILL)" in (result.error.got or "")
    assert "remedy what ended it" in (result.error.next_step or "")


def test_a_file_that_cannot_be_written_costs_no_other(timings: MadeUpTimings) -> None:
    del timings
    request = BenchRequest(
        subjects=("hardnet68",), engines="eager", save=Path("a/b.json"), markdown=Path("c/b.md"), csv=Path("c/b.csv")
    )
    result = run_bench(request, lambda *_: None, machine=LAPTOP)
    shutil.rmtree("a")
    Path("a").write_text("no folder any more", encoding="ascii")
    written, faults = result.write(request)
    assert written == (Path("c/b.md"), Path("c/b.csv"))
    assert [fault.exit_code for fault in faults] == [4]
    assert all(path.stat().st_size for path in written)


@pytest.mark.parametrize(
    ("loadings", "most", "words"),
    [
        ({"a": (0, 1, 2), "ref": (0, 1, 2)}, 3, ", loaded anew 2 times"),
        ({"a": (0, 1, 2, None, None), "b": (None, None, None, 3, 4), "ref": (0, 1, 2, 3, 4)}, 3, "anew 1 to 2 times"),
        ({"ref": (0, 1)}, 2, ", loaded anew 1 time"),
        ({"ref": (0, 0)}, 1, ""),
    ],
)
def test_loadings_are_counted_within_a_group(
    loadings: dict[str, tuple[int | None, ...]], most: int, words: str
) -> None:
    sides = {}
    for key, numbers in loadings.items():
        one = made_up_timing(Side(key=key, kind="onnxruntime", artifact="made up", size=32), 10.0)
        known = tuple(number for number in numbers if number is not None)
        sides[key] = dataclasses.replace(one, loadings=known, rounds_ms=((1.0,),) * len(known))
    groups = [("ref", key) for key in loadings if key != "ref"] or [("ref",)]
    found = Timings(sides=sides, rounds=5, groups=tuple(groups), elapsed_s=1.0, stopped_by="done")
    counts = workflow._loadings(found)
    assert max(counts) == most
    assert workflow._loaded_anew(counts).endswith(words)

"""Engines timed beside each other, each in a process of its own: the real processes, on toy graphs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_detector import TOY, write_toy

from hardnet_deploy.bench import side_process
from hardnet_deploy.bench.interleaved import Timing, time_side_by_side, time_sides
from hardnet_deploy.bench.sides import Side
from hardnet_deploy.bench.timing import TimingPlan, TimingProgress, Timings
from hardnet_deploy.errors import TargetError
from hardnet_deploy.files import sha256_file
from hardnet_deploy.workflows.seeded_inputs import seeded_pixels

IMAGES = seeded_pixels(TOY.preprocess, 1)
ROUNDS, PER_ROUND = 3, 4


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[str]]]:
    """Every process that is started; all of them have ended when the test has."""
    started: list[subprocess.Popen[str]] = []

    class Watched(subprocess.Popen[str]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    yield started
    assert started
    assert all(process.returncode is not None for process in started)
    assert all(
        stream is None or stream.closed
        for process in started
        for stream in (process.stdin, process.stdout, process.stderr)
    )


def engines(folder: Path, *names: str) -> dict[str, Path]:
    return {name: write_toy(folder / f"{name}.onnx", nms="onnx") for name in names}


def timed(files: dict[str, Path], **options: Any) -> dict[str, Timing]:
    return time_side_by_side(files, IMAGES, **{"threads": 1, "rounds": ROUNDS, "per_round": PER_ROUND} | options)


def side(path: Path, **options: Any) -> Side:
    fixed = {"key": path.stem, "kind": "onnxruntime", "artifact": str(path), "size": 32, "made_here": True}
    return Side(**{**fixed, **options})


def test_every_engine_has_its_turn_in_every_round(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    told: list[tuple[int, int]] = []
    found = timed(engines(tmp_path, "one", "other"), progress=lambda done, total: told.append((done, total)))
    assert list(found) == ["one", "other"]
    assert len(processes) == 2
    for timing in found.values():
        assert [len(runs) for runs in timing.rounds] == [PER_ROUND] * ROUNDS
        assert all(value > 0 for runs in timing.rounds for value in runs)
        assert timing.median_ms > 0
    assert told == [(number + 1, ROUNDS) for number in range(ROUNDS)]


def test_the_median_is_of_all_runs() -> None:
    assert Timing(rounds=((1.0, 9.0), (2.0,))).median_ms == 2.0


@pytest.mark.usefixtures("processes")
def test_an_engine_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    files = {"missing": tmp_path / "missing.onnx"}
    with pytest.raises(TargetError, match=r"missing\.onnx cannot be timed") as caught:
        timed(files)
    assert caught.value.exit_code == 3
    assert "missing.onnx" in (caught.value.got or "")


@pytest.mark.usefixtures("processes")
def test_an_image_of_another_size_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"one\.onnx cannot be timed") as caught:
        time_side_by_side(
            engines(tmp_path, "one"), np.zeros((1, 3, 8, 8), np.float32), threads=1, rounds=1, per_round=1
        )
    assert "[1, 3, 8, 8]" in (caught.value.got or "")


def test_a_process_that_ends_between_rounds_is_an_error(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    def end_it(done: int, _total: int) -> None:
        assert done == 1
        processes[0].kill()
        processes[0].wait()

    with pytest.raises(TargetError, match=r"one\.onnx cannot be timed") as caught:
        timed(engines(tmp_path, "one"), progress=end_it)
    assert "SIGKILL" in (caught.value.got or "")


def test_an_interrupt_ends_the_processes(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    def interrupt(_done: int, _total: int) -> None:
        assert processes[0].poll() is None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        timed(engines(tmp_path, "one"), progress=interrupt)


@pytest.mark.usefixtures("processes")
def test_a_timing_carries_what_was_timed_and_one_bad_side_ends_no_other(tmp_path: Path) -> None:
    path = engines(tmp_path, "toy")["toy"]
    told: list[TimingProgress] = []
    found = time_sides(
        [side(path), side(tmp_path / "none.onnx"), side(path, key="large", size=64)],
        plan=TimingPlan(iterations=8, rounds=4, warm_up_ms=1, reference=("toy",)),
        progress=told.append,
    )
    good = found.sides["toy"]
    assert good.problem is None
    assert good.artifact_sha256 == sha256_file(path)
    assert "ONNX Runtime" in good.engine
    assert "NMS in" in good.boundary_text
    assert good.peak_rss_bytes is None or good.peak_rss_bytes > 10**7
    assert good.summary is not None
    assert good.summary.runs == 8
    assert "none.onnx" in (found.sides["none"].problem or "")
    assert found.sides["large"].problem == f"{path} takes images [1, 3, 32, 32], this run has [1, 3, 64, 64]"
    assert [one.doing for one in told] == ["loading"] * 3 + ["timing"] * 4


def test_each_loading_is_a_new_process_and_none_is_left(tmp_path: Path, processes: list[subprocess.Popen[str]]) -> None:
    path = engines(tmp_path, "toy")["toy"]
    children: list[list[str]] = []

    def look(_found: Timings) -> None:
        (process,) = processes
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children.append(listed.read_text(encoding="ascii").split())

    plan = TimingPlan(iterations=6, rounds=6, warm_up_ms=1, loadings=3)
    found = time_sides([side(path)], plan=plan, on_round=look)
    assert found.sides["toy"].problem is None
    loadings = found.sides["toy"].loadings
    assert loadings in {(0, 1, 1, 2, 2, 3), (0, 1, 2, 3, 4, 5)}  # the latter where loading took no longer than a round
    assert all(len(one) == 1 for one in children)
    assert len({one[0] for one in children}) == len(set(loadings))
    assert not any(Path(f"/proc/{one[0]}").exists() for one in children)


@pytest.mark.usefixtures("processes")
def test_a_file_that_is_replaced_while_it_is_timed_keeps_the_rounds_of_the_first_alone(tmp_path: Path) -> None:
    path = engines(tmp_path, "toy")["toy"]
    first = sha256_file(path)

    def replace_it(found: Timings) -> None:
        if found.rounds == 2:
            write_toy(path, outputs="boxes")

    plan = TimingPlan(iterations=6, rounds=6, warm_up_ms=1, loadings=6)
    found = time_sides([side(path)], plan=plan, on_round=replace_it).sides["toy"]
    assert sha256_file(path) != first
    assert found.artifact_sha256 == first
    assert len(found.rounds_ms) == 2
    assert found.problem == "its file was replaced while it was timed"


@pytest.mark.usefixtures("processes")
def test_a_turn_that_was_asked_to_be_long_may_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = engines(tmp_path, "toy")["toy"]

    def impatient(_found: Timings) -> None:
        monkeypatch.setattr(side_process, "ANSWER_LIMIT_S", 0.0)

    found = time_sides([side(path)], plan=TimingPlan(iterations=2, rounds=2, warm_up_ms=500), on_round=impatient)
    assert found.sides["toy"].problem is None
    assert found.rounds == 2


@pytest.mark.usefixtures("processes")
def test_a_process_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(side_process, "ANSWER_LIMIT_S", 0.2)
    found = time_sides(
        [side(tmp_path / "any.onnx")], plan=TimingPlan(iterations=1), worker=("-c", "import time; time.sleep(60)")
    )
    assert "no answer for 0.2 s" in (found.sides["any"].problem or "")


@pytest.mark.usefixtures("processes")
def test_a_process_that_falls_over_leaves_its_last_words(tmp_path: Path) -> None:
    worker = ("-c", "print('to the wrong place', flush=True) if 0 else exit('there is no libgomp')")
    found = time_sides([side(tmp_path / "any.onnx")], plan=TimingPlan(iterations=1), worker=worker)
    assert found.sides["any"].problem == "its process ended with code 1: there is no libgomp"


@pytest.mark.usefixtures("processes")
def test_a_process_started_without_workflows_refuses_what_it_cannot_vouch_for(tmp_path: Path) -> None:
    path = engines(tmp_path, "toy")["toy"]
    found = time_sides([side(path, made_here=False)], plan=TimingPlan(iterations=1))
    assert "caller's own making" in (found.sides["toy"].problem or "")

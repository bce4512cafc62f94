"""The loops that time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from hardnet_deploy.bench.loaded import CudaEvents, WallClock, warm_up
from hardnet_deploy.bench.sides import SideFacts
from hardnet_deploy.bench.worker import in_one_sentence
from hardnet_deploy.errors import TargetError


def test_warming_up_runs_so_often_at_least() -> None:
    seen: list[int] = []
    warm_up(seen.append, 0, 3)
    assert seen == [0, 1, 2]


def test_only_the_runs_after_the_warm_up_are_timed_and_their_input_changes() -> None:
    seen: list[int] = []
    inside: list[str] = []

    @contextmanager
    def context() -> Iterator[None]:
        inside.append("in")
        yield
        inside.append("out")

    times = WallClock(SideFacts(), seen.append, context).turn(4, warm_up_ms=0, least_warm_up=2)
    assert len(times) == 4
    assert seen == [0, 1, 0, 1, 2, 3]
    assert inside == ["in", "out"]


def test_events_stand_around_each_run_and_the_feed_before_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stand-in for CUDA that keeps the order of what is enqueued."""
    stream: list[str] = []

    class Event:
        made = 0

        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing
            Event.made += 1
            self.name = Event.made

        def record(self) -> None:
            stream.append(f"event {self.name}")

        def elapsed_time(self, end: Any) -> float:
            return float(stream.index(f"event {end.name}") - stream.index(f"event {self.name}"))

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: stream.append("synchronise"))
    one = CudaEvents(
        SideFacts(), lambda n: stream.append(f"run {n}"), torch.inference_mode, lambda n: stream.append(f"feed {n}")
    )
    times = one.turn(2, warm_up_ms=0, least_warm_up=1)
    assert stream == [
        *("feed 0", "run 0", "synchronise"),
        *("feed 0", "event 1", "run 0", "event 2"),
        *("feed 1", "event 3", "run 1", "event 4"),
        "synchronise",
    ]
    assert times == [2.0, 2.0]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TargetError("there is no CUDA", got="nothing"), "there is no CUDA (got nothing)"),
        (TargetError("there is no CUDA"), "there is no CUDA"),
        (RuntimeError("\n  first line\nsecond"), "RuntimeError: first line"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_problem_is_one_sentence(error: Exception, sentence: str) -> None:
    assert in_one_sentence(error) == sentence

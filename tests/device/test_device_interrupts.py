"""Ctrl-C while TensorRT builds: no exception may leave a callback, and nothing else is disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated_device import ADA, NANO, NEWEST, PASCAL, simulated
from small_int8 import write_detector

from hardnet_deploy.device import run_engine


@pytest.fixture(autouse=True)
def pythons_own_handler() -> Iterator[None]:
    """A process that was started in the background ignores Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals are the main thread's, and this test runs in another")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("device", [NANO, PASCAL, ADA, NEWEST])
def test_ctrl_c_while_tensorrt_builds_is_raised_after_it_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: tuple[str, str]
) -> None:
    write_detector(tmp_path / "a.onnx")
    inside = []

    def pressed(*_given: Any) -> None:
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            os.kill(os.getpid(), signal.SIGINT)
            inside.append("no exception left the callback")

    with simulated(monkeypatch, *device) as here:
        monitored = hasattr(here.trt, "IProgressMonitor")
        options: dict[str, Any] = {"progress": pressed} if monitored else {}
        if not monitored:
            serialized = here.trt.Builder.build_serialized_network

            def building(*given: Any) -> Any:
                pressed()
                return serialized(*given)

            monkeypatch.setattr(here.trt.Builder, "build_serialized_network", building)
        with pytest.raises(KeyboardInterrupt):
            run_engine.build(here.trt, (tmp_path / "a.onnx").read_bytes(), {}, **options)
    assert inside
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_on_a_device_whose_builder_cannot_be_stopped_ctrl_c_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_detector(tmp_path / "a.onnx")
    building, handlers = run_engine.build, []

    def build(*given: Any, **more: Any) -> Any:
        handlers.append(signal.getsignal(signal.SIGINT))
        return building(*given, **more)

    monkeypatch.setattr(run_engine, "build", build)
    for device in (NANO, ADA):
        with simulated(monkeypatch, *device):
            assert run_engine.main(["build", str(tmp_path / "a.onnx")]) == 0
    assert handlers == [signal.SIG_DFL, signal.default_int_handler]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_build_in_another_thread_or_under_another_handler_leaves_signals_alone() -> None:
    seen = []

    def look() -> None:
        with run_engine._on_interrupt(signal.SIG_DFL):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
    program = (
        "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with runpy.run_path(sys.argv[1], run_name='device')['_on_interrupt'](signal.SIG_DFL):\n"
        "    print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, run_engine.__file__], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"

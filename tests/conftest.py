"""What every test may rely on: no network, no random state left behind, two threads, skips that give a reason."""

from __future__ import annotations

import importlib.util
import os
import random
import socket
from collections.abc import Iterator
from functools import cache
from typing import Any, NoReturn

THREADS = 2

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, str(THREADS))  # read once, when the libraries below load

import numpy as np  # noqa: E402 - after the thread limits, which numpy and torch read at import
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(THREADS)

_INTERNET = (socket.AF_INET, socket.AF_INET6)


@cache
def _reason_no_cuda() -> str | None:
    return None if torch.cuda.is_available() else "needs an NVIDIA GPU that torch can use; there is none here"


@cache
def _reason_no_tensorrt() -> str | None:
    if importlib.util.find_spec("tensorrt") is None:
        return "needs the tensorrt package; it is not installed here"
    return _reason_no_cuda()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason, what this machine cannot run."""
    for marker, reason_to_skip in (("needs_cuda", _reason_no_cuda), ("needs_tensorrt", _reason_no_tensorrt)):
        if item.get_closest_marker(marker) is not None:
            reason = reason_to_skip()
            if reason is not None:
                pytest.skip(reason)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that opens an internet connection fails; sockets of the same machine's file system work."""

    def refuse(what: object) -> NoReturn:
        pytest.fail(f"a test tried to reach the network: {what}")

    def guard(method: str) -> Any:
        original = getattr(socket.socket, method)

        def guarded(self: socket.socket, *arguments: Any) -> Any:
            return refuse(arguments[-1]) if self.family in _INTERNET else original(self, *arguments)

        return guarded

    for method in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, method, guard(method))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_options: refuse(arguments))


@pytest.fixture(autouse=True)
def no_leaking_random_state() -> Iterator[None]:
    """The global generators are after a test what they were before: the order of tests never matters."""
    numpy_state = np.random.get_state()  # noqa: NPY002 - the legacy global state is what must not leak
    python_state, torch_state = random.getstate(), torch.get_rng_state()
    yield
    np.random.set_state(numpy_state)  # noqa: NPY002 - as above
    random.setstate(python_state)
    torch.set_rng_state(torch_state)


@pytest.fixture(autouse=True)
def no_leaking_threads() -> Iterator[None]:
    """Code that sets the number of threads of its own process, as a timed side does, leaves the next test's alone."""
    yield
    if torch.get_num_threads() != THREADS:
        torch.set_num_threads(THREADS)

from __future__ import annotations

import random
import socket

import numpy as np
import pytest
import torch


def test_the_network_is_out_of_reach() -> None:
    with pytest.raises(pytest.fail.Exception, match="reach the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    with pytest.raises(pytest.fail.Exception, match="reach the network"):
        socket.getaddrinfo("localhost", 80)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        pytest.raises(pytest.fail.Exception, match="reach the network"),
    ):
        datagram.sendto(b"", ("192.0.2.1", 80))


def test_sockets_of_this_machine_work() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"x")
        assert right.recv(1) == b"x"


_SEEN: list[tuple[float, float, float]] = []


@pytest.mark.parametrize("_round", [1, 2])
def test_random_draws_do_not_leak_into_the_next_test(_round: int) -> None:
    # Both rounds start from the same global states, so they draw the same numbers.
    _SEEN.append((random.random(), float(np.random.rand()), float(torch.rand(1))))  # noqa: NPY002 - the legacy state is meant
    assert len(set(_SEEN)) == 1


def test_torch_uses_two_threads() -> None:
    assert torch.get_num_threads() == 2


@pytest.mark.needs_cuda
def test_needs_cuda_runs_only_with_a_gpu() -> None:
    assert torch.cuda.is_available()


@pytest.mark.needs_tensorrt
def test_needs_tensorrt_runs_only_with_the_package_and_a_gpu() -> None:
    import tensorrt

    assert tensorrt.__version__
    assert torch.cuda.is_available()

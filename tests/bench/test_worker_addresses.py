"""Every loading of a worker has memory at addresses of its own, though all are forked from one process."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORKS = 6
SCRIPT = """
import contextlib, ctypes, mmap, os, sys
from hardnet_deploy.bench.worker import _moved

malloc = ctypes.CDLL(None).malloc
malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
for _ in range({forks}):
    if os.fork() == 0:
        with {context}:
            large = mmap.mmap(-1, 2**24)
            heap = [malloc(100_000) for _ in range(40)][-1]  # what was free before is used up first
            print(heap, ctypes.addressof(ctypes.c_char.from_buffer(large)), flush=True)
            os._exit(0)
    os.wait()
"""


def addresses(context: str) -> list[tuple[str, ...]]:
    """Of the heap and of a mapping, in each fork."""
    script = SCRIPT.format(forks=FORKS, context=context)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    assert len(found) == FORKS
    return list(zip(*found, strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="forks and heaps of Linux")
def test_forks_lie_elsewhere_in_heap_and_mappings() -> None:
    heap, mapping = addresses("_moved()")
    assert len(set(heap)) > 1
    assert len(set(mapping)) > 1
    plain_heap, plain_mapping = addresses("contextlib.nullcontext()")
    assert len(set(plain_heap)) == len(set(plain_mapping)) == 1  # what it is there for

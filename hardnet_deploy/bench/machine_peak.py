# ruff: noqa: TID253  (this module is onnx and onnxruntime code; whoever imports it wants both)
"""Peaks of this machine's CPU, measured: a large matrix product and a large copy, in ONNX Runtime and PyTorch.

The best of several runs is taken: a peak is what the machine can do, not what it does on average. On a shared machine
it is what it could do just then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hardnet_deploy.bench.peaks import Device, Peak

SIDE: Final = 768
"""Of the square matrices: 128 operations a byte in FP32, so that arithmetic is the bound; a product takes some
milliseconds, so that on a busy machine some of them run undisturbed."""
COPY_BYTES: Final = 64 << 20
"""With what is written twice that: more than caches hold."""
SECONDS: Final = 1.5
"""For each measurement; the best run of it counts."""
LEAST_RUNS: Final = 5
Progress = Callable[[int, int], None]


def measure_cpu(*, threads: int, progress: Progress | None = None) -> Device:
    """Measure the peaks of this machine's CPU.

    Args:
        threads: Of each measurement.
        progress: Told (measurements done, measurements).
    """
    told = progress or (lambda _done, _total: None)
    told(0, 3)
    fp32 = max(_matmul_ort(threads), _matmul_torch(threads))
    told(1, 3)
    int8 = _matmul_integer(threads)
    told(2, 3)
    bandwidth = _copy(threads)
    told(3, 3)
    cores = f"{threads} thread{'s' if threads > 1 else ''}"
    copied = f"copy of {COPY_BYTES >> 20} MiB, read and written, {cores}"
    sides = f"{SIDE} x {SIDE} matrices, best run within {SECONDS:g} s, {cores}"
    return Device(
        name="here",
        title="this machine's CPU, measured",
        by_precision={
            "fp32": Peak(
                flops=fp32,
                bandwidth=bandwidth,
                source=f"measured here: the faster of PyTorch's and ONNX Runtime's MatMul on {sides}; {copied}",
            ),
            "int8": Peak(
                flops=int8,
                bandwidth=bandwidth,
                source=f"measured here: ONNX Runtime's MatMulInteger (uint8 x int8) on {sides}; {copied}",
            ),
        },
    )


def _best(run: Callable[[], object]) -> float:
    """Shortest time of a run, in seconds."""
    run()
    found: list[float] = []
    while len(found) < LEAST_RUNS or sum(found) < SECONDS:
        began = time.perf_counter()
        run()
        found.append(time.perf_counter() - began)
    return min(found)


def _rate(run: Callable[[], object]) -> float:
    return 2 * SIDE**3 / _best(run)


def _matmul_ort(threads: int) -> float:
    draw = np.random.default_rng(0)
    matrices = [draw.standard_normal((SIDE, SIDE), dtype=np.float32) for _ in range(2)]
    return _rate(_product("MatMul", matrices[0], matrices[1], TensorProto.FLOAT, threads))


def _matmul_integer(threads: int) -> float:
    draw = np.random.default_rng(0)
    left = draw.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
    right = draw.integers(-64, 64, (SIDE, SIDE)).astype(np.int8)
    return _rate(_product("MatMulInteger", left, right, TensorProto.INT32, threads))


def _product(
    operator: str, left: NDArray[np.generic], right: NDArray[np.generic], result: int, threads: int
) -> Callable[[], object]:
    """A run of ``left`` times the constant ``right``, which an engine packs once as it does weights."""
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        operator,
        [helper.make_tensor_value_info("left", helper.np_dtype_to_tensor_dtype(left.dtype), [SIDE, SIDE])],
        [helper.make_tensor_value_info("product", result, [SIDE, SIDE])],
        initializer=[numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    return lambda: session.run(None, {"left": left})


def _matmul_torch(threads: int) -> float:
    import torch

    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(SIDE, SIDE, generator=generator) for _ in range(2))
    product = torch.empty(SIDE, SIDE)
    return _with_threads(threads, lambda: _rate(lambda: torch.mm(left, right, out=product)))


def _copy(threads: int) -> float:
    """Bytes a second, those read and those written; what the CPU reads before it writes is not counted."""
    import torch

    source, target = (torch.zeros(COPY_BYTES, dtype=torch.uint8) for _ in range(2))
    return _with_threads(threads, lambda: 2 * COPY_BYTES / _best(lambda: target.copy_(source)))


def _with_threads(threads: int, measure: Callable[[], float]) -> float:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return measure()
    finally:
        torch.set_num_threads(before)

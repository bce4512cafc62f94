"""What ``benchmarks/gpu.py`` holds times against: measured peaks, and the roofline's bound at them."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from hardnet_deploy.bench.network_size import layer_work
from hardnet_deploy.bench.rival_table import is_rival
from hardnet_deploy.bench.rivals import own_network
from hardnet_deploy.bench.sides import BF16, FP16, TF32, Device, Side
from hardnet_deploy.bench.torch_precision import float32_mode
from hardnet_deploy.models import registry

MATRIX = {"cuda": 8192, "cpu": 512}
COPY_BYTES = {"cuda": 2**30, "cpu": 2**24}
ARITHMETIC: dict[str, tuple[torch.dtype, bool]] = {"fp32": (torch.float32, False), "tf32": (torch.float32, True)}
ARITHMETIC |= {"fp16": (torch.float16, False), "bf16": (torch.bfloat16, False)}
PEAK_RUNS = 5


def peaks(device: Device) -> dict[str, float]:
    """Operations a second by arithmetic, and ``bandwidth`` in bytes a second, read and written; best of five runs."""
    count = MATRIX[device]
    found = {}
    for name, (dtype, tf32) in ARITHMETIC.items():
        a, b = (torch.randn(count, count, device=device).to(dtype) for _ in range(2))
        with float32_mode(tf32=tf32):
            found[name] = 2 * count**3 / _seconds(partial(torch.matmul, a, b), device)
    source = torch.empty(COPY_BYTES[device], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    found["bandwidth"] = 2 * COPY_BYTES[device] / _seconds(partial(target.copy_, source), device)
    return found


def _seconds(run: Callable[[], Any], device: Device) -> float:
    def synchronise() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    times = []
    for _ in range(PEAK_RUNS + 3):
        synchronise()
        began = time.perf_counter()
        run()
        synchronise()
        times.append(time.perf_counter() - began)
    return min(times[3:])


def bound_ms(side: Side, measured: dict[str, float]) -> float:
    """The roofline's bound for a side's convolutions and linear layers, in milliseconds."""
    with torch.device("meta"):  # shapes alone count
        network = own_network(side.network) if is_rival(side.network) else registry.build(side.network, device="meta")
    network.eval()
    arithmetic = next((name for name in (FP16, BF16, TF32) if name in side.options), "fp32")
    bytes_each = 2 if arithmetic in {FP16, BF16} else 4
    peak, bandwidth = measured[arithmetic], measured["bandwidth"]
    return 1e3 * sum(
        max(2 * layer.macs * side.batch / peak, layer.elements * bytes_each / bandwidth)
        for layer in layer_work(network, side.size)
    )

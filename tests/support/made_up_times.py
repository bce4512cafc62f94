"""Documents of timings that never were, and a folder with a document of every kind: every figure is made up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from made_up_runs import MODEL, STATE, artifact, digest_of, evaluation, parity, save, sensitivity

from hardnet_deploy.bench.stats import summarise
from hardnet_deploy.device.run_engine import summarise as device_figures
from hardnet_deploy.kit.labels import label_of

ROUNDS = 6
FACTORS = (0.97, 0.99, 0.995, 1, 1, 1, 1, 1.005, 1.01, 1.05)
RUNS = 60
RESNET, RESNET_MS = "ResNet-50", 31.0
MACHINE = "Made-up CPU, 2 threads"
IMAGES = "made-up:val, first 16 of 60 images"
RANDOM: dict[str, Any] = {"input": "uniform random 8-bit pixels, pre-processed"}


def times(median: float) -> list[list[float]]:
    """Milliseconds of every run, by round: the same in each round, and as many above the median as below."""
    return [[round(median * one, 6) for one in FACTORS] for _ in range(ROUNDS)]


def measured(median: float, **changes: Any) -> dict[str, Any]:
    """The figures of a row of these times."""
    return {**summarise(times(median)).as_dict(), "stable": True, **changes}


def bench_row(name: str, median: float, *, eager: float = 40.0, **changes: Any) -> dict[str, Any]:
    """One engine, ``eager / median`` times as fast as PyTorch."""
    gain = eager / median
    given = changes.get("gain_over_eager")
    if given:  # of some rounds alone, so that it need not follow from the times
        changes["gain_over_eager"] = {"rounds": ROUNDS - 1, **given}
    to = changes.get("ratio_to_reference")
    if to and to["measured"]:
        changes["ratio_to_reference"] = {**to, "measured": {"rounds": ROUNDS - 1, **to["measured"]}}
    return {
        "key": f"{MODEL}/{name}",
        "network": MODEL,
        "title": "SSD300 made up",
        "engine": name,
        "boundary": "network+NMS",
        "boundary_text": "from the input tensor to the detections",
        "size": 300,
        "batch": 1,
        "input": "16 images in turn",
        "device": "cpu",
        "provenance": "measured here",
        "published": None,
        "measured": measured(median),
        "rounds_ms": times(median),
        "ratio_to_reference": None,
        "gain_over_eager": {"ratio": gain, "low": gain * 0.95, "high": gain * 1.05, "rounds": ROUNDS - 1},
        "artifact": {"file": name, "sha256": digest_of(name)},
        "source": "hardnet-deploy's own definition",
        "trained": True,
        "parameters": 1_000_000,
        "macs": 2_000_000,
        "notes": [],
        **changes,
    }


def eager_row(median: float = 40.0, **changes: Any) -> dict[str, Any]:
    """PyTorch as it is, which gains are over."""
    of_weights = {"artifact": {"file": None, "sha256": STATE}, "gain_over_eager": None}
    return bench_row("eager", median, **{**of_weights, **changes})


def imported_row(name: str, median: float, label: str, **changes: Any) -> dict[str, Any]:
    """A row that a device has measured, as ``bench --results`` takes it over."""
    none = dict.fromkeys(("boundary", "size", "batch", "rounds_ms", "gain_over_eager"))
    return bench_row(name, median, **{"key": f"imported/{name}", "provenance": label, **none, **changes})


def published_row(network: str, ms: float, measured_ratio: float | None = None) -> dict[str, Any]:
    """A row of the published table; not timed here unless ``measured_ratio`` says its ratio to ResNet-50."""
    value = measured_ratio
    spread = None if value is None else {"ratio": value, "low": value * 0.97, "high": value * 1.03}
    to = {"reference": f"{RESNET}/eager", "published": ms / RESNET_MS, "measured": spread}
    changes: dict[str, Any] = {
        "title": network,
        "network": network,
        "key": f"{network}/eager",
        "boundary": "network",
        "published": {"ms": ms, "device": "GTX 1080 Ti", "runtime": "PyTorch 1.1.0", "source": "a README"},
        "ratio_to_reference": None if network == RESNET else to,
        "artifact": None,
        "gain_over_eager": None,
    }
    if value is None:
        changes |= {"provenance": "not reproducible here (no NVIDIA GPU)", "measured": None, "rounds_ms": None}
    return bench_row("eager", 31.0 * (value or 1.0), **changes)


def bench(rows: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A finished run of ``rows``, with PyTorch's beside them where they hold none.

    Without a row of ResNet-50 nothing has a ratio to it.
    """
    if not any(row["network"] == RESNET for row in rows):
        rows = [row if row["published"] is None else {**row, "ratio_to_reference": None} for row in rows]
    has_eager = not rows or any(row["key"] == f"{MODEL}/eager" for row in rows)
    return {
        "schema": 1,
        "kind": "bench",
        "date": "2026-11-21T12:00:00+00:00",
        "command": ["hardnet-deploy", "bench", "int8.onnx", "--quick"],
        "machine": MACHINE,
        "protocol": {
            "name": "made-up",
            "size": 300,
            "batch": 1,
            "boundaries": ["network+NMS"],
            "data": IMAGES,
            "statistic": "median",
            "iterations": RUNS,
            "iterations_published": 300,
            "rounds": ROUNDS,
            "method": "each engine in turn",
            "stability": "medians of the last 3 rounds within 10 % of each other",
        },
        "finished": True,
        "conditions": {"cpu": {"model": "Made-up CPU"}, "threads": 2, "throttled": None, "load": [0.1, 0.2]},
        "rows": rows if has_eager else [eager_row(), *rows],
        **changes,
    }


def profile(name: str, **changes: Any) -> dict[str, Any]:
    layers = [
        {"name": layer, "module": module, "group": group, "op": "Conv", "ms": ms, "percent": 10 * ms, "calls": 1}
        for layer, module, group, ms in (
            ("base.0.conv", "base.0", "stem", 2.0),
            ("base.1.conv", "base.1", "HarDBlock 1", 7.0),
            ("nms.selected", "nms", "NMS", 1.0),
        )
    ]
    return {
        "schema": 1,
        "kind": "profile",
        "command": ["hardnet-deploy", "profile", name],
        "engine": {"label": name, "sha256": digest_of(name)},
        "layers": layers,
        "groups": [{"group": one["group"], "ms": one["ms"], "percent": one["percent"]} for one in layers],
        "accounted_percent": 97.5,
        "runs": 30,
        "run_ms": 10.3,
        "provenance": "measured here",
        "lints": [{"rule": "channels-8", "layers": ["base.0.conv"], "message": "an odd width", "action": "widen it"}],
        **changes,
    }


def roofline(name: str, **changes: Any) -> dict[str, Any]:
    layers = [
        {
            "name": layer,
            "module": layer,
            "group": "stem",
            "flops": flops,
            "bytes": size,
            "intensity": flops / size,
            "bound_ms": 0.4,
            "bound_by": bound,
            "measured_ms": measured,
            "share": 0.5 if measured else None,
        }
        for layer, flops, size, bound, measured in (
            ("base.0.conv", 2e7, 1e7, "memory", 0.8),
            ("base.1.conv", 4e8, 2e6, "arithmetic", None),
        )
    ]
    peak = {"flops": 1e11, "bandwidth": 1e10, "source": "a made-up data sheet"}
    target = {"target": "cpu", "precision": "fp32", "peak": peak, "bound_ms": 1.2, "layers": layers}
    return {"schema": 1, "kind": "roofline", "model": MODEL, "sha256": digest_of(name), "targets": [target], **changes}


def device_timing(median: float) -> dict[str, Any]:
    """Raw times of a device, steady around ``median`` ms, and the figures that follow from them."""
    raw = [round(median * one, 6) for one in FACTORS]
    return {
        **device_figures(raw),
        "runs": len(raw),
        "boundary": "network+NMS",
        "inputs": "1x300x300",
        "protocol": {},
        "conditions": None,
        "gpu_compute_ms": raw,
    }


def device_parity(*failures: str) -> dict[str, Any]:
    """What a device found when it ran a kit's samples."""
    counts = {"samples": 20, "matched": 300, "missing": 0, "extra": 0}
    worst = {"worst_iou": 0.98, "worst_score_difference": 0.01}
    return {"passed": not failures, "failures": list(failures), **counts, **worst, "tolerances": {}}


def device_row(**changes: Any) -> dict[str, Any]:
    """A row as ``import-report`` stores it; hashes that are not given are not known."""
    device = changes.get("device", "Made-up Nano")
    label, simulated = label_of(device, "8.2.1", "2026-11-21")
    hashes = {"kit": None, "onnx": None, "engine": "a" * 64, "file": "b" * 64, **changes.pop("sha256", {})}
    return {
        "id": "1" * 64,
        "label": label,
        "source": "device report",
        "simulated": simulated,
        "model": MODEL,
        "trained": True,
        "target": "jetson-nano",
        "device": device,
        "compute_capability": None,
        "power_mode": "MAXN",
        "tensorrt": "8.2.1",
        "date": "2026-11-21",
        "precision": "fp16",
        "layers": None,
        "timing": device_timing(45.0),
        "parity": device_parity(),
        "profile": None,
        "sha256": hashes,
        "not_in_file": [],
        "notes": [],
        **changes,
    }


def device_results(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schema": 1, "kind": "device-results", "rows": rows}


def everything(folder: Path) -> Path:
    """A folder with a document of every kind: INT8 passes, the fast one fails, the float graph is the slow choice."""
    for name, precision in (("int8.onnx", "int8"), ("float.onnx", "fp32"), ("reckless.onnx", "int8")):
        artifact(folder, name, precision=precision)
    save(folder / "int8.parity.json", parity("int8.onnx"))
    save(folder / "float.parity.json", parity("float.onnx", drop=0.0, half_width=0.0))
    save(folder / "reckless.parity.json", parity("reckless.onnx", drop=0.2))
    save(folder / "int8.evaluation.json", evaluation("int8.onnx"))
    save(folder / "float.sensitivity.json", sensitivity("float.onnx"))
    rows = [
        eager_row(),
        bench_row("int8.onnx", 10.0),
        bench_row("float.onnx", 25.0),
        bench_row("reckless.onnx", 5.0),
        published_row(RESNET, RESNET_MS, 1.0),
        published_row("HarDNet68", 22.5, 0.75),
        published_row("VGG-16", 49.0),
    ]
    save(folder / "bench.json", bench(rows))
    save(folder / "int8.profile.json", profile("int8.onnx"))
    save(folder / "float.roofline.json", roofline("float.onnx"))
    save(folder / "devices.json", device_results([device_row()]))
    return folder

"""The tables of the INT8 results as Markdown, for the README: ``python benchmarks/int8_tables.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def load(name: str) -> dict[str, Any]:
    """One results file."""
    return dict(json.loads((RESULTS / name).read_text()))


def accuracy(result: dict[str, Any], cost: dict[str, Any]) -> str:
    """What each row keeps, and what it costs where that was timed."""
    lines = [
        "| INT8 | mAP | kept | at least (95 %) | INT8 arithmetic | times faster than FP32 |",
        "|---|---|---|---|---|---|",
    ]
    lines.append(f"| FP32, ONNX Runtime | {result['fp32_mAP']:.4f} | | | | 1.0x |")
    for row in result["rows"]:
        ratio = cost["times_faster_than_fp32"].get(row["row"])
        faster = "" if ratio is None else f"{ratio:.1f}x"
        lines.append(
            f"| {row['row']} | {row['mAP']:.4f} | {100 * row['kept']:.2f} % | {100 * row['kept_at_least_95']:.2f} % "
            f"| {100 * row['macs_in_int8']:.0f} % | {faster} |"
        )
    return "\n".join(lines)


def speed(result: dict[str, Any]) -> str:
    """Median of every side, fastest first."""
    lines = ["| | median | times faster than ONNX Runtime FP32 | than PyTorch eager |", "|---|---|---|---|"]
    for row in result["rows"]:
        bold = "**" if row["side"].startswith("ours") else ""
        lines.append(
            f"| {bold}{row['side']}{bold} | {row['median_ms']:.0f} ms | "
            f"{row['times_faster_than_onnxruntime_fp32']:.2f} | {row['times_faster_than_pytorch_eager']:.2f} |"
        )
    return "\n".join(lines)


def peer(result: dict[str, Any]) -> str:
    """What ONNX Runtime's own quantiser keeps."""
    lines = ["| | quantised by | kept | 95 % interval |", "|---|---|---|---|"]
    for row in result["rows"]:
        low, high = row["kept_interval_95"]
        interval = f"{100 * low:.2f} to {100 * high:.2f} %"
        lines.append(f"| {row['row']} | {row['quantiser']} | {100 * row['kept']:.2f} % | {interval} |")
    return "\n".join(lines)


def cost(result: dict[str, Any]) -> str:
    """Time and memory of calibration."""
    lines = ["| calibration | images | time of the plain forward | peak memory |", "|---|---|---|---|"]
    for name, runs in result["runs"].items():
        ratio = result["times_the_forward"][name]
        lines.append(f"| {name} | {int(runs[0]['images'])} | {ratio:.2f} x | {runs[0]['peak_mib'] / 1024:.2f} GiB |")
    many = result["long_run"]
    ratio = result["long_run_times_the_forward"]
    lines.append(f"| ours | {int(many['images'])} | {ratio:.2f} x | {many['peak_mib'] / 1024:.2f} GiB |")
    return "\n".join(lines)


def main() -> None:
    """Print all of them."""
    tables = (
        accuracy(load("int8_accuracy.json"), load("int8_cost.json")),
        peer(load("int8_peer.json")),
        speed(load("int8_speed.json")),
        cost(load("calibration_cost.json")),
    )
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()

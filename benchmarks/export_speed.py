"""How long a verified export takes beside torch.onnx.export alone, and how much memory, in one run.

Each side is a process of its own, in turn, so that a drift of the machine hits both. Run:

    python benchmarks/export_speed.py --rounds 5 --save benchmarks/results/export_speed.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import conditions

MODEL = "ssd512-hardnet68-coco"
SIDES = ("ours", "torch")


def ours(folder: Path) -> float:
    """Seconds of ``export --fuse-bn``: model, folding and its proof, graph, checks, comparison with PyTorch, saving."""
    for module in ("onnxruntime", "fusion.verify", "hardnet_deploy.export.onnx_export"):
        importlib.import_module(module)  # before the clock starts, as on the other side
    from hardnet_deploy.workflows.export import run_export
    from hardnet_deploy.workflows.export_options import ExportRequest

    start = time.perf_counter()
    result = run_export(ExportRequest(model=MODEL, output=folder / "ours.onnx"), lambda *_: None)
    seconds = time.perf_counter() - start
    assert result.verification.ok
    return seconds


def torch_alone(folder: Path) -> float:
    """Seconds of ``torch.onnx.export(dynamo=True)`` of the same network, and saving; nothing is checked."""
    import torch

    from hardnet_deploy.models import registry
    from hardnet_deploy.models.initialise import initialise

    spec = registry.get(MODEL)
    model = registry.build(spec)
    initialise(model, preprocess=spec.preprocess)
    images = torch.zeros(1, 3, spec.preprocess.size, spec.preprocess.size)
    # What the exporter imports on its first use is not part of its time, as our imports are not part of ours.
    torch.onnx.export(torch.nn.Linear(1, 1), (torch.zeros(1, 1),), dynamo=True, opset_version=18, verbose=False)
    start = time.perf_counter()
    program = torch.onnx.export(model, (images,), dynamo=True, opset_version=18, verbose=False)
    assert program is not None
    program.save(str(folder / "torch.onnx"))
    return time.perf_counter() - start


def measure(side: str) -> dict[str, float]:
    """One run in a fresh process."""
    done = subprocess.run([sys.executable, __file__, "--side", side], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", type=Path)
    parser.add_argument("--side", choices=SIDES, help="internal: measure one side in this process")
    options = parser.parse_args()
    if options.side:
        with tempfile.TemporaryDirectory() as folder:
            seconds = (ours if options.side == "ours" else torch_alone)(Path(folder))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mib": peak}))
        return
    rounds = []
    for number in range(options.rounds):
        rounds.append({side: measure(side) for side in SIDES})
        row = rounds[-1]
        print(
            f"round {number + 1}: ours {row['ours']['seconds']:.1f} s, torch {row['torch']['seconds']:.1f} s",
            flush=True,
        )
    ratios = [row["ours"]["seconds"] / row["torch"]["seconds"] for row in rounds]
    result = {
        "what": f"verified export --fuse-bn of {MODEL} against torch.onnx.export(dynamo=True) alone",
        "boundary": "from the first line after imports to the file on disk; a process of its own each, in turn",
        "command": ["python", "benchmarks/export_speed.py", *sys.argv[1:]],
        "rounds": rounds,
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "ours_seconds_median": statistics.median(row["ours"]["seconds"] for row in rounds),
        "torch_seconds_median": statistics.median(row["torch"]["seconds"] for row in rounds),
        "ours_peak_mib": max(row["ours"]["peak_mib"] for row in rounds),
        "torch_peak_mib": max(row["torch"]["peak_mib"] for row in rounds),
        "bars": {"ratio": 3.0, "peak_mib": 3072},
        "machine": conditions(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.save:
        options.save.write_text(text + "\n")


if __name__ == "__main__":
    main()

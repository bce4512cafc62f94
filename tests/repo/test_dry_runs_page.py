"""docs/tensorrt-dry-runs.md is what build-engine says today, whatever machine reads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tensorrt-dry-runs.md"


def test_the_page_is_what_is_printed() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "dry_runs.py")]
    environment = {**os.environ, "COLUMNS": "40", "PYTHONPATH": str(ROOT)}  # neither is to matter
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=True)
    assert done.stdout == PAGE.read_text(encoding="utf-8"), "python benchmarks/dry_runs.py > docs/tensorrt-dry-runs.md"


def test_every_refusal_of_the_preflight_is_on_it() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    for sentence in (
        "does not take ONNX opset 17",
        "TensorRT 8.0.1.6 is too old",
        "has no plugin EfficientNMS_TRT",
        "too little free memory and swap",
        "too little free disk",
        "Unsupported SM: 0x601",
        "QuantizeLinear and DequantizeLinear, which do not build",
        "has no hardware for int8",
        "fp16 runs on target 'gtx-1080ti' but is not faster",
    ):
        assert sentence in text, sentence
    assert "Traceback" not in text
    assert "failed unexpectedly" not in text

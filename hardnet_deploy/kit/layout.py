"""Names of a kit's files, and its limits; ``device/run_engine.py`` reads the same names."""

from __future__ import annotations

from typing import Final

MODEL: Final = "model.onnx"
MANIFEST: Final = "model.onnx.json"
CACHE: Final = "model.cache"
RANGES: Final = "model.ranges.json"
RUNNER: Final = "run_engine.py"
README: Final = "README.md"
KIT: Final = "kit.json"
INPUTS: Final = "samples/inputs.npz"
REFERENCE: Final = "samples/reference.npz"
REPORT: Final = "report.json"

SCHEMA: Final = 2
"""From 2 on it has the board's compute capability and what each layer is asked for."""
KIND: Final = "kit"
MEGABYTE: Final = 1_000_000
BEYOND_MODEL: Final = 25 * MEGABYTE
"""Bytes that a kit may have beside its ONNX file."""

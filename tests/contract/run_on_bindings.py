"""Run what of the device file runs over stub libraries, on a release's own bindings: in a process of its own.

``python run_on_bindings.py FOLDER RUN_ENGINE`` writes one JSON document. The stubs answer every question with nothing,
so that TensorRT's factories fail as they do without a driver.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
from typing import Any


def results(run_engine: Any, trt: Any) -> dict[str, Any]:
    """What each part of the device file makes of the real module."""
    return {
        "family": run_engine.family(trt),
        "cache_header": run_engine.cache_header(trt),
        "data_types": [
            run_engine.numpy_dtype(trt, each) for each in (trt.DataType.FLOAT, trt.DataType.HALF, trt.int32)
        ],
        "logger": _logger(run_engine, trt),
        "calibrator": _calibrator(run_engine, trt) if hasattr(trt, "IInt8EntropyCalibrator2") else None,
        "monitor": _monitor(run_engine, trt) if hasattr(trt, "IProgressMonitor") else None,
        "flags": [name for name in ("FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS") if hasattr(trt.BuilderFlag, name)],
        "build": _build(run_engine, trt),
    }


def _logger(run_engine: Any, trt: Any) -> list[str]:
    logger = run_engine._logger(trt)
    assert isinstance(logger, trt.ILogger)
    logger.log(trt.Logger.WARNING, "a warning")
    logger.log(trt.Logger.VERBOSE, "nothing of interest")
    assert run_engine._logger(trt) is logger
    return list(logger.lines)


def _calibrator(run_engine: Any, trt: Any) -> list[Any]:
    calibrator = run_engine._calibrator(trt, b"a cache", 1)
    assert isinstance(calibrator, trt.IInt8EntropyCalibrator2)
    cache, size = bytes(calibrator.read_calibration_cache()).decode(), calibrator.get_batch_size()
    return [cache, size, calibrator.get_batch(["images"]), calibrator.asked]


def _monitor(run_engine: Any, trt: Any) -> list[Any]:
    said: list[Any] = []
    monitor = run_engine._monitor(trt, lambda *step: said.append(step))
    assert isinstance(monitor, trt.IProgressMonitor)
    monitor.phase_start("Building", None, 1)
    assert monitor.step_complete("Building", 0)
    monitor.phase_finish("Building")
    return said


def _build(run_engine: Any, trt: Any) -> list[Any]:
    try:
        run_engine.build(trt, b"", {})
    except run_engine.EngineError as error:
        return [error.code, error.what]
    return []


def main(folder: str, device_file: str) -> None:
    """Write the results for the bindings in a folder."""
    sys.path.insert(0, folder)
    described = importlib.util.spec_from_file_location("run_engine", device_file)
    assert described is not None
    assert described.loader is not None
    run_engine = importlib.util.module_from_spec(described)
    sys.modules["run_engine"] = run_engine
    described.loader.exec_module(run_engine)
    sys.stdout.write(json.dumps(results(run_engine, importlib.import_module("tensorrt_bindings"))))


if __name__ == "__main__":
    main(*sys.argv[1:])

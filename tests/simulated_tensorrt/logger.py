"""Loggers, and the other classes that users derive from."""

import sys

from simulated_tensorrt.facts import ALGORITHMS
from simulated_tensorrt.surface import OPEN, make_enumeration

IMPLEMENTED = (
    "IInt8Calibrator",
    "IInt8EntropyCalibrator",
    "IInt8EntropyCalibrator2",
    "IInt8LegacyCalibrator",
    "IInt8MinMaxCalibrator",
    "ILogger",
    "IProfiler",
    "IProgressMonitor",
    "Logger",
    "Profiler",
)
SEVERITY = make_enumeration(
    "Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4}, arithmetic=True
)
LETTERS = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I", "VERBOSE": "V"}


def _pure(owner, name):
    def refuse(self, *_arguments):
        raise RuntimeError(f'Tried to call pure virtual function "{owner}::{name}"')

    return refuse


class _Open:
    _openness = OPEN

    def __init__(self):
        self._constructed = True


class ILogger(_Open):
    Severity = SEVERITY
    INTERNAL_ERROR = SEVERITY.INTERNAL_ERROR
    ERROR = SEVERITY.ERROR
    WARNING = SEVERITY.WARNING
    INFO = SEVERITY.INFO
    VERBOSE = SEVERITY.VERBOSE
    log = _pure("ILogger", "log")


class Logger(ILogger):
    """Writes what is at least as severe as asked to stderr."""

    def __init__(self, min_severity=SEVERITY.WARNING):
        self._constructed = True
        self._min_severity = min_severity

    @property
    def min_severity(self):
        return self._min_severity

    @min_severity.setter
    def min_severity(self, value):
        self._min_severity = value

    def log(self, severity, msg):
        if severity <= self._min_severity and self._env.switches["console"]:
            sys.stderr.write(f"[Simulated TRT] [{LETTERS[severity.name]}] {msg}\n")


class IInt8Calibrator(_Open):
    get_batch_size = _pure("IInt8Calibrator", "get_batch_size")
    get_batch = _pure("IInt8Calibrator", "get_batch")
    read_calibration_cache = _pure("IInt8Calibrator", "read_calibration_cache")
    write_calibration_cache = _pure("IInt8Calibrator", "write_calibration_cache")
    get_algorithm = _pure("IInt8Calibrator", "get_algorithm")


def _calibrator(name):
    def get_algorithm(self):
        return self._env.enumerator("CalibrationAlgoType", ALGORITHMS[name][0])

    return type(name, (IInt8Calibrator,), {"get_algorithm": get_algorithm, "_cache_name": ALGORITHMS[name][1]})


IInt8EntropyCalibrator = _calibrator("IInt8EntropyCalibrator")
IInt8EntropyCalibrator2 = _calibrator("IInt8EntropyCalibrator2")
IInt8LegacyCalibrator = _calibrator("IInt8LegacyCalibrator")
IInt8MinMaxCalibrator = _calibrator("IInt8MinMaxCalibrator")


class IProfiler(_Open):
    report_layer_time = _pure("IProfiler", "report_layer_time")


class Profiler(IProfiler):
    def report_layer_time(self, layer_name, ms):
        sys.stdout.write(f"{layer_name}: {ms}ms\n")


class IProgressMonitor(_Open):
    phase_start = _pure("IProgressMonitor", "phase_start")
    step_complete = _pure("IProgressMonitor", "step_complete")
    phase_finish = _pure("IProgressMonitor", "phase_finish")

#!/usr/bin/env python3
"""Build, run, check and time a TensorRT engine on the device itself: one file, to be copied alone.

Python 3.6 to current. Needs nothing to start; numpy, tensorrt and pycuda or libcudart are imported by what uses them.
Every difference between versions of TensorRT's Python API stands here, told apart by what the module has:

    8.2   IBuilderConfig.max_workspace_size, bindings, execute_async_v2      (Jetson Nano, JetPack 4.6.1)
    8.6   + memory pools, tensor names, execute_async_v3                     (GTX 1080 Ti)
    10    - bindings, + IProgressMonitor, STRONGLY_TYPED
    11    - precision flags, calibrators, dynamic ranges, EXPLICIT_BATCH: precision stands in the graph only

Sources: NVIDIA/TensorRT at tags 8.2.1, v8.6.1 and v11.1 (python/src, samples/common, plugin/efficientNMSPlugin), the
bindings of 8.6.1, 10.0.1 to 10.16.1 and 11.0 to 11.4, and onnx/onnx-tensorrt at 8.2-GA, 8.6-GA and 10.0-GA.

Sections: faults; versions; ONNX; calibration; build; CUDA; engine; images; detections; kit; timing; commands.
"""

import argparse
import contextlib
import ctypes
import ctypes.util
import hashlib
import json
import math
import os
import platform
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

USAGE, TARGET, UNREADABLE, PARITY, UNSTABLE, MISMATCH = 2, 3, 4, 5, 7, 8
SCHEMA = 1  # of a plan's manifest and of device-info
KIT_SCHEMA = 2  # with the board and what each layer is asked for
REPORT_SCHEMA = 2  # with what each layer was asked for and got; an output that no rule judges has passed null
MIB = 1024**2

Arrays = Dict[str, Any]
Shape = Tuple[int, ...]

# ------------------------------------------------------------------------------------------------------------- faults


class EngineError(Exception):
    """A fault that is the user's to act on.

    Args:
        what: One sentence.
        code: Exit code: 2 usage, 3 target or environment, 4 build failed or file unreadable, 5 parity, 7 timing
            unstable, 8 artifact and manifest disagree.
        next_step: The command or action that leads on.
        log: What TensorRT said, where it said something.
    """

    def __init__(self, what: str, code: int, next_step: Optional[str] = None, log: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.code = code
        self.next_step = next_step
        self.log = list(log)

    def __str__(self) -> str:
        return self.what + ("\n  next: " + self.next_step if self.next_step else "")

    def as_dict(self) -> Dict[str, Any]:
        """For ``--json``; the same keys as the host's errors."""
        return {
            "error": "EngineError",
            "what": self.what,
            "got": None,
            "wanted": None,
            "next": self.next_step,
            "exit_code": self.code,
        }


@contextlib.contextmanager
def _giving_back() -> Iterator[contextlib.ExitStack]:
    """What is registered is done at the end, all of it, whatever of it fails; the fault that came first is told."""
    rest = contextlib.ExitStack()
    try:
        yield rest
    except BaseException:
        with contextlib.suppress(EngineError):
            rest.close()
        raise
    rest.close()


# ----------------------------------------------------------------------------------------------------------- versions


def family(trt: Any) -> str:
    """The generation of an imported ``tensorrt`` module: ``8.2``, ``8.6``, ``10`` or ``11``.

    ``MemoryPoolType`` arrived in 8.4; ``IBuilderConfig.max_workspace_size`` left in 10, ``BuilderFlag.FP16`` in 11.

    Raises:
        AttributeError: It is no TensorRT module that has builders.
    """
    weighs = hasattr(trt.IBuilderConfig, "max_workspace_size")
    if not hasattr(trt, "MemoryPoolType"):
        if weighs:
            return "8.2"
        raise AttributeError(f"module '{trt.__name__}' has neither MemoryPoolType nor max_workspace_size")
    if weighs:
        return "8.6"
    return "10" if hasattr(trt.BuilderFlag, "FP16") else "11"


def plugin_names(trt: Any) -> Tuple[str, ...]:
    """Names of the plugins that TensorRT's own library registers, sorted.

    ``all_creators`` arrived in 10; ``plugin_creator_list`` left in 11.
    """
    trt.init_libnvinfer_plugins(trt.Logger(trt.Logger.ERROR), "")
    registry = trt.get_plugin_registry()
    creators = registry.all_creators if hasattr(registry, "all_creators") else registry.plugin_creator_list
    return tuple(sorted({creator.name for creator in creators}))


DATA_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "BOOL": "bool",
    "UINT8": "uint8",
    "INT64": "int64",
}


def numpy_dtype(trt: Any, data_type: Any) -> str:
    """NumPy's name of a ``tensorrt.DataType``; ``trt.nptype`` of 8.x fails where NumPy has no ``np.bool``.

    Raises:
        EngineError: NumPy has no such type.
    """
    for name, dtype in DATA_TYPES.items():
        if hasattr(trt.DataType, name) and getattr(trt.DataType, name) == data_type:
            return dtype
    raise EngineError(
        f"the engine has a tensor of type {data_type}, which NumPy does not know",
        TARGET,
        "export the graph with float32 inputs and outputs",
    )


_LOGGERS = {}  # type: Dict[Any, Any]


def _logger(trt: Any) -> Any:
    """The one logger of this process: TensorRT keeps a pointer to the first it is given."""
    if trt not in _LOGGERS:

        class Log(trt.ILogger):  # type: ignore[misc]  # a class of the module at hand
            """Keeps what is said; a listener's fault must not cross into C++."""

            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.lines = []  # type: List[str]
                self.listener = None  # type: Optional[Callable[[str, str], None]]

            def log(self, severity: Any, msg: str) -> None:
                name = getattr(severity, "name", str(severity).rpartition(".")[2])
                if name == "VERBOSE":
                    return
                self.lines.append(f"[{name}] {msg}")
                if self.listener is not None:
                    try:
                        self.listener(name, msg)
                    except Exception:  # noqa: BLE001 - an exception that leaves a callback ends the process
                        self.listener = None

        _LOGGERS[trt] = Log()
    return _LOGGERS[trt]


def _last_error(lines: Sequence[str]) -> str:
    errors = [line.partition("] ")[2] for line in lines if line.startswith(("[ERROR]", "[INTERNAL_ERROR]"))]
    telling = [text for text in errors if "Assertion engine" not in text] or errors  # 8.x adds this line to any failure
    return telling[-1].strip() if telling else "TensorRT gave no reason"


@contextlib.contextmanager
def _starting(logger: Any) -> Iterator[None]:
    """Tells what a builder or runtime that does not start means: without a driver its factory returns nothing."""
    start = len(logger.lines)
    try:
        yield
    except TypeError as error:  # pybind11's word for it
        raise EngineError(
            f"TensorRT cannot start: {_last_error(logger.lines[start:])}",
            TARGET,
            "check the NVIDIA driver: python3 run_engine.py info",
        ) from error


def _version_number(trt: Any) -> Tuple[int, int, int]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", str(trt.__version__))
    if not found:
        raise EngineError(f"TensorRT's version '{trt.__version__}' cannot be read", TARGET)
    return int(found.group(1)), int(found.group(2)), int(found.group(3))


# --------------------------------------------------------------------------------------------------------------- ONNX


class Node(NamedTuple):
    """One node of an ONNX graph."""

    name: str
    op: str
    outputs: Tuple[str, ...]
    inputs: Tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Its name, or its type and first output where it has none."""
        return self.name or "{} -> {}".format(self.op, next(iter(self.outputs), ""))


def onnx_nodes(content: bytes) -> List[Node]:
    """The nodes of an ONNX file, read without the onnx package; empty where it is no ONNX file.

    Protobuf: ``ModelProto.graph`` = 7, ``GraphProto.node`` = 1, ``NodeProto`` input 1, output 2, name 3,
    op_type 4.
    """
    try:
        graphs = [part for number, part in _fields(memoryview(content)) if number == 7]
        records = [list(_fields(part)) for graph in graphs for number, part in _fields(graph) if number == 1]
        texts = [
            [(number, bytes(part).decode()) for number, part in record if number in (1, 2, 3, 4)] for record in records
        ]
    except (ValueError, IndexError, TypeError):
        return []
    return [
        Node(
            name="".join(text for number, text in node if number == 3),
            op="".join(text for number, text in node if number == 4),
            outputs=tuple(text for number, text in node if number == 2),
            inputs=tuple(text for number, text in node if number == 1),
        )
        for node in texts
    ]


def _fields(view: Any) -> Iterator[Tuple[int, Any]]:
    """Length-delimited fields of a protobuf message, as (number, bytes); the others are passed over."""
    position = 0
    while position < len(view):
        key, position = _varint(view, position)
        kind = key & 7
        if kind == 0:
            _, position = _varint(view, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        elif kind == 2:
            length, position = _varint(view, position)
            if position + length > len(view):
                raise ValueError("cut short")
            yield key >> 3, view[position : position + length]
            position += length
        else:
            raise ValueError("no protobuf")


def _varint(view: Any, position: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7


# -------------------------------------------------------------------------------------------------------- calibration


def cache_header(trt: Any) -> str:
    """First line of the calibration cache that this TensorRT reads; it ignores a cache with another one.

    8.x counts ``major * 1000 + minor * 100 + patch``, 10.x ``major * 10000 + minor * 100 + patch``.
    """
    major, minor, patch = _version_number(trt)
    number = major * (1000 if major < 10 else 10000) + minor * 100 + patch
    return f"TRT-{number}-EntropyCalibration2"


def read_calibration_cache(content: bytes, header: str) -> Dict[str, float]:
    """Largest absolute value of each tensor: 127 times the cache's scale, which is a float32 in hexadecimal.

    Raises:
        EngineError: It is no cache, or one of another TensorRT version or calibrator.
    """
    lines = content.decode("utf-8", "replace").splitlines()
    again = "write it for this version: hardnet-deploy calibrate ... --tensorrt X.Y.Z"
    if not lines or not lines[0].startswith("TRT-"):
        raise EngineError(
            "the calibration cache is none: its first line is {!r}".format((lines or [""])[0][:40]), UNREADABLE, again
        )
    if lines[0].strip() != header:
        raise EngineError(
            f"the calibration cache starts with '{lines[0].strip()}', this TensorRT reads only '{header}' and would "
            "silently ignore it",
            MISMATCH,
            again,
        )
    ranges = {}
    for line in lines[1:]:
        name, colon, digits = line.rpartition(": ")
        if not colon or not re.match(r"[0-9a-fA-F]{1,8}$", digits.strip()):
            raise EngineError(
                f"the calibration cache has the line {line[:60]!r}, which is no tensor with its scale",
                UNREADABLE,
                again,
            )
        scale = struct.unpack(">f", struct.pack(">I", int(digits, 16)))[0]
        if not (math.isfinite(scale) and scale >= 0):
            raise EngineError(f"the calibration cache has no usable scale for '{name}'", UNREADABLE, again)
        ranges[name] = 127 * scale
    if not ranges:
        raise EngineError("the calibration cache names no tensor", UNREADABLE, again)
    return ranges


def _calibrator(trt: Any, cache: bytes, batch: int) -> Any:
    class CacheOnly(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]  # a class of the module at hand
        """Has a cache and no images; ``asked`` tells that TensorRT wanted images, so did not take the cache."""

        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)
            self.asked = False

        def get_batch_size(self) -> int:
            return batch

        def get_batch(self, names: Sequence[str]) -> None:
            self.asked = True

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, cache: Any) -> None:
            """The cache came from the host and stays as it is."""

    return CacheOnly()


# -------------------------------------------------------------------------------------------------------------- build

SETTINGS = {
    "precision": ("fp32", "fp32, fp16 or int8: builder flags; of a typed graph only what it is called"),
    "typed": (False, "True: strongly typed, the precision stands in the graph (10 and 11; always so in 11)"),
    "workspace_bytes": (None, "limit of the builder's workspace; None leaves TensorRT's own"),
    "calibration_cache": (None, "bytes of an Entropy2 cache of this very version (8.x and 10)"),
    "dynamic_ranges": (None, "{tensor: [low, high]}, for tensors that the cache does not name or without a cache"),
    "fp32_layers": ((), "names of ONNX nodes that stay in FP32 beside FP16 or INT8"),
    "fp32_outputs": ((), "names of ONNX nodes that may compute in less, but whose outputs are written in FP32"),
    "batch": (None, "[min, opt, max] for a graph with a dynamic batch, None for a static one"),
    "timing_cache": (None, "bytes of an earlier build's timing cache on this very device and version"),
    "timing_cache_locked": (False, "True: a layer that the timing cache does not know fails the build (10 and 11)"),
    "requested": (None, "{ONNX node: precision} to be held against the engine; None: what the flags and scales ask"),
    "may_stay_float": ((), "names of those that may compute in FP32 all the same"),
}  # type: Dict[str, Tuple[Any, str]]

FIXES = (
    (
        r"EfficientNMS|plugin.*not found|could not find plugin|getPluginCreator",
        "this TensorRT has no such plugin: on a Jetson Nano use JetPack 4.6.1 or later, else export with --nms onnx",
    ),
    (r"NonMaxSuppression", "export with --nms efficient: this parser drops boxes with ONNX NonMaxSuppression"),
    (r"opset", "export with --opset 13, which every version takes"),
    (r"QuantizeLinear|zero.?point|[Ss]cale", "Q/DQ must be symmetric int8: write it with hardnet-deploy calibrate"),
    (r"INT64|int64|DOUBLE", "export the graph with this project, which writes no such tensors"),
)
FAILURES = (
    (
        r"[Ii]nt8 support|hardware with Int8",
        TARGET,
        "this GPU has no INT8: use the float graph with fp16 or fp32",
    ),
    (r"[Uu]nsupported SM|0x601", TARGET, "use the TensorRT that serves this GPU: 8.6.1 for a GTX 1080 Ti"),
    (
        r"[Oo]ut ?[Oo]f ?[Mm]emory|insufficient memory|bad_alloc",
        TARGET,
        "close other programs, add swap, or lower the workspace (--workspace 128M)",
    ),
    (
        r"[Cc]ould not find any implementation",
        UNREADABLE,
        "raise the workspace (--workspace), or leave that layer in FP32",
    ),
    (r"[Cc]alibrat", UNREADABLE, "write the calibration cache for this very version of TensorRT"),
    (r"timing cache", UNREADABLE, "build once without the lock, and keep the timing cache it writes"),
)
KEEPS_VALUES = ("SHUFFLE", "IDENTITY", "CAST", "SQUEEZE", "UNSQUEEZE", "SLICE")
PLUGINS = ("PLUGIN", "PLUGIN_V2", "PLUGIN_V3", "NMS")
NO_ARITHMETIC = ("CONSTANT", "SHAPE")
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def build(
    trt: Any,
    onnx_bytes: bytes,
    settings: Dict[str, Any],
    log: Optional[Callable[[str, str], None]] = None,
    progress: Optional[Callable[[str, int, int], None]] = None,
) -> Dict[str, Any]:
    """Build a plan.

    Args:
        trt: The tensorrt module.
        onnx_bytes: The ONNX file.
        settings: By the keys of :data:`SETTINGS`, which says what each means; a missing one has its default.
        log: Called with (severity, message) as TensorRT speaks.
        progress: Called with (title, steps done, steps) where the API has IProgressMonitor (10 and 11).

    Returns:
        ``plan`` bytes; ``layers`` text of the engine inspector's JSON or None; ``timing_cache`` bytes or None; ``log``
        lines; ``notes`` sentences; ``tensorrt`` version; ``missing_ranges`` names of tensors that an INT8 layer would
        read and that have no range; ``unmatched_layers`` names of ``fp32_layers`` and ``fp32_outputs`` that no layer
        carries; ``requested`` and ``achieved`` precision of each node with weights, see :func:`achieved_precisions`,
        nothing requested of a strongly typed graph, which is obeyed; ``may_stay_float`` names of those that may compute
        in FP32 whatever was asked.

    Raises:
        EngineError: With TensorRT's log: settings that cannot be meant (2), a device that cannot (3), a graph that the
            parser refuses or a build that fails (4), a cache of another version (8).
    """
    logger = _logger(trt)
    start = len(logger.lines)
    logger.listener = log
    try:
        result = _Build(trt, onnx_bytes, _checked(settings), logger).run(progress)
    except EngineError as error:
        error.log = logger.lines[start:]
        raise
    finally:
        logger.listener = None
    result["log"] = logger.lines[start:]
    return result


def _checked(settings: Dict[str, Any]) -> Dict[str, Any]:
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise EngineError(
            "no build setting is called {}".format(", ".join(unknown)),
            USAGE,
            "the settings are {}".format(", ".join(sorted(SETTINGS))),
        )
    values = {key: default for key, (default, _) in SETTINGS.items()}
    values.update(settings)
    if values["precision"] not in ("fp32", "fp16", "int8"):
        raise EngineError("precision '{}' is none".format(values["precision"]), USAGE, "use fp32, fp16 or int8")
    batch = values["batch"]
    if batch is not None and (len(batch) != 3 or not 1 <= batch[0] <= batch[1] <= batch[2]):
        raise EngineError(f"batch {batch} is no range", USAGE, "give min, opt and max, ascending from 1")
    return values


class _Build:
    """One build."""

    def __init__(self, trt: Any, onnx_bytes: bytes, settings: Dict[str, Any], logger: Any) -> None:
        self.trt, self.settings, self.logger = trt, settings, logger
        self.content = onnx_bytes
        self.nodes = onnx_nodes(onnx_bytes)
        self.explicit = any(node.op == "QuantizeLinear" for node in self.nodes)
        self.notes = []  # type: List[str]
        self.missing = []  # type: List[str]
        self.unmatched = []  # type: List[str]
        self.flags = set()  # type: Set[str]
        self.scaled = set()  # type: Set[str]
        self.may_stay_float = list(settings["may_stay_float"])
        self.first_line = len(logger.lines)
        self.typed = self._is_typed()
        self.calibrator = None  # type: Any
        self.timings = None  # type: Any  # must live as long as the configuration that uses it

    def _is_typed(self) -> bool:
        settings, always = self.settings, family(self.trt) == "11"
        version = f"TensorRT {self.trt.__version__}"
        if settings["typed"] and not hasattr(self.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
            raise EngineError(
                f"{version} has no strongly typed networks", TARGET, "build the float graph with the precision flags"
            )
        if always and not settings["typed"] and settings["precision"] != "fp32":
            raise EngineError(
                "{} takes {} from the graph only".format(version, settings["precision"]),
                TARGET,
                "give it a graph of that precision: hardnet-deploy export --precision fp16, or Q/DQ",
            )
        typed = bool(settings["typed"] or always)
        if typed and (settings["calibration_cache"] or settings["dynamic_ranges"]):
            raise EngineError(
                "a strongly typed graph carries its INT8 scales itself",
                USAGE,
                "leave the calibration cache and the dynamic ranges out",
            )
        return typed

    def run(self, progress: Optional[Callable[[str, int, int], None]]) -> Dict[str, Any]:
        trt = self.trt
        trt.init_libnvinfer_plugins(self.logger, "")  # before the parser looks for plugins
        with _starting(self.logger):
            builder = trt.Builder(self.logger)
        flags, creation = 0, trt.NetworkDefinitionCreationFlag
        if hasattr(creation, "EXPLICIT_BATCH"):
            flags |= 1 << int(creation.EXPLICIT_BATCH)
        if self.typed:
            flags |= 1 << int(creation.STRONGLY_TYPED)
        network = builder.create_network(flags)
        parser = trt.OnnxParser(network, self.logger)
        if not parser.parse(self.content):
            raise self._refused(parser)
        config = builder.create_builder_config()
        self._set_workspace(config)
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        profile = self._set_profile(builder, network, config)
        if not self.typed and (self.explicit or self.settings["precision"] != "fp32"):
            self._set_precision(builder, network, config, profile)
        timings = self._set_timing_cache(config)
        monitor = _monitor(trt, progress) if hasattr(trt, "IProgressMonitor") else None
        if monitor is not None:
            config.progress_monitor = monitor
        with _interrupts_after(monitor):
            memory = builder.build_serialized_network(network, config)
        if monitor is not None and monitor.fault is not None:
            raise monitor.fault
        if memory is None or (self.calibrator is not None and self.calibrator.asked):
            raise self._failed()
        plan, cache = bytes(memory), config.get_timing_cache() if timings else None
        del memory, parser, network
        saved = bytes(cache.serialize()) if cache is not None else None
        del cache, config, builder  # a Jetson Nano has no memory for both the builder and the engine
        layers, requested = self._inspect(plan), self._requested()
        return {
            "plan": plan,
            "layers": layers,
            "requested": requested,
            "achieved": achieved_precisions(layers, requested or [node.label for node in self._weighted()]),
            "may_stay_float": self.may_stay_float,
            "timing_cache": saved,
            "notes": self.notes,
            "tensorrt": str(trt.__version__),
            "missing_ranges": self.missing,
            "unmatched_layers": self.unmatched,
        }

    def _weighted(self) -> List[Node]:
        return [node for node in self.nodes if node.op in WEIGHTED and len(node.inputs) >= 2]

    def _requested(self) -> Dict[str, str]:
        """What each node with weights is asked to compute in; the host's ``engines.requested`` decides likewise."""
        if self.settings["requested"] is not None:
            return dict(self.settings["requested"])
        if self.typed:
            return {}
        dequantised = {name for node in self.nodes if node.op == "DequantizeLinear" for name in node.outputs}
        held, found = set(self.settings["fp32_layers"]), {}
        for node in self._weighted():
            if set(node.inputs[:2]) <= dequantised:
                found[node.label] = "int8"
            elif node.label in held:
                found[node.label] = "fp32"
            elif "int8" in self.flags and node.op == "Conv" and node.inputs[0] in self.scaled:
                found[node.label] = "int8"
            else:
                found[node.label] = "fp16" if "fp16" in self.flags else "fp32"
        return found

    def _said(self) -> List[str]:
        return list(self.logger.lines[self.first_line :])

    def _refused(self, parser: Any) -> EngineError:
        told, fix = [], None
        for index in range(parser.num_errors):
            error = parser.get_error(index)
            number, text = error.node(), str(error.desc())
            node = self.nodes[number] if 0 <= number < len(self.nodes) else Node("", "", ())
            name = (error.node_name() if hasattr(error, "node_name") else "") or node.name
            op = (error.node_operator() if hasattr(error, "node_operator") else "") or node.op
            told.append("node '{}' ({}): {}".format(name or number, op or "unknown operator", text.strip()))
            fix = fix or next((way for sign, way in FIXES if re.search(sign, op + " " + text)), None)
        shown = "; ".join(told[:5]) or _last_error(self._said())
        more = f" (and {len(told) - 5} more)" if len(told) > 5 else ""
        return EngineError(
            f"TensorRT {self.trt.__version__} does not take the ONNX graph: {shown}{more}",
            UNREADABLE,
            fix or "export it for this device: hardnet-deploy export --target ...",
        )

    def _failed(self) -> EngineError:
        reason = _last_error(self._said())
        if self.calibrator is not None and self.calibrator.asked:
            reason = "TensorRT asked for calibration images, so it did not take the calibration cache"
        everything = reason + "\n" + "\n".join(line for line in self._said() if "ERROR" in line[:16])
        code, fix = next(
            ((code, way) for sign, code, way in FAILURES if re.search(sign, everything)), (UNREADABLE, None)
        )
        return EngineError(f"TensorRT {self.trt.__version__} cannot build the engine: {reason}", code, fix)

    def _set_workspace(self, config: Any) -> None:
        size = self.settings["workspace_bytes"]
        if size is None:
            return
        if hasattr(config, "set_memory_pool_limit"):
            config.set_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE, int(size))
        else:
            config.max_workspace_size = int(size)

    def _set_profile(self, builder: Any, network: Any, config: Any) -> Any:
        """The optimisation profile of a dynamic batch; None for a static graph."""
        inputs = [network.get_input(index) for index in range(network.num_inputs)]
        dynamic = [tensor for tensor in inputs if -1 in tuple(tensor.shape)]
        batch = self.settings["batch"]
        if not dynamic:
            fixed = sorted({tensor.shape[0] for tensor in inputs})
            if batch is not None and [batch[0], batch[2]] != [fixed[0], fixed[-1]]:
                raise EngineError(
                    f"the graph has the fixed batch {fixed[0]}",
                    USAGE,
                    "leave --batch out, or export with --batch dynamic",
                )
            return None
        if batch is None:
            raise EngineError("the graph has a dynamic batch", USAGE, "give --batch MIN,OPT,MAX")
        profile = builder.create_optimization_profile()
        for tensor in dynamic:
            rest = tuple(tensor.shape)[1:]
            if -1 in rest:
                raise EngineError(
                    f"input '{tensor.name}' is dynamic beyond its batch: {tuple(tensor.shape)}",
                    TARGET,
                    "export with a fixed size",
                )
            profile.set_shape(tensor.name, *((size, *rest) for size in batch))
        config.add_optimization_profile(profile)
        return profile

    def _set_precision(self, builder: Any, network: Any, config: Any, profile: Any) -> None:
        """Flags, FP32 layers and INT8 scales of a weakly typed network (8.x and 10)."""
        trt, precision = self.trt, self.settings["precision"]
        fast_half = bool(builder.platform_has_fast_fp16)
        if precision == "fp16" and not fast_half:
            self.notes.append("this GPU has no fast FP16: the engine will be no faster than FP32")
            self.may_stay_float += [node.label for node in self._weighted()]
        if (precision == "int8" or self.explicit) and not builder.platform_has_fast_int8:
            raise EngineError("this GPU has no hardware for INT8", TARGET, "use the float graph with fp16 or fp32")
        if self.explicit and precision != "int8":
            raise EngineError("the graph has Q/DQ nodes, which are INT8", USAGE, "build it with precision int8")
        if precision == "int8":
            config.set_flag(trt.BuilderFlag.INT8)
            self.flags.add("int8")
        if precision == "fp16" or fast_half:
            config.set_flag(trt.BuilderFlag.FP16)
            self.flags.add("fp16")
            if precision == "int8":
                self.notes.append("layers that do not run in INT8 may run in FP16")
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        layers = [network.get_layer(index) for index in range(network.num_layers)]
        forced = self._keep_in_fp32(layers)
        if precision == "int8":
            self._set_scales(network, layers, forced, config, profile)

    def _of_type(self, layer: Any, names: Sequence[str]) -> bool:
        types = self.trt.LayerType
        return any(hasattr(types, name) and layer.type == getattr(types, name) for name in names)

    def _keep_in_fp32(self, layers: Sequence[Any]) -> Set[str]:
        """Force the asked layers and every NMS to FP32, and the asked outputs; the names of the layers that were.

        The FP16 path of EfficientNMS_TRT in 8.2 returns scores minus one and duplicates (NVIDIA/TensorRT issue 1758).
        """
        origin = _Origins(self.nodes)
        wanted, outputs = set(self.settings["fp32_layers"]), set(self.settings["fp32_outputs"])
        named = wanted | outputs
        found, forced = set(), set()
        for layer in layers:
            node = origin.of(layer, named)
            if node in named:
                found.add(node)
            if (node in wanted or self._of_type(layer, PLUGINS)) and self._force(layer):
                forced.add(layer.name)
            elif node in outputs:
                self._write_in_fp32(layer)
        self.unmatched = sorted(named - found)
        if self.unmatched:
            self.notes.append(
                "no layer of the network carries these names, so the builder chooses their precision: "
                + ", ".join(self.unmatched)
            )
        return forced

    def _force(self, layer: Any) -> bool:
        if self._of_type(layer, NO_ARITHMETIC) or not self._write_in_fp32(layer):
            return False
        layer.precision = self.trt.DataType.FLOAT
        return True

    def _write_in_fp32(self, layer: Any) -> bool:
        """Of the layer's outputs those that are real numbers; False where none is."""
        real = [index for index, tensor in _outputs(layer) if self._is_float(tensor)]
        for index in real:
            layer.set_output_type(index, self.trt.DataType.FLOAT)
        return bool(real)

    def _is_float(self, tensor: Any) -> bool:
        return tensor.dtype in (self.trt.DataType.FLOAT, self.trt.DataType.HALF) and not tensor.is_shape_tensor

    def _set_scales(self, network: Any, layers: Sequence[Any], forced: Set[str], config: Any, profile: Any) -> None:
        """INT8 from the calibration cache, else from dynamic ranges; a graph with Q/DQ brings its own."""
        cache, ranges = self.settings["calibration_cache"], self.settings["dynamic_ranges"] or {}
        if not cache and not ranges:
            if self.explicit:
                return
            raise EngineError(
                "INT8 needs a calibration",
                USAGE,
                "give a calibration cache or dynamic ranges: hardnet-deploy calibrate writes both",
            )
        if self.explicit:
            raise EngineError(
                "the graph has Q/DQ nodes, TensorRT would ignore the calibration given beside them",
                USAGE,
                "give the float graph, or no calibration",
            )
        known = {}  # type: Dict[str, float]
        if cache:
            known = read_calibration_cache(bytes(cache), cache_header(self.trt))
            batch = self.settings["batch"][1] if profile is not None else network.get_input(0).shape[0]
            self.calibrator = _calibrator(self.trt, bytes(cache), batch)
            config.int8_calibrator = self.calibrator
            if profile is not None:
                config.set_calibration_profile(profile)
        in_cache = set(known)
        for name, (low, high) in ranges.items():
            known.setdefault(name, max(abs(low), abs(high)))
        self.scaled = set(known)
        read_in_int8 = {tensor.name for layer in layers if layer.name not in forced for tensor in _inputs(layer)}
        for tensor in self._give_ranges(network, layers, known, in_cache):
            if tensor in read_in_int8:
                self.missing.append(tensor)
        if self.missing:
            self.notes.append(
                f"{len(self.missing)} tensors have no range; layers that read them stay in float: "
                + ", ".join(self.missing[:10])
            )

    def _give_ranges(
        self, network: Any, layers: Sequence[Any], known: Dict[str, float], in_cache: Set[str]
    ) -> Iterator[str]:
        """Set the range of every tensor that the cache does not name; the names of those that have none."""
        origin = _Origins(self.nodes)
        places = [(None, network.get_input(index)) for index in range(network.num_inputs)]  # type: List[Any]
        places += [(layer, tensor) for layer in layers for _, tensor in _outputs(layer)]
        for layer, tensor in places:
            if not self._is_float(tensor) or (layer is not None and self._of_type(layer, ("CONSTANT", *PLUGINS))):
                continue
            bound = known.get(tensor.name)
            if bound is None and layer is not None:
                bound = self._bound_of_renamed(layer, known, origin)
            if bound is None:
                yield tensor.name
                continue
            known.setdefault(tensor.name, bound)
            if bound > 0 and tensor.name not in in_cache:
                tensor.set_dynamic_range(-bound, bound)

    def _bound_of_renamed(self, layer: Any, known: Dict[str, float], origin: "_Origins") -> Optional[float]:
        """Of a tensor that the parser renamed: by its ONNX node, or by what a layer that keeps values reads."""
        outputs = origin.outputs.get(layer.name, ())
        if layer.num_outputs == len(outputs) == 1 and outputs[0] in known:
            return known[outputs[0]]
        if self._of_type(layer, KEEPS_VALUES):
            sources = list(_inputs(layer))
            return known.get(sources[0].name) if sources else None
        return None

    def _set_timing_cache(self, config: Any) -> bool:
        trt, given = self.trt, self.settings["timing_cache"]
        if self.settings["timing_cache_locked"]:
            if not hasattr(trt.BuilderFlag, "ERROR_ON_TIMING_CACHE_MISS"):
                raise EngineError(
                    f"TensorRT {trt.__version__} cannot refuse a timing cache miss", TARGET, "leave --locked out"
                )
            config.set_flag(trt.BuilderFlag.ERROR_ON_TIMING_CACHE_MISS)
        cache = self.timings = config.create_timing_cache(b"")
        if cache is None:
            self.notes.append("this TensorRT keeps no timing cache")
            return False
        if given:
            other = config.create_timing_cache(bytes(given))
            if other is None or not cache.combine(other, ignore_mismatch=False):
                self.notes.append("the timing cache is of another TensorRT or GPU and was not used")
        return bool(config.set_timing_cache(cache, ignore_mismatch=False))

    def _inspect(self, plan: bytes) -> Optional[str]:
        trt = self.trt
        with _starting(self.logger):
            runtime = trt.Runtime(self.logger)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            self.notes.append(f"the plan could not be loaded to look at its layers: {_last_error(self._said())}")
            return None
        try:
            inspector = engine.create_engine_inspector()
        except AttributeError:  # 8.0 has none
            return None
        text = str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
        faults = _faults_in_layers(text)
        self.notes += faults
        return None if faults else text


class _Origins:
    """Which ONNX node a layer comes from.

    The parser names a node's layer after the node, a second one with ``_<number>`` behind it, and names its last tensor
    as in ONNX (onnx/onnx-tensorrt, ``ImporterContext::registerLayer``).
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.outputs = {node.name: node.outputs for node in nodes if node.name}
        self.producers = {output: node.name for node in nodes for output in node.outputs}

    def of(self, layer: Any, wanted: Set[str]) -> Optional[str]:
        """The node's name; None where it cannot be told."""
        name = str(layer.name)
        if name in self.outputs or name in wanted:
            return name
        plain = re.sub(r"_\d+$", "", name)
        if plain in self.outputs or plain in wanted:
            return plain
        for _, tensor in _outputs(layer):
            if tensor.name in self.producers:
                return self.producers[tensor.name]
        return None


def _outputs(layer: Any) -> Iterator[Tuple[int, Any]]:
    for index in range(layer.num_outputs):
        tensor = layer.get_output(index)
        if tensor is not None:
            yield index, tensor


def _inputs(layer: Any) -> Iterator[Any]:
    for index in range(layer.num_inputs):
        tensor = layer.get_input(index)
        if tensor is not None:
            yield tensor


def _monitor(trt: Any, progress: Optional[Callable[[str, int, int], None]]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # a class of the module at hand
        """Tells the steps; a fault, or Ctrl-C, cancels the build and is raised after it."""

        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps = {}  # type: Dict[str, int]
            self.fault = None  # type: Optional[BaseException]

        def phase_start(self, phase_name: str, parent_phase: Optional[str], num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return self.fault is None

        def phase_finish(self, phase_name: str) -> None:
            self._tell(phase_name, self.steps.pop(phase_name, 0))

        def _tell(self, phase_name: str, done: int) -> None:
            try:
                if progress is not None and self.fault is None:
                    progress(phase_name, done, self.steps.get(phase_name, done))
            except BaseException as fault:  # noqa: BLE001 - an exception that leaves a callback ends the process
                self.fault = fault

    return Monitor()


@contextlib.contextmanager
def _interrupts_after(monitor: Any) -> Iterator[None]:
    """Ctrl-C while TensorRT builds is raised when it has returned; a monitor also makes it return soon.

    Python would raise it in the next callback, of the logger or the monitor, and TensorRT ends the process where an
    exception leaves one.
    """
    pressed = []  # type: List[int]

    def remember(number: int, _frame: Any) -> None:
        pressed.append(number)
        if monitor is not None and monitor.fault is None:
            monitor.fault = KeyboardInterrupt()

    with _on_interrupt(remember):
        yield
    if pressed and monitor is None:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _on_interrupt(handler: Any) -> Iterator[None]:
    """Another handler of Ctrl-C, where Python's own is in place and this thread may say so."""
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


PRECISION_WORDS = (
    ("fp32", r"fp32|float32|\bfloat\b"),
    ("bf16", r"bf16|bfloat16"),
    ("fp16", r"fp16|half|float16"),
    ("int8", r"int8"),
    ("int32", r"int32"),
    ("int64", r"int64"),
    ("bool", r"bool"),
)


def _faults_in_layers(text: str) -> List[str]:
    """Why the inspector's text cannot be read, if so: no reason to lose a plan that took minutes."""
    try:
        layer_precisions(text)
    except (ValueError, AttributeError, TypeError) as error:
        return [f"what the engine inspector says of the layers cannot be read: {error}"]
    return []


UNKNOWN = "unknown"
_METADATA = re.compile(r"\[ONNX Layer: (.*?)\]")
_COPY = re.compile(r"Reformatting CopyNode|ForeignNode\[")
_SEPARATORS = re.compile(r" \+ | \|\| |, |PWN\(|[()]")
_SECOND_LAYER = re.compile(r"_\d+$")


def achieved_precisions(text: Optional[str], nodes: Any) -> Dict[str, str]:
    """What each of these ONNX nodes computes in, by the engine inspector: never guessed.

    An engine's layers are not the graph's nodes: the builder fuses ``conv`` and ``relu`` into ``conv + relu``, wraps
    pointwise operators as ``PWN(relu)``, joins convolutions that read the same as ``a || b``, and hands whole subgraphs
    to its compiler as ``{ForeignNode[a...b]}``. From 8.6 on a layer may also list its nodes, as ``[ONNX Layer: conv]``.

    Sources: the layer names in NVIDIA/TensorRT@v8.6.1:tools/experimental/trt-engine-explorer, and there
    ``trex/parser.py``; ``Metadata`` in NVIDIA/TensorRT@v10.0.1:include/NvInfer.h (ILayer::setMetadata).

    Args:
        text: The inspector's JSON, in the form of 8.2 to 10 (``Bindings``) or of 11 (``I/O Tensors``); None without.
        nodes: Names of ONNX nodes that carry weights: a layer computes in the type of its weights.

    Returns:
        ``fp32``, ``fp16``, ``int8`` or another of the inspector's words by node; ``unknown`` for a node that no layer
        names, that layers of different precisions name, or that shares a layer with another of ``nodes`` unless they
        were merged side by side.
    """
    names, told = frozenset(nodes), layer_precisions(text)  # type: FrozenSet[str], Dict[str, str]
    found = {}  # type: Dict[str, Set[str]]
    for layer in json.loads(text).get("Layers", []) if text else ():
        about = layer if isinstance(layer, dict) else {"Name": layer}
        title = str(about.get("Name", "?"))
        held = _nodes_of(title, str(about.get("Metadata", "")), names)
        mixed = len(held) > 1 and " || " not in title
        for node in held:
            found.setdefault(node, set()).add(UNKNOWN if mixed else told.get(title, UNKNOWN))
    return {node: next(iter(found[node])) if len(found.get(node, ())) == 1 else UNKNOWN for node in nodes}


def _nodes_of(title: str, metadata: str, names: FrozenSet[str]) -> Set[str]:
    """Which of ``names`` a layer holds."""
    if title.startswith("Reformatting CopyNode"):
        return set()
    listed = set(_METADATA.findall(metadata))
    if listed:
        return set(listed & names)
    if _COPY.search(title):
        return set()
    parts = {part.strip() for part in _SEPARATORS.split(title)} | {title}
    return {part if part in names else _SECOND_LAYER.sub("", part) for part in parts} & names


def fallbacks(requested: Any, achieved: Any) -> Tuple[str, ...]:
    """Nodes that were asked for INT8 or FP16 and run in FP32; an unknown one is none of them."""
    return tuple(name for name, asked in requested.items() if asked != "fp32" and achieved.get(name) == "fp32")


def lower_than_asked(requested: Any, achieved: Any) -> Tuple[str, ...]:
    """Nodes that were asked for INT8 and run in FP16: the builder found that faster."""
    return tuple(name for name, asked in requested.items() if asked == "int8" and achieved.get(name) == "fp16")


def judge_precisions(built: Dict[str, Any], *, allow_fallback: bool) -> Tuple[Dict[str, Any], List[str]]:
    """Hold what the layers of a build compute in against what they were asked for.

    Args:
        built: Of :func:`build`.
        allow_fallback: Take an engine that silently fell back to FP32.

    Returns:
        ``requested`` and ``achieved`` by node, ``may_stay_float``, ``fell_back`` names of nodes that run in FP32 and
        may not, ``allow_fallback``; and what the user should know.

    Raises:
        EngineError: Layers run in FP32 that were asked for less, and ``allow_fallback`` is not set (4).
    """
    requested, achieved, notes = built["requested"], built["achieved"], []  # type: Any, Any, List[str]
    below = [name for name, asked in requested.items() if asked != "fp32"]
    fell = fallbacks(requested, achieved)
    for names, allowed in (
        ([name for name in fell if name in built["may_stay_float"]], True),
        ([name for name in fell if name not in built["may_stay_float"]], allow_fallback),
    ):
        if not names:
            continue
        asked = " and ".join(sorted({requested[name].upper() for name in names}))
        what = f"{len(names)} of {len(below)} layers that were to be less than FP32 run in FP32, asked for {asked}: "
        what += _some(names)
        if not allowed:
            raise EngineError(
                what + "; nothing was written", UNREADABLE, "--allow-fallback takes the engine as it is, and says so"
            )
        notes.append(what)
    lower = lower_than_asked(requested, achieved)
    if lower:
        notes.append(f"the builder chose FP16 for {len(lower)} layers that may be INT8: {_some(lower)}")
    unknown = [name for name, found in achieved.items() if found == UNKNOWN]
    if len(unknown) == len(achieved):
        notes.append("achieved precision not known: the engine inspector tells it of no layer with weights")
    elif unknown:
        notes.append(f"achieved precision of {len(unknown)} of {len(achieved)} layers not known: {_some(unknown)}")
    record = {
        "requested": requested,
        "achieved": achieved,
        "may_stay_float": [name for name in requested if name in built["may_stay_float"]],
        "fell_back": [name for name in fell if name not in built["may_stay_float"]],
        "allow_fallback": allow_fallback,
    }
    return record, notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def layer_precisions(text: Optional[str]) -> Dict[str, str]:
    """What each layer of an engine computes in, from the inspector's JSON: its weights' type, else its first input's.

    8.x and 10 write ``Format/Datatype`` of a tensor as one text, 11 writes ``Format`` and ``Datatype``. Without
    detailed profiling a layer is only its name, and is left out.
    """
    if not text:
        return {}
    found = {}
    for layer in json.loads(text).get("Layers", []):
        if not isinstance(layer, dict):
            continue
        weights = layer.get("Weights")
        tensors = list(layer.get("Inputs", [])) + list(layer.get("Outputs", []))
        words = [weights["Type"]] if isinstance(weights, dict) and "Type" in weights else []
        words += [tensor.get("Datatype") or tensor.get("Format/Datatype", "") for tensor in tensors]
        for word in words:
            known = [name for name, sign in PRECISION_WORDS if re.search(sign, str(word).lower())]
            if known:
                found[str(layer.get("Name", "?"))] = known[0]
                break
    return found


# --------------------------------------------------------------------------------------------------------------- CUDA


class Cuda:
    """Device memory, streams, events and graphs of the first visible GPU, through one interface.

    Pointers, streams, events and graphs are integers. Copies are asynchronous: the array must live, unchanged, until
    the stream is synchronised.
    """

    name = ""

    def malloc(self, size: int) -> int:
        """Allocate ``size`` bytes, at least one."""
        raise NotImplementedError

    def free(self, pointer: int) -> None:
        """Free what :meth:`malloc` gave."""
        raise NotImplementedError

    def to_device(self, pointer: int, array: Any, stream: int) -> None:
        """Copy a C-contiguous array to the device."""
        raise NotImplementedError

    def to_host(self, array: Any, pointer: int, stream: int) -> None:
        """Copy from the device into a C-contiguous array."""
        raise NotImplementedError

    def stream(self) -> int:
        """A new stream."""
        raise NotImplementedError

    def destroy_stream(self, stream: int) -> None:
        """Of :meth:`stream`."""
        raise NotImplementedError

    def synchronize(self, stream: int) -> None:
        """Wait until the stream has done all it was given."""
        raise NotImplementedError

    def event(self) -> int:
        """A new event with timing."""
        raise NotImplementedError

    def record(self, event: int, stream: int) -> None:
        """The event happens when the stream gets here."""
        raise NotImplementedError

    def wait_event(self, event: int) -> None:
        """Wait until the event has happened."""
        raise NotImplementedError

    def elapsed_ms(self, start: int, end: int) -> float:
        """Between two events that have happened."""
        raise NotImplementedError

    def destroy_event(self, event: int) -> None:
        """Of :meth:`event`."""
        raise NotImplementedError

    def begin_capture(self, stream: int) -> None:
        """From here on, what the stream is given is recorded, not run."""
        raise NotImplementedError

    def end_capture(self, stream: int) -> int:
        """What was recorded, ready to launch."""
        raise NotImplementedError

    def launch(self, graph: int, stream: int) -> None:
        """Run what was recorded."""
        raise NotImplementedError

    def destroy_graph(self, graph: int) -> None:
        """Of :meth:`end_capture`."""
        raise NotImplementedError

    def device(self) -> Dict[str, Any]:
        """``name``, ``compute_capability`` [major, minor], ``memory_bytes`` and ``free_bytes``."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the device back; everything else was freed before."""


def open_cuda() -> Cuda:
    """What talks to CUDA: pycuda where it is installed, else libcudart through ctypes.

    The variable ``HARDNET_DEPLOY_CUDART`` names the library, and goes before both.

    Raises:
        EngineError: Neither is there, or there is no GPU.
    """
    if "HARDNET_DEPLOY_CUDART" not in os.environ:
        try:
            import pycuda.driver
        except ImportError:
            pass
        else:
            return PyCuda(pycuda.driver)
    return Cudart(_load_cudart())


def _cudart_names() -> Iterator[str]:
    named = os.environ.get("HARDNET_DEPLOY_CUDART")
    if named:
        yield named
        return
    found = ctypes.util.find_library("cudart")
    if found:
        yield found
    for version in ("10.2", "11.0", "12", "13"):
        yield "libcudart.so." + version
    for folder in ("/usr/local/cuda/lib64", "/usr/local/cuda-10.2/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"):
        yield folder + "/libcudart.so"
    for entry in sys.path:  # where pip puts CUDA 11, 12 and 13
        for package in ("cuda_runtime", "cu13"):
            for path in sorted(Path(entry or ".").glob(f"nvidia/{package}/lib/libcudart.so.*")):
                yield str(path)


def _load_cudart() -> Any:
    why = ""
    for name in _cudart_names():
        try:
            library = ctypes.CDLL(name)
            library.cudaGetErrorString  # noqa: B018 - the question is whether it is there
        except (OSError, AttributeError) as error:
            why = str(error)
            continue
        return library
    named = os.environ.get("HARDNET_DEPLOY_CUDART")
    if named:
        raise EngineError(
            f"HARDNET_DEPLOY_CUDART names {named}, which is no CUDA runtime library that can be loaded: {why}",
            TARGET,
            "correct it, or unset it: then pycuda and the usual places are tried",
        )
    raise EngineError(
        "there is neither pycuda nor CUDA's runtime library (libcudart)",
        TARGET,
        "install CUDA, or name the library: HARDNET_DEPLOY_CUDART=/path/libcudart.so",
    )


def _no_gpu_memory(said: Any) -> EngineError:
    return EngineError(f"the GPU has no memory left ({said})", TARGET, "close other programs, or use a smaller batch")


class Cudart(Cuda):
    """CUDA's runtime library through ctypes: nothing to install on a Jetson.

    Signatures: CUDA Runtime API 10.2 to 13. ``cudaGraphInstantiateWithFlags`` exists since 11.4, where
    ``cudaGraphInstantiate`` later changed its arguments; the first member of ``cudaDeviceProp`` is ``char name[256]``.
    """

    name = "ctypes libcudart"
    TO_DEVICE, TO_HOST = 1, 2
    CAPTURE_THREAD_LOCAL = 1
    MAJOR, MINOR = 75, 76

    def __init__(self, library: Any) -> None:
        self._library = library
        library.cudaGetErrorString.restype = ctypes.c_char_p
        self._call("cudaSetDevice", 0)

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status == 0:
            return
        self._library.cudaGetLastError()  # takes the error away, so that the next call does not report it again
        text = self._library.cudaGetErrorString(status).decode("utf-8", "replace")
        if status == 2:
            raise _no_gpu_memory(text)
        fix = "check the NVIDIA driver (nvidia-smi; on a Jetson: the JetPack version)" if status in (35, 100) else None
        raise EngineError(f"CUDA failed in {function}: {text} (error {status})", TARGET, fix)

    def _new(self, function: str, *more: Any) -> int:
        handle = ctypes.c_void_p()
        self._call(function, ctypes.byref(handle), *more)
        return handle.value or 0

    def malloc(self, size: int) -> int:
        return self._new("cudaMalloc", ctypes.c_size_t(max(1, size)))

    def free(self, pointer: int) -> None:
        self._call("cudaFree", ctypes.c_void_p(pointer))

    def to_device(self, pointer: int, array: Any, stream: int) -> None:
        self._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(pointer),
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_size_t(array.nbytes),
            self.TO_DEVICE,
            ctypes.c_void_p(stream),
        )

    def to_host(self, array: Any, pointer: int, stream: int) -> None:
        self._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(array.ctypes.data),
            ctypes.c_void_p(pointer),
            ctypes.c_size_t(array.nbytes),
            self.TO_HOST,
            ctypes.c_void_p(stream),
        )

    def stream(self) -> int:
        return self._new("cudaStreamCreate")

    def destroy_stream(self, stream: int) -> None:
        self._call("cudaStreamDestroy", ctypes.c_void_p(stream))

    def synchronize(self, stream: int) -> None:
        self._call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def event(self) -> int:
        return self._new("cudaEventCreate")

    def record(self, event: int, stream: int) -> None:
        self._call("cudaEventRecord", ctypes.c_void_p(event), ctypes.c_void_p(stream))

    def wait_event(self, event: int) -> None:
        self._call("cudaEventSynchronize", ctypes.c_void_p(event))

    def elapsed_ms(self, start: int, end: int) -> float:
        elapsed = ctypes.c_float()
        self._call("cudaEventElapsedTime", ctypes.byref(elapsed), ctypes.c_void_p(start), ctypes.c_void_p(end))
        return elapsed.value

    def destroy_event(self, event: int) -> None:
        self._call("cudaEventDestroy", ctypes.c_void_p(event))

    def begin_capture(self, stream: int) -> None:
        self._call("cudaStreamBeginCapture", ctypes.c_void_p(stream), self.CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        handle = ctypes.c_void_p()
        self._call("cudaStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(handle))
        try:
            if hasattr(self._library, "cudaGraphInstantiateWithFlags"):
                return self._new("cudaGraphInstantiateWithFlags", handle, ctypes.c_ulonglong(0))
            return self._new("cudaGraphInstantiate", handle, None, None, ctypes.c_size_t(0))
        finally:
            self._call("cudaGraphDestroy", handle)

    def launch(self, graph: int, stream: int) -> None:
        self._call("cudaGraphLaunch", ctypes.c_void_p(graph), ctypes.c_void_p(stream))

    def destroy_graph(self, graph: int) -> None:
        self._call("cudaGraphExecDestroy", ctypes.c_void_p(graph))

    def device(self) -> Dict[str, Any]:
        number, free, total = ctypes.c_int(), ctypes.c_size_t(), ctypes.c_size_t()
        capability = []
        for attribute in (self.MAJOR, self.MINOR):
            self._call("cudaDeviceGetAttribute", ctypes.byref(number), attribute, 0)
            capability.append(number.value)
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        properties = ctypes.create_string_buffer(8192)
        new = hasattr(self._library, "cudaGetDeviceProperties_v2")
        self._call("cudaGetDeviceProperties_v2" if new else "cudaGetDeviceProperties", properties, 0)
        name = properties.raw[:256].split(b"\0")[0].decode("utf-8", "replace")
        return {"name": name, "compute_capability": capability, "memory_bytes": total.value, "free_bytes": free.value}


class PyCuda(Cuda):
    """The same by pycuda, which hands out objects: they live here, their addresses are the handles.

    ``pycuda.driver.Error`` is the base of all that its driver calls raise, ``MemoryError`` one of it
    (inducer/pycuda, src/wrapper/wrap_cudadrv.cpp). ``make_context`` makes the context current,
    ``retain_primary_context`` does not; a context that is still on pycuda's stack when the process ends aborts it.
    """

    name = "pycuda"

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._objects = {}  # type: Dict[int, Any]
        try:
            driver.init()
            self._device = driver.Device(0)
        except Exception as error:
            raise EngineError(f"pycuda finds no GPU: {error}", TARGET, "check the NVIDIA driver") from error
        primary = hasattr(self._device, "retain_primary_context")
        take = self._device.retain_primary_context if primary else self._device.make_context
        self._context = self._call("taking the GPU", take)
        if primary:
            with contextlib.ExitStack() as rest:
                rest.callback(self._quietly, self._context.detach)
                self._call("taking the GPU", self._context.push)
                rest.pop_all()

    def _call(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            if isinstance(error, self._driver.MemoryError):
                raise _no_gpu_memory(error) from error
            raise EngineError(f"CUDA failed in {what}: {error}", TARGET) from error

    def _quietly(self, function: Callable[[], Any]) -> None:
        with contextlib.suppress(self._driver.Error):
            function()

    def _keep(self, thing: Any, handle: int) -> int:
        self._objects[handle] = thing
        return handle

    def _thing(self, handle: int) -> Any:
        if handle not in self._objects:
            raise EngineError("CUDA has no such object: it was given back, or never made", TARGET)
        return self._objects[handle]

    def _take(self, handle: int) -> Any:
        thing = self._thing(handle)
        del self._objects[handle]
        return thing

    def malloc(self, size: int) -> int:
        allocation = self._call("an allocation", self._driver.mem_alloc, max(1, size))
        return self._keep(allocation, int(allocation))

    def free(self, pointer: int) -> None:
        self._call("giving memory back", self._take(pointer).free)

    def to_device(self, pointer: int, array: Any, stream: int) -> None:
        self._call("a copy to the GPU", self._driver.memcpy_htod_async, pointer, array, self._thing(stream))

    def to_host(self, array: Any, pointer: int, stream: int) -> None:
        self._call("a copy from the GPU", self._driver.memcpy_dtoh_async, array, pointer, self._thing(stream))

    def stream(self) -> int:
        stream = self._call("making a stream", self._driver.Stream)
        return self._keep(stream, int(stream.handle))

    def destroy_stream(self, stream: int) -> None:
        self._take(stream)

    def synchronize(self, stream: int) -> None:
        self._call("waiting for the GPU", self._thing(stream).synchronize)

    def event(self) -> int:
        event = self._call("making an event", self._driver.Event)
        return self._keep(event, id(event))

    def record(self, event: int, stream: int) -> None:
        self._call("recording an event", self._thing(event).record, self._thing(stream))

    def wait_event(self, event: int) -> None:
        self._call("waiting for the GPU", self._thing(event).synchronize)

    def elapsed_ms(self, start: int, end: int) -> float:
        return float(self._call("timing", self._thing(start).time_till, self._thing(end)))

    def destroy_event(self, event: int) -> None:
        self._take(event)

    def begin_capture(self, stream: int) -> None:
        raise EngineError(
            "CUDA graphs go through libcudart only",
            USAGE,
            "set HARDNET_DEPLOY_CUDART=/path/libcudart.so, or leave --cuda-graph out",
        )

    def device(self) -> Dict[str, Any]:
        free, total = self._call("asking for memory", self._driver.mem_get_info)
        return {
            "name": self._call("asking for the name", self._device.name),
            "compute_capability": list(self._call("asking for the GPU", self._device.compute_capability)),
            "memory_bytes": total,
            "free_bytes": free,
        }

    def close(self) -> None:
        """Give back what is left, and the context; a second call does nothing."""
        self._objects.clear()  # while the context is current: their destructors need it
        context, self._context = self._context, None
        if context is None:
            return
        with contextlib.ExitStack() as rest:
            rest.callback(self._call, "giving the GPU back", context.detach)
            rest.callback(self._call, "giving the GPU back", context.pop)


# ------------------------------------------------------------------------------------------------------------- engine


class _ByBinding:
    """Tensors by their number, as in 8.2."""

    def __init__(self, engine: Any, context: Any) -> None:
        self._engine, self._context = engine, context
        self._numbers = {engine.get_binding_name(index): index for index in range(engine.num_bindings)}
        self._addresses = [0] * engine.num_bindings

    def tensors(self) -> Iterator[Tuple[str, bool, Any, Shape]]:
        engine = self._engine
        for name, number in self._numbers.items():
            shape = tuple(engine.get_binding_shape(number))
            yield name, engine.binding_is_input(number), engine.get_binding_dtype(number), shape

    def set_shape(self, name: str, shape: Shape) -> bool:
        return bool(self._context.set_binding_shape(self._numbers[name], shape))

    def shape(self, name: str) -> Shape:
        return tuple(self._context.get_binding_shape(self._numbers[name]))

    def bind(self, name: str, address: int) -> None:
        self._addresses[self._numbers[name]] = address

    def enqueue(self, stream: int) -> bool:
        return bool(self._context.execute_async_v2(bindings=self._addresses, stream_handle=stream))


class _ByName:
    """Tensors by their name, as from 8.5 on."""

    def __init__(self, trt: Any, engine: Any, context: Any) -> None:
        self._trt, self._engine, self._context = trt, engine, context

    def tensors(self) -> Iterator[Tuple[str, bool, Any, Shape]]:
        engine = self._engine
        for name in [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]:
            is_input = engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT
            yield name, is_input, engine.get_tensor_dtype(name), tuple(engine.get_tensor_shape(name))

    def set_shape(self, name: str, shape: Shape) -> bool:
        return bool(self._context.set_input_shape(name, shape))

    def shape(self, name: str) -> Shape:
        return tuple(self._context.get_tensor_shape(name))

    def bind(self, name: str, address: int) -> None:
        self._context.set_tensor_address(name, address)

    def enqueue(self, stream: int) -> bool:
        return bool(self._context.execute_async_v3(stream_handle=stream))


class Engine:
    """A plan, ready to run; a context manager that frees all it took on every path.

    A plan is native code: load only what was built here. ``engine_host_code_allowed`` stays False.

    Args:
        trt: The tensorrt module.
        cuda: Of :func:`open_cuda`; stays open.
        plan: The plan's bytes.
        manifest: Of the plan; tells which TensorRT and which GPU built it.

    Attributes:
        inputs: ``name``, ``dtype`` and ``shape`` (-1 dynamic) of each.
        outputs: Likewise.
        warning: A sentence where another model of GPU, of the same compute capability, built the plan; else None.

    Raises:
        EngineError: TensorRT does not start (3), another TensorRT or compute capability built the plan (3), it is
            damaged (8), or there is no memory (3).
    """

    def __init__(self, trt: Any, cuda: Cuda, plan: bytes, manifest: Optional[Dict[str, Any]] = None) -> None:
        self._trt, self._cuda = trt, cuda
        self._buffers = {}  # type: Dict[str, Tuple[int, int]]
        self._stream = None  # type: Optional[int]
        self._engine = self._context = None  # type: Any
        self._logger = _logger(trt)
        self.warning = _refuse_foreign(trt, cuda, manifest)
        trt.init_libnvinfer_plugins(self._logger, "")  # before the plan looks for plugins
        start = len(self._logger.lines)
        with _starting(self._logger):
            self._runtime = trt.Runtime(self._logger)
        with _giving_back() as taken:
            taken.callback(self.close)
            self._load(plan, start)
            taken.pop_all()

    def _load(self, plan: bytes, start: int) -> None:
        trt = self._trt
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            said = self._logger.lines[start:]
            foreign = re.search("[Vv]ersion|serialization|incompatible|compute|magic|stream", "\n".join(said))
            reason = "another TensorRT or another GPU built it, or it is damaged" if foreign else _last_error(said)
            raise EngineError(
                f"TensorRT {trt.__version__} on {_gpu_text(self._cuda.device())} cannot load the plan: {reason}",
                MISMATCH,
                BUILD_HERE,
                said,
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(
                f"no memory to run the engine: {_last_error(self._logger.lines[start:])}",
                TARGET,
                "close other programs, or build with a smaller batch",
            )
        if hasattr(self._engine, "num_io_tensors"):
            self._api = _ByName(trt, self._engine, self._context)  # type: Any
        else:
            self._api = _ByBinding(self._engine, self._context)
        self.inputs = []  # type: List[Dict[str, Any]]
        self.outputs = []  # type: List[Dict[str, Any]]
        for name, is_input, data_type, shape in self._api.tensors():
            entry = {"name": name, "dtype": numpy_dtype(trt, data_type), "shape": shape}
            (self.inputs if is_input else self.outputs).append(entry)
        self._stream = self._cuda.stream()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *fault: Any) -> None:
        with contextlib.ExitStack() as quiet:
            if fault[0] is not None:
                quiet.enter_context(contextlib.suppress(EngineError))  # the first fault is the one to tell
            self.close()

    def close(self) -> None:
        """Free everything; a second call does nothing."""
        buffers, self._buffers = self._buffers, {}
        stream, self._stream = self._stream, None
        with contextlib.ExitStack() as rest:  # from the last to the first, and the others where one fails
            if stream is not None:
                rest.callback(self._cuda.destroy_stream, stream)
            for pointer, _ in buffers.values():
                rest.callback(self._cuda.free, pointer)
            rest.callback(self._forget)
            if stream is not None:
                rest.callback(self._cuda.synchronize, stream)  # a fault may have left something running

    def _forget(self) -> None:
        self._context = self._api = None
        self._engine = None
        self._runtime = None

    def infer(self, feeds: Arrays) -> Arrays:
        """Run one batch.

        Args:
            feeds: An array for each input, of exactly its type and shape (-1 takes any size of the profile).

        Returns:
            New arrays by output name.

        Raises:
            EngineError: Names, types or shapes that do not fit (2); nothing ran then. A failed execution (4).
        """
        results, arrays = self._prepare(feeds)
        cuda, stream = self._cuda, self._open_stream()
        with _giving_back() as rest:
            rest.callback(cuda.synchronize, stream)  # on every path: the arrays live no longer
            for name, array in arrays.items():
                cuda.to_device(self._buffers[name][0], array, stream)
            self._enqueue()
            for name, result in results.items():
                cuda.to_host(result, self._buffers[name][0], stream)
        return results

    def bench(
        self,
        feeds: Arrays,
        *,
        warm_up_ms: float = 200,
        iterations: int = 100,
        duration_ms: float = 0,
        cuda_graph: bool = False,
        transfers: bool = False,
    ) -> Dict[str, List[float]]:
        """Time by CUDA events on one stream, one run enqueued ahead, inputs resident.

        Args:
            feeds: As of :meth:`infer`.
            warm_up_ms: Runs untimed for this long, at least once.
            iterations: Timed runs, at least.
            duration_ms: Timed for at least this long.
            cuda_graph: Launch a captured graph instead of enqueueing each run.
            transfers: Copy inputs and outputs in each run, too, and time that.

        Returns:
            Milliseconds of each run: ``gpu_compute_ms``, ``enqueue_ms`` (host time to start it), and with transfers
            ``h2d_ms`` and ``d2h_ms``.

        Raises:
            EngineError: As of :meth:`infer`.
        """
        results, arrays = self._prepare(feeds)
        cuda, stream = self._cuda, self._open_stream()
        for name, array in arrays.items():
            cuda.to_device(self._buffers[name][0], array, stream)
        self._enqueue()
        cuda.synchronize(stream)
        names = ["h2d_ms", "gpu_compute_ms", "d2h_ms"] if transfers else ["gpu_compute_ms"]
        times = {name: [] for name in ["enqueue_ms", *names]}  # type: Dict[str, List[float]]
        graph = None  # type: Optional[int]
        with _giving_back() as rest:

            def event() -> int:
                made = cuda.event()
                rest.callback(cuda.destroy_event, made)
                return made

            events = [[event() for _ in range(len(names) + 1)] for _ in range(2)]
            if cuda_graph:
                graph = self._capture()
                rest.callback(cuda.destroy_graph, graph)
            rest.callback(cuda.synchronize, stream)  # first of all: nothing may run when the others go

            def start(marks: List[int]) -> None:
                cuda.record(marks[0], stream)
                if transfers:
                    for name, array in arrays.items():
                        cuda.to_device(self._buffers[name][0], array, stream)
                    cuda.record(marks[1], stream)
                began = time.perf_counter()
                if graph is not None:
                    cuda.launch(graph, stream)
                else:
                    self._enqueue()
                times["enqueue_ms"].append(1000 * (time.perf_counter() - began))
                cuda.record(marks[1 + transfers], stream)
                if transfers:
                    for name, result in results.items():
                        cuda.to_host(result, self._buffers[name][0], stream)
                    cuda.record(marks[3], stream)

            def finish(marks: List[int]) -> None:
                cuda.wait_event(marks[-1])
                for name, before, after in zip(names, marks, marks[1:]):
                    times[name].append(cuda.elapsed_ms(before, after))

            _keep_busy(start, finish, events, lambda done, ms: ms >= warm_up_ms and done >= 1)
            for values in times.values():
                del values[:]
            _keep_busy(start, finish, events, lambda done, ms: done >= iterations and ms >= duration_ms)
        return times

    def profile(self, feeds: Arrays, iterations: int = 10) -> Dict[str, List[float]]:
        """Milliseconds of each layer in each run, by IProfiler; slower than without, so time the whole elsewhere."""
        times = {}  # type: Dict[str, List[float]]

        trt = self._trt

        class Profiler(trt.IProfiler):  # type: ignore[misc,name-defined]  # a class of the module at hand
            """Collects."""

            def report_layer_time(self, layer_name: str, ms: float) -> None:
                times.setdefault(layer_name, []).append(float(ms))

        self.infer(feeds)
        self._context.profiler = Profiler()
        for _ in range(iterations):
            self.infer(feeds)
        return times

    def _open_stream(self) -> int:
        if self._stream is None:
            raise EngineError("the engine is closed", USAGE)
        return self._stream

    def _prepare(self, feeds: Arrays) -> Tuple[Arrays, Arrays]:
        """Check, set shapes and addresses; (arrays for the results, contiguous inputs)."""
        import numpy as np

        self._open_stream()
        wanted = {entry["name"]: entry for entry in self.inputs}
        if set(feeds) != set(wanted):
            raise EngineError(f"the engine's inputs are {sorted(wanted)}, not {sorted(feeds)}", USAGE)
        for name, array in feeds.items():
            entry = wanted[name]
            fits = len(array.shape) == len(entry["shape"]) and all(
                want in (-1, size) for want, size in zip(entry["shape"], array.shape)
            )
            if array.dtype != np.dtype(entry["dtype"]) or not fits or 0 in array.shape:
                raise EngineError(
                    "input '{}' is {} {}, the engine wants {} {}".format(
                        name, array.dtype, array.shape, entry["dtype"], tuple(entry["shape"])
                    ),
                    USAGE,
                )
        arrays = {name: np.ascontiguousarray(array) for name, array in feeds.items()}
        for name, array in arrays.items():
            if -1 in wanted[name]["shape"] and not self._api.set_shape(name, array.shape):
                raise EngineError(
                    f"input '{name}' has the shape {array.shape}, which is outside of the engine's profile",
                    USAGE,
                    "use a batch between the profile's min and max",
                )
        results = {}
        for entry in self.outputs:
            shape = self._api.shape(entry["name"])
            if -1 in shape:
                raise EngineError(
                    "the shape of output '{}' depends on the data: {}".format(entry["name"], shape),
                    TARGET,
                    "export the graph with this project, whose outputs have fixed sizes",
                )
            results[entry["name"]] = np.empty(shape, entry["dtype"])
        for name, array in list(arrays.items()) + list(results.items()):
            self._api.bind(name, self._buffer(name, array.nbytes))
        return results, arrays

    def _buffer(self, name: str, size: int) -> int:
        pointer, capacity = self._buffers.get(name, (0, -1))
        if size > capacity:
            if capacity >= 0:
                del self._buffers[name]
                self._cuda.free(pointer)
            pointer = self._cuda.malloc(size)
            self._buffers[name] = (pointer, size)
        return pointer

    def _enqueue(self) -> None:
        start = len(self._logger.lines)
        if not self._api.enqueue(self._open_stream()):
            raise EngineError(
                f"TensorRT could not run the engine: {_last_error(self._logger.lines[start:])}", UNREADABLE
            )

    def _capture(self) -> int:
        stream = self._open_stream()
        self._cuda.begin_capture(stream)
        try:
            self._enqueue()
        except BaseException:
            with contextlib.suppress(EngineError):  # the stream must leave capture; the first fault is the one to tell
                self._cuda.destroy_graph(self._cuda.end_capture(stream))
            raise
        return self._cuda.end_capture(stream)


BUILD_HERE = "build it here: python3 run_engine.py build MODEL.onnx (in a kit: build)"


def _keep_busy(
    start: Callable[[Any], None],
    finish: Callable[[Any], None],
    slots: Sequence[Any],
    enough: Callable[[int, float], bool],
) -> None:
    """Start runs with one always enqueued ahead, as trtexec does, until ``enough(runs, milliseconds)``."""
    began, done = time.perf_counter(), 0
    start(slots[0])
    while not enough(done + 1, 1000 * (time.perf_counter() - began)):
        start(slots[(done + 1) % 2])
        finish(slots[done % 2])
        done += 1
    finish(slots[done % 2])


def _gpu_text(device: Dict[str, Any]) -> str:
    return "{} (sm_{}{})".format(device["name"], *device["compute_capability"])


def _refuse_foreign(trt: Any, cuda: Cuda, manifest: Optional[Dict[str, Any]]) -> Optional[str]:
    """Refuse a plan of another TensorRT or compute capability; what to say of one of another model of GPU.

    That one loads: TensorRT itself says of it that it may be slow, or fail, and no more
    (https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/engine-compatibility.html). A name is also
    told differently by driver and by board revision, so it is no reason to stop someone who stands before the device.
    """
    versions = (manifest or {}).get("versions") or {}
    built, capability, gpu = (versions.get(key) for key in ("tensorrt", "compute_capability", "gpu"))
    device = cuda.device()
    here = "{}.{}".format(*device["compute_capability"])
    if (built or str(trt.__version__)) == str(trt.__version__) and (capability or here) == here:
        if gpu in (None, device["name"]):
            return None
        return "the plan was built on {}, this is {}: it may be slow, or fail; {}".format(
            gpu, device["name"], BUILD_HERE
        )
    where = " for sm_" + capability.replace(".", "") if capability else ""
    raise EngineError(
        "the plan was built by TensorRT {}{}; this is TensorRT {} on {}".format(
            built or "of unknown version", where, trt.__version__, _gpu_text(device)
        ),
        TARGET,
        BUILD_HERE,
    )


# ------------------------------------------------------------------------------------------------------------- images


def read_image(path: str) -> Any:
    """An image as uint8 [H, W, 3], RGB: .npy and .ppm (P6) always, anything else through Pillow or OpenCV.

    Raises:
        EngineError: It cannot be read (4), or nothing here reads its format (3).
    """
    import numpy as np

    kind = Path(path).suffix.lower()
    try:
        if kind == ".npy":
            image = read_arrays(path)
        elif kind == ".ppm":
            image = _read_ppm(Path(path).read_bytes())
        else:
            image = _read_picture(path)
    except (EngineError, MemoryError):
        raise
    except Exception as error:  # a decoder fails in many ways
        raise EngineError(f"{path} cannot be read: {error}", UNREADABLE, "check the file") from error
    if isinstance(image, dict):
        raise EngineError(f"{path} holds {len(image)} arrays, not an image", UNREADABLE, "give uint8 [H, W, 3], RGB")
    if image is None or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        got = "nothing" if image is None else f"{image.dtype} {image.shape}"
        raise EngineError(f"{path} holds {got}, not an image", UNREADABLE, "give uint8 [H, W, 3], RGB")
    return image


def _read_ppm(content: bytes) -> Any:
    import numpy as np

    head = re.match(
        rb"P6(?:\s+|\s*#[^\n]*\n\s*)(\d+)(?:\s+|\s*#[^\n]*\n\s*)(\d+)(?:\s+|\s*#[^\n]*\n\s*)(\d+)\s", content
    )
    if not head:
        raise ValueError("it is no P6 file")
    width, height, largest = (int(part) for part in head.groups())
    pixels = np.frombuffer(content, np.uint8, offset=head.end())
    if largest != 255 or pixels.size < 3 * width * height:
        raise ValueError("it is cut short, or not of 8 bits")
    return pixels[: 3 * width * height].reshape(height, width, 3)


def _read_picture(path: str) -> Any:
    import numpy as np

    try:
        from PIL import Image, ImageOps
    except ImportError:
        try:
            import cv2
        except ImportError:
            raise EngineError(
                f"neither Pillow nor OpenCV is here to read {path}",
                TARGET,
                "convert it: .ppm and .npy (uint8 [H, W, 3], RGB) are always read",
            ) from None
        image = cv2.imread(path, cv2.IMREAD_COLOR)
        return None if image is None else image[:, :, ::-1]
    with Image.open(path) as picture:
        if hasattr(ImageOps, "exif_transpose"):
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
        tags = picture._getexif() if hasattr(picture, "_getexif") else None  # Pillow before 6: Ubuntu 18.04 has 5.1
        return _upright(np.array(picture.convert("RGB")), (tags or {}).get(0x0112, 1))


def _upright(image: Any, orientation: int) -> Any:
    """A picture as it is meant to be seen; the orientation is that of EXIF 2.3, tag 0x0112."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return image[::rows, ::columns]


def resize_inter_linear(image: Any, width: int, height: int) -> Any:
    """``cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)`` of uint8 [H, W, 3], to the bit.

    Source: opencv/opencv, modules/imgproc/src/resize.cpp: 11-bit weights, columns beyond the edge have weight 0, three
    truncations in the vertical pass; the same size is a copy, half the size the mean of 2 x 2 pixels.
    """
    import numpy as np

    rows, columns = image.shape[:2]
    if (rows, columns) == (height, width):
        return image.copy()
    if (rows, columns) == (2 * height, 2 * width):
        quads = image.reshape(height, 2, width, 2, -1).astype(np.uint16).sum(axis=(1, 3))
        return (quads + 2 >> 2).astype(np.uint8)
    one, scale = np.float32(1), np.float32(2048)

    def axis(source: int, target: int, *, border: bool) -> Tuple[Any, Any, Any, Any]:
        position = ((np.arange(target) + 0.5) * (1.0 / (target / source)) - 0.5).astype(np.float32)
        index = np.floor(position)
        part, index = position - index, index.astype(np.int64)
        if border:
            part[(index < 0) | (index >= source - 1)] = 0
        first, second = np.rint((one - part) * scale).astype(np.int32), np.rint(part * scale).astype(np.int32)
        low = np.clip(index, 0, source - 1)
        high = np.minimum(low + 1, source - 1) if border else np.clip(index + 1, 0, source - 1)
        return low, high, first, second

    left, right, left_weight, right_weight = axis(columns, width, border=True)
    upper, lower, upper_weight, lower_weight = axis(rows, height, border=False)
    result = np.empty((height, width, *image.shape[2:]), np.uint8)
    for row in range(height):
        parts = []
        for source, weight in ((image[upper[row]], upper_weight[row]), (image[lower[row]], lower_weight[row])):
            line = source[left] * left_weight[:, None] + source[right] * right_weight[:, None]
            parts.append((line >> 4) * weight >> 16)
        result[row] = parts[0] + parts[1] + 2 >> 2
    return result


def to_pixels(image: Any, preprocess: Dict[str, Any]) -> Any:
    """RGB uint8 [H, W, 3] as the network's pixels: uint8 [3, S, S], in its channel order."""
    import numpy as np

    if preprocess["resize"] != "stretch":
        raise EngineError(
            "pictures for this network are cropped, which only the host does",
            USAGE,
            "give pre-processed inputs: python3 run_engine.py run",
        )
    pixels = resize_inter_linear(image, preprocess["size"], preprocess["size"])
    if preprocess["channel_order"] == "bgr":
        pixels = pixels[:, :, ::-1]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def to_input(pixels: Any, preprocess: Dict[str, Any]) -> Any:
    """Pixels uint8 [N, 3, S, S] as the network's input, float32: divide, subtract the mean, divide by the deviation."""
    import numpy as np

    values = pixels.astype(np.float32)
    values /= np.float32(preprocess["divisor"])
    values -= np.array(preprocess["mean"], np.float32)[:, None, None]
    values /= np.array(preprocess["std"], np.float32)[:, None, None]
    return values


# --------------------------------------------------------------------------------------------------------- detections

DETECTION_OUTPUTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")


def to_detections(outputs: Arrays, thresholds: Optional[Dict[str, Any]]) -> List[Any]:
    """Detections of each image, float64 [m, 6]: class, x1, y1, x2, y2 in fractions of the image, score.

    Args:
        outputs: ``num_detections`` and its companions, or ``boxes`` [N, P, 4] and ``scores`` [N, P, C], background 0.
        thresholds: ``score``, ``iou`` and ``max_detections`` of the manifest, for boxes and scores.

    Raises:
        EngineError: Other outputs (2), NaN or infinite boxes or scores (4).
    """
    import numpy as np

    for name, values in outputs.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise EngineError(
                f"the engine's output '{name}' has values that are no numbers",
                UNREADABLE,
                "build with precision fp32 and compare",
            )
    if all(name in outputs for name in DETECTION_OUTPUTS):
        counts, boxes, scores, classes = (outputs[name] for name in DETECTION_OUTPUTS)
        return [
            np.column_stack((classes[image, :count], boxes[image, :count], scores[image, :count])).astype(np.float64)
            for image, count in enumerate(counts.reshape(-1))
        ]
    if "boxes" in outputs and "scores" in outputs and thresholds:
        pairs = zip(outputs["boxes"].astype(np.float32), outputs["scores"].astype(np.float32))
        return [_suppress(boxes, scores, thresholds) for boxes, scores in pairs]
    raise EngineError(
        "the engine's outputs are no detections: {}".format(", ".join(sorted(outputs))),
        USAGE,
        "export with --outputs detections",
    )


def _suppress(boxes: Any, scores: Any, thresholds: Dict[str, Any]) -> Any:
    """EfficientNMS_TRT on one image: ``>=`` on score and IoU, 5000 candidates over all classes, greedy per class."""
    import numpy as np

    passed = scores >= np.float32(thresholds["score"])
    passed[:, 0] = False
    anchor, label = np.nonzero(passed)
    order = np.argsort(-scores[anchor, label], kind="mergesort")[:5000]
    anchor, label = anchor[order], label[order]
    corners = boxes[anchor]
    alive, kept = np.ones(len(anchor), bool), []  # type: Any, List[int]
    for index in range(len(anchor)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == thresholds["max_detections"]:
            break
        alive &= (label != label[index]) | (overlaps(corners[index], corners) < np.float32(thresholds["iou"]))
    found = anchor[kept], label[kept]
    return np.column_stack((found[1], boxes[found[0]], scores[found])).astype(np.float64).reshape(-1, 6)


def overlaps(box: Any, boxes: Any) -> Any:
    """Intersection over union of one box with many, corners in any order; 0 where there is no area."""
    import numpy as np

    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    here_low, here_high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    common = np.maximum(np.minimum(here_high, high) - np.maximum(here_low, low), 0).prod(axis=1)
    union = (here_high - here_low).prod() + (high - low).prod(axis=1) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def match(reference: Any, candidate: Any, least_iou: float) -> List[Tuple[int, int, float]]:
    """Partners of two sides' detections [m, 6], as (reference row, candidate row, IoU).

    By descending candidate score, each takes the free one of its class that overlaps most, and at least ``least_iou``;
    of equal overlaps the one closest in score. Equal boxes overlap fully, with or without area.
    """
    import numpy as np

    free, pairs = np.ones(len(reference), bool), []
    for row in np.argsort(-candidate[:, 5], kind="mergesort"):
        overlap = overlaps(candidate[row, 1:5], reference[:, 1:5])
        overlap[(candidate[row, 1:5] == reference[:, 1:5]).all(axis=1)] = 1.0
        gap = np.abs(reference[:, 5] - candidate[row, 5])
        able = np.nonzero(free & (reference[:, 0] == candidate[row, 0]) & (overlap >= least_iou))[0]
        if able.size:
            partner = able[np.lexsort((gap[able], -overlap[able]))[0]]
            free[partner] = False
            pairs.append((int(partner), int(row), float(overlap[partner])))
    return pairs


# ---------------------------------------------------------------------------------------------------------- files, kit


def sha256(content: bytes) -> str:
    """SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def read_file(path: Any) -> bytes:
    """A file's bytes.

    Raises:
        EngineError: It cannot be read.
    """
    try:
        return Path(str(path)).read_bytes()
    except OSError as error:
        raise EngineError(f"{path} cannot be read: {error.strerror}", UNREADABLE, "check the path") from error


def write_file(path: Any, content: bytes) -> None:
    """Write under a temporary name beside ``path``, then rename: nothing is ever half there."""
    target = Path(str(path))
    temporary = target.with_name(f".{sha256(target.name.encode())[:16]}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise EngineError(
            f"{target} cannot be written: {error.strerror}", UNREADABLE, "check free space and permissions"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def json_bytes(document: Any) -> bytes:
    """A JSON document as the project writes it."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def read_json(path: Any) -> Dict[str, Any]:
    """A JSON object from a file.

    Raises:
        EngineError: It is none.
    """
    try:
        document = json.loads(read_file(path).decode("utf-8"))
    except ValueError as error:
        raise EngineError(f"{path} is no JSON: {error}", UNREADABLE) from error
    if not isinstance(document, dict):
        raise EngineError(f"{path} is no JSON object", UNREADABLE)
    return document


def refuse_unwritable(path: Any) -> None:
    """Say that a file cannot be written there before anything long runs.

    Raises:
        EngineError: It is a folder, or its folder is not there or takes no file.
    """
    target = Path(str(path))
    parent = target.absolute().parent
    if target.is_dir():
        raise EngineError(f"{target} is a folder", UNREADABLE, "name a file in it")
    if not parent.is_dir():
        raise EngineError(f"{target} cannot be written: there is no folder {parent}", UNREADABLE, "make it first")
    if not os.access(str(parent), os.W_OK | os.X_OK):
        raise EngineError(f"{target} cannot be written: no permission in {parent}", UNREADABLE, "choose another folder")


def read_artifact(
    path: Any,
    *,
    trust: bool = False,
    again: str = "build it again, or pass --trust if you made it yourself: a plan is native code",
) -> Tuple[bytes, Optional[Dict[str, Any]], Optional[str]]:
    """An artifact held against the manifest ``F.json`` beside it: its bytes, the manifest, what ``trust`` let pass.

    ``again`` is the next step where it does not hold.

    Raises:
        EngineError: No manifest, or one with another hash, and ``trust`` is not set (8).
    """
    content = read_file(path)
    beside = Path(str(path) + ".json")
    manifest = read_json(beside) if beside.exists() else None
    if manifest is not None and manifest.get("sha256") == sha256(content):
        return content, manifest, None
    what = "has no manifest" if manifest is None else "is not the file that its manifest describes"
    if not trust:
        raise EngineError(f"{path} {what}", MISMATCH, again)
    return content, manifest, "taken although it " + what


def need_numpy() -> None:
    """Say in words that NumPy is missing, before anything long runs.

    Raises:
        EngineError: It is, or does not work.
    """
    try:
        import numpy as np  # noqa: F401 - whether it is there
    except ImportError as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
        raise EngineError(
            f"NumPy cannot be imported: {reason}",
            TARGET,
            "install it: sudo apt-get install python3-numpy (elsewhere: python3 -m pip install numpy)",
        ) from error


def read_arrays(path: Any, content: Optional[bytes] = None) -> Any:
    """The array of a ``.npy``, or the arrays of a ``.npz`` by name; nothing pickled is ever loaded.

    Args:
        path: The file.
        content: Its bytes, where they were read before.

    Raises:
        EngineError: It cannot be read, is damaged, or holds something else.
    """
    import io

    import numpy as np

    content = read_file(path) if content is None else content
    again = "write it again with numpy.save or numpy.savez, numbers only; if it was copied, copy it again"
    if not content.startswith((b"\x93NUMPY", b"PK\x03\x04", b"PK\x05\x06")):
        what = "it is no .npy or .npz, and nothing else is loaded from it" if content else "it is empty"
        raise EngineError(f"{path} cannot be read: {what}", UNREADABLE, again)
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            arrays = {name: found[name] for name in found.files}
    except Exception as error:  # zipfile, zlib, struct, tokenize and NumPy each have their own
        reason = str(error) or type(error).__name__
        raise EngineError(f"{path} cannot be read: {reason}", UNREADABLE, again) from error
    strange = sorted(name for name, array in arrays.items() if not isinstance(array, np.ndarray))
    if strange:
        raise EngineError(f"{path} cannot be read: '{strange[0]}' in it is no array", UNREADABLE, again)
    return arrays


def own_folder() -> Path:
    """Where this script lies: a kit has its own copy."""
    return Path(__file__).resolve().parent


def kit_folder(named: Optional[str], otherwise: str) -> Path:
    """The kit that is meant: the one named, else the one this script lies in, else the current folder.

    Args:
        named: ``--kit``.
        otherwise: What to do where there is none.

    Raises:
        EngineError: None is named, and there is none in either place.
    """
    if named:
        return Path(named)
    own = own_folder()
    for folder in (own, Path()):
        if (folder / "kit.json").exists():
            if folder.resolve() != Path().resolve():
                say(f"kit: {folder}")
            return folder
    raise EngineError(f"there is no kit here: neither {own} nor the current folder has a kit.json", USAGE, otherwise)


def command_line(*words: str) -> str:
    """How this script was called, with other words."""
    called = sys.argv[0] if Path(sys.argv[0]).name == "run_engine.py" else "run_engine.py"
    return " ".join(["python3", *(shlex.quote(word) for word in (called, *words))])


ANEW = "write the kit again: hardnet-deploy kit"
COPY_AGAIN = "copy the whole kit again from where hardnet-deploy kit wrote it"
BOARDS = {(5, 3): "jetson-nano", (6, 1): "gtx-1080ti"}  # that hardnet-deploy kit writes for


class Kit:
    """The folder that a host wrote for this device: ``kit.json`` and the files it names with their hashes.

    Raises:
        EngineError: It is no kit (2), has another schema, lacks a part or a file, or a file changed since it was
            written (8): nothing of it is used then.
    """

    NEEDED = (
        "onnx", "settings", "preprocess", "samples", "tolerances", "files", "family", "compute_capability",
    )  # fmt: skip

    def __init__(self, folder: Any) -> None:
        self.folder = Path(str(folder))
        path = self.folder / "kit.json"
        if not path.exists():
            raise EngineError(
                f"{self.folder} is no kit: it has no kit.json",
                USAGE,
                "write one with hardnet-deploy kit, or give its folder",
            )
        self.record = read_json(path)
        self.sha256 = sha256(read_file(path))
        if self.record.get("schema") != KIT_SCHEMA or self.record.get("kind") != "kit":
            raise EngineError(
                "{} has another schema: {}, this run_engine.py reads {}".format(
                    path, self.record.get("schema"), KIT_SCHEMA
                ),
                MISMATCH,
                "use the run_engine.py that came with the kit, or " + ANEW,
            )
        missing = [key for key in self.NEEDED if key not in self.record]
        if missing:
            raise EngineError(f"{path} lacks {', '.join(missing)}", MISMATCH, ANEW)
        self.engine = self.folder / "model.engine"
        for name, entry in sorted(self.record["files"].items()):
            self.read(dict(entry, file=name))

    def read(self, entry: Dict[str, str]) -> bytes:
        """A file of the kit.

        Raises:
            EngineError: It changed since the kit was written (8).
        """
        path = self.folder / entry["file"]
        if not path.exists():
            raise EngineError(f"the kit lacks {path}", MISMATCH, COPY_AGAIN)
        content = read_file(path)
        if sha256(content) != entry["sha256"]:
            raise EngineError(f"{path} changed since the kit was written", MISMATCH, COPY_AGAIN)
        return content

    def refuse_other_board(self, trt: Any, device: Dict[str, Any]) -> None:
        """Before anything is built.

        Raises:
            EngineError: This GPU or this TensorRT is not what the kit was written for (3).
        """
        record, here = self.record, tuple(device["compute_capability"])
        target, model = record.get("target"), (record.get("model") or {}).get("name") or "MODEL"
        if here != tuple(record["compute_capability"]):
            own = f"hardnet-deploy build-engine {model} --target gpu, on this machine"
            if here in BOARDS:
                own = f"hardnet-deploy kit {model} --target {BOARDS[here]} -o DIR, on the machine that wrote this one"
            raise EngineError(
                "the kit in {} is for target '{}' (sm_{}{}), this is {}".format(
                    self.folder, target, *record["compute_capability"], _gpu_text(device)
                ),
                TARGET,
                "for this device: " + own,
            )
        least = tuple(record.get("minimum_tensorrt") or ())
        if family(trt) != record["family"] or _version_number(trt) < least:
            wanted = record.get("runtime") or "TensorRT " + record["family"]
            raise EngineError(
                f"the kit in {self.folder} is for {wanted}, this is TensorRT {trt.__version__}",
                TARGET,
                f"install {wanted}, and run it with the Python that has it",
            )

    def settings(self) -> Dict[str, Any]:
        """The build settings, with bytes where ``kit.json`` names files."""
        settings = dict(self.record["settings"])
        for key in ("calibration_cache", "timing_cache", "dynamic_ranges"):
            entry = settings.get(key)
            if isinstance(entry, dict) and set(entry) == {"file", "sha256"}:
                content = self.read(entry)
                settings[key] = json.loads(content.decode())["dynamic_ranges"] if key == "dynamic_ranges" else content
        return settings

    def built(self) -> Path:
        """The engine that ``build`` made here.

        Raises:
            EngineError: There is none yet.
        """
        if not self.engine.exists():
            raise EngineError(
                f"the kit has no engine yet: {self.engine} is not there",
                UNREADABLE,
                f"build it: {command_line('build', '--kit', str(self.folder))}",
            )
        return self.engine

    def arrays(self, which: str) -> Arrays:
        """``inputs``: ``pixels``; ``reference``: see :func:`compare`."""
        entry = self.record["samples"][which]
        found = read_arrays(self.folder / entry["file"], self.read(entry))
        if not isinstance(found, dict):
            raise EngineError(f"{self.folder / entry['file']} holds one array, not several by name", MISMATCH, ANEW)
        return found

    def pixels(self) -> Any:
        """The samples, uint8 [n, 3, S, S].

        Raises:
            EngineError: They are something else.
        """
        found = self.arrays("inputs").get("pixels")
        if found is None or str(found.dtype) != "uint8" or found.ndim != 4 or not len(found):
            raise EngineError(f"the kit in {self.folder} has no samples to feed", MISMATCH, ANEW)
        return found


# ------------------------------------------------------------------------------------------------------------- parity


def compare(engine: Engine, kit: Kit) -> Dict[str, Any]:
    """Run the kit's samples and hold the results against PyTorch's.

    ``reference.npz`` holds ``detections_<i>`` [m, 6] (class, x1, y1, x2, y2 in fractions of the image, score) for
    sample i, and for outputs that are no detections ``<name>`` [n, ...], or a sample of it: ``<name>.index`` [k] into
    the flattened output of one sample and ``<name>.values`` [n, k].

    ``tolerances`` of ``kit.json``: ``outputs`` {atol, rtol, of_scale}, ``logits`` {noise_share, rank}, ``detections``
    and ``shown`` {iou, score, share}, each None where it judges nothing, and ``shown_score``. ``noise_share`` is the
    error's energy by the reference's, over the values of one sample; ``rank`` the place that PyTorch's best class has
    among the engine's.

    Returns:
        The ``parity`` block of ``report.json``. Nothing compared is a failure, and so is what no rule judges.
    """
    import numpy as np

    pixels, reference = kit.pixels(), kit.arrays("reference")
    tolerances, thresholds = kit.record["tolerances"], kit.record.get("thresholds")
    shown = float(tolerances.get("shown_score", 0.3))
    bounds = tolerances.get("shown") or tolerances.get("detections")
    samples, failures = [], []  # type: List[Dict[str, Any]], List[str]
    totals = {"all": [0, 0, 0, 0], "shown": [0, 0, 0, 0]}
    ious, gaps = [], []  # type: List[float], List[float]
    compared = judged = 0
    for index in range(len(pixels)):
        outputs = engine.infer(feeds_of(engine, pixels[index : index + 1], kit.record["preprocess"]))
        sample = {"index": index}  # type: Dict[str, Any]
        others = {name: value[:1] for name, value in outputs.items() if name not in DETECTION_OUTPUTS}
        sample["outputs"] = _compare_outputs(others, reference, index, tolerances)
        compared += len(sample["outputs"])
        judged += sum(found["passed"] is not None for found in sample["outputs"].values())
        failures += [
            f"sample {index}: output '{name}' is off by {found['max_error']}, its largest value is {found['scale']:g}"
            + _of_logits(found)
            for name, found in sample["outputs"].items()
            if found["passed"] is False
        ]
        expected = reference.get(f"detections_{index}")
        if expected is not None and bounds:
            expected = np.asarray(expected, np.float64).reshape(-1, 6)
            try:
                found = to_detections(outputs, thresholds)[0]
            except EngineError as error:
                if error.code != UNREADABLE:
                    raise
                failures.append(f"sample {index}: {error.what}")
                found = np.zeros((0, 6))
            pairs = match(expected, found, float(bounds["iou"]))
            differences = [abs(expected[one, 5] - found[other, 5]) for one, other, _ in pairs]
            alike = [pair for pair, gap in zip(pairs, differences) if gap <= bounds["score"]]
            sample.update(
                reference=len(expected),
                candidate=len(found),
                matched=len(alike),
                missing=len(expected) - len(alike),
                extra=len(found) - len(alike),
                worst_iou=min([iou for _, _, iou in pairs]) if pairs else None,
                worst_score_difference=float(max(differences)) if pairs else None,
            )
            ious += [iou for _, _, iou in pairs]
            gaps += [float(gap) for gap in differences]
            for key, least in (("all", -math.inf), ("shown", shown)):
                counts = (
                    sum(expected[:, 5] >= least),
                    sum(expected[one, 5] >= least for one, _, _ in alike),
                    sum(found[:, 5] >= least),
                    sum(found[other, 5] >= least for _, other, _ in alike),
                )
                totals[key] = [total + int(count) for total, count in zip(totals[key], counts)]
            compared += len(expected) + len(found)
        samples.append(sample)
    for key, rule in (("all", tolerances.get("detections")), ("shown", tolerances.get("shown"))):
        failures += _too_few(key, totals[key], rule, shown)
        judged += totals[key][0] + totals[key][2] if rule else 0
    if not compared:
        failures.append(
            "nothing was compared: the samples, their references and the engine's outputs have nothing in common"
        )
    elif not judged:
        failures.append("not judged: values were compared, but no rule of the kit says how far they may be off")
    ours, ours_matched, theirs, theirs_matched = totals["all"]
    detections = {
        "matched": ours_matched,
        "missing": ours - ours_matched,
        "extra": theirs - theirs_matched,
        "worst_iou": min(ious) if ious else None,
        "worst_score_difference": max(gaps) if gaps else None,
        "shown": dict(
            zip(("reference", "matched_reference", "candidate", "matched_candidate"), totals["shown"]),
            least_score=shown,
        ),
    }
    return {
        "passed": not failures,
        "failures": failures,
        "samples": samples,
        "detections": detections,
        "tolerances": tolerances,
    }


def feeds_of(engine: Engine, pixels: Any, preprocess: Dict[str, Any]) -> Arrays:
    """The engine's one input for pixels uint8 [n, 3, S, S]; a fixed batch is filled up with the last image."""
    import numpy as np

    if len(engine.inputs) != 1:
        raise EngineError(f"the engine has {len(engine.inputs)} inputs, one was expected", USAGE)
    entry = engine.inputs[0]
    batch = entry["shape"][0]
    if batch > len(pixels):
        pixels = np.concatenate([pixels] + [pixels[-1:]] * (batch - len(pixels)))
    return {entry["name"]: to_input(pixels, preprocess).astype(entry["dtype"])}


def _of_logits(found: Dict[str, Any]) -> str:
    if found.get("noise_share") is None:
        return ""
    return "; its error has {:.3g} of the reference's energy, PyTorch's best class is the engine's number {}".format(
        found["noise_share"], found["rank"]
    )


def _compare_outputs(outputs: Arrays, reference: Arrays, index: int, tolerances: Dict[str, Any]) -> Dict[str, Any]:
    """``passed`` of each output: None where nothing judges it; values that are no numbers never pass."""
    import numpy as np

    rule, logits = tolerances.get("outputs"), tolerances.get("logits")

    results = {}
    for name, value in sorted(outputs.items()):
        if name in reference:
            wanted, got = reference[name][index].reshape(-1), value.reshape(-1)
        elif name + ".index" in reference:
            wanted, got = reference[name + ".values"][index], value.reshape(-1)[reference[name + ".index"]]
        else:
            continue
        wanted, got = wanted.astype(np.float64), got.astype(np.float64)
        if wanted.shape != got.shape:
            raise EngineError(f"output '{name}' has {got.size} values, its reference {wanted.size}", PARITY)
        error, scale = np.abs(got - wanted), float(np.abs(wanted).max())
        finite = bool(np.isfinite(got).all())
        found = {"max_error": float(error.max()) if finite else None, "scale": scale}  # type: Dict[str, Any]
        verdicts = [] if finite else [False]
        if finite and rule:
            bound = rule["atol"] + rule["rtol"] * np.abs(wanted) + rule.get("of_scale", 0.0) * scale
            verdicts.append(bool((error <= bound).all()))
        if finite and logits:
            energy = float((wanted**2).sum())
            found["noise_share"] = float((error**2).sum()) / energy if energy else None
            found["rank"] = 1 + int((got > got[wanted.argmax()]).sum())
            share = found["noise_share"]
            verdicts.append(share is not None and share <= logits["noise_share"] and found["rank"] <= logits["rank"])
        results[name] = dict(found, passed=all(verdicts) if verdicts else None)
    return results


def _too_few(key: str, counts: Sequence[int], rule: Optional[Dict[str, Any]], shown: float) -> List[str]:
    if not rule:
        return []
    what = "detections" if key == "all" else f"detections of at least {shown:g}"
    sides = (("reference", counts[0], counts[1]), ("engine", counts[2], counts[3]))
    return [
        f"only {matched} of {total} {what} of the {side} have a partner "
        f"({100.0 * matched / total:.2f} %, wanted {100 * rule['share']:g} %)"
        for side, total, matched in sides
        if total and matched < rule["share"] * total
    ]


# ------------------------------------------------------------------------------------------------------------- timing

PROTOCOL = {"warm_up_ms": 200, "iterations": 300, "duration_ms": 0, "cuda_graph": False}
LARGEST_COV = 2.5
BOUNDARY = "GPU compute, inputs resident, NMS in"
REPORT, PREVIOUS_REPORT = "report.json", "report.previous.json"


def summarise(values: Sequence[float]) -> Dict[str, Any]:
    """Median, mean, percentiles, extremes and coefficient of variation of times in milliseconds.

    Quantiles are interpolated linearly at place q (n - 1), as NumPy's are. More than 2.5 % of variation (the standard
    deviation over n by the mean) is unstable.
    """
    ordered = sorted(values)
    mean = sum(ordered) / len(ordered)
    spread = math.sqrt(sum((value - mean) ** 2 for value in ordered) / len(ordered))
    variation = 100 * spread / mean if mean else 0.0
    return {
        "median": _quantile(ordered, 0.5),
        "mean": mean,
        "p90": _quantile(ordered, 0.9),
        "p95": _quantile(ordered, 0.95),
        "p99": _quantile(ordered, 0.99),
        "min": ordered[0],
        "max": ordered[-1],
        "cov_percent": variation,
        "stable": variation <= LARGEST_COV,
    }


def variation_text(percent: float) -> str:
    """A variation with two digits behind the point, or as many as tell it from the limit."""
    digits = 2
    while digits < 15 and (float(f"{percent:.{digits}f}") <= LARGEST_COV) != (percent <= LARGEST_COV):
        digits += 1
    return f"{percent:.{digits}f}"


def _quantile(ordered: Sequence[float], share: float) -> float:
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def measure(engine: Engine, feeds: Arrays, protocol: Dict[str, Any], fed: str) -> Dict[str, Any]:
    """The ``timing`` block of ``report.json``; ``fed`` says what the inputs are, as the NMS's time depends on them.

    ``conditions`` are of just before the warm-up and just after the last run, and stand there where any can be read.
    """
    used = dict(PROTOCOL)  # type: Dict[str, Any]
    used.update({key: value for key, value in protocol.items() if key in PROTOCOL})
    before = read_conditions()
    times = engine.bench(feeds, **used)
    after = read_conditions()
    names = {entry["name"] for entry in engine.outputs}
    boundary = BOUNDARY if set(DETECTION_OUTPUTS) <= names else BOUNDARY.replace("NMS in", "NMS out")
    block = {"protocol": dict(protocol, **used), "inputs": fed, "boundary": boundary}  # type: Dict[str, Any]
    block.update(times)
    block.update(summarise(times["gpu_compute_ms"]))
    if before or after:
        block["conditions"] = {"before": before, "after": after}
    return block


# -------------------------------------------------------------------------------------------------------- environment


def read_device(cuda: Cuda) -> Dict[str, Any]:
    """The GPU and, where it can be read, a Jetson's power mode."""
    device = {key: value for key, value in cuda.device().items() if key != "free_bytes"}
    mode = power_mode()
    return dict(device, power_mode=mode) if mode else device


def power_mode() -> Optional[str]:
    """Of a Jetson, as ``nvpmodel -q`` says; None elsewhere."""
    found = re.search(r"NV Power Mode:\s*(\S+)", _asked("nvpmodel", "-q"))
    return found.group(1) if found else None


def _asked(program: str, *options: str) -> str:
    """What a program says; nothing where it is not there, or does not answer."""
    place = shutil.which(program)
    if place is None:
        return ""
    try:
        done = subprocess.run(
            [place, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
            timeout=10,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    return str(done.stdout)


SYSTEM = Path("/sys")
ASKED_OF_DRIVER = (
    ("gpu_temperature_c", "temperature.gpu"),
    ("gpu_mhz", "clocks.sm"),
    ("gpu_memory_mhz", "clocks.mem"),
)


def read_conditions() -> Dict[str, Any]:
    """What times depend on beside the engine, as far as it can be read; empty where nothing can.

    ``temperature_c`` by the kernel's thermal zone; ``gpu_mhz`` with ``gpu_min_mhz`` and ``gpu_max_mhz`` of a Jetson,
    all equal where the clock is locked (L4T: /sys/class/devfreq/57000000.gpu); ``cpu_mhz`` of the first core; of a
    card, where there is only one, what ``nvidia-smi`` says.
    """
    found = {}  # type: Dict[str, Any]
    zones = sorted((SYSTEM / "class/thermal").glob("thermal_zone*"))
    temperatures = {}
    for zone in zones:
        milli = _number_in(zone / "temp")
        if milli is not None:
            kind = _text_in(zone / "type") or zone.name
            temperatures[f"{kind} ({zone.name})" if kind in temperatures else kind] = milli / 1000
    if temperatures:
        found["temperature_c"] = temperatures
    places = [("cpu_mhz", SYSTEM / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e3)]
    for gpu in sorted((SYSTEM / "class/devfreq").glob("*.gpu"))[:1]:
        places += [
            (name, gpu / file, 1e6)
            for name, file in (("gpu_mhz", "cur_freq"), ("gpu_min_mhz", "min_freq"), ("gpu_max_mhz", "max_freq"))
        ]
    for name, path, unit in places:
        value = _number_in(path)
        if value is not None:
            found[name] = value / unit
    query = "--query-gpu=" + ",".join(field for _, field in ASKED_OF_DRIVER)
    cards = _asked("nvidia-smi", query, "--format=csv,noheader,nounits").strip().splitlines()
    answers = cards[0].split(",") if len(cards) == 1 else []
    for (name, _), answer in zip(ASKED_OF_DRIVER, answers):
        if re.match(r"\d+(\.\d+)?$", answer.strip()):
            found[name] = float(answer)
    return found


def _text_in(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""


def _number_in(path: Path) -> Optional[float]:
    text = _text_in(path)
    return float(text) if re.match(r"-?\d+$", text) else None


def free_memory() -> Optional[int]:
    """Bytes of memory and swap that Linux could still give; None where it does not say."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", text, flags=re.MULTILINE))
    if "MemAvailable" not in found:
        return None
    return 1024 * (int(found["MemAvailable"]) + int(found.get("SwapFree", 0)))


def warn_of_room(kit: Kit, output: Path) -> None:
    """Say where a build may not find the memory or the disk that the kit's estimate has."""
    estimate = kit.record.get("estimate") or {}
    memory, available = estimate.get("build_memory_bytes"), free_memory()
    if memory and available is not None and available < memory:
        say(
            f"warning: the build may need {memory // MIB} MiB, {available // MIB} MiB of memory and swap are free: "
            "add swap, or close other programs"
        )
    disk = estimate.get("disk_bytes")
    if not disk:
        return
    try:
        written = {kit.engine.name, kit.engine.name + ".json", REPORT}
        here = sum(path.stat().st_size for path in kit.folder.rglob("*") if path.is_file() and path.name not in written)
        free = shutil.disk_usage(str(output.resolve().parent)).free
    except OSError:
        return
    if free < disk - here:
        say(
            f"warning: the build may write {(disk - here) // MIB} MiB, {free // MIB} MiB of disk are free in "
            f"{output.resolve().parent}: make room first"
        )


def open_tensorrt() -> Any:
    """The tensorrt module.

    Raises:
        EngineError: It is not there, or does not work.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise EngineError(
            f"the Python package tensorrt cannot be imported: {error}",
            TARGET,
            "install TensorRT's Python bindings; on a Jetson they come with JetPack",
        ) from error
    return tensorrt


def _attempt(ask: Callable[[], Any]) -> Dict[str, Any]:
    try:
        answer = ask()  # type: Dict[str, Any]
    except EngineError as error:
        return {"problem": error.what}
    except Exception as error:  # noqa: BLE001 - info says what is wrong with anything that is there
        return {"problem": f"{type(error).__name__}: {error}"}
    return answer


def information() -> Dict[str, Any]:
    """What this device has; never fails."""

    def numpy() -> Dict[str, Any]:
        import numpy as np

        return {"version": np.__version__}

    def tensorrt() -> Dict[str, Any]:
        trt = open_tensorrt()
        plugins = plugin_names(trt)
        return {
            "version": str(trt.__version__),
            "family": family(trt),
            "plugins": list(plugins),
            "efficient_nms": "EfficientNMS_TRT" in plugins,
        }

    def cuda() -> Dict[str, Any]:
        layer = open_cuda()
        try:
            return dict(layer.device(), layer=layer.name)
        finally:
            layer.close()

    return {
        "schema": SCHEMA,
        "kind": "device-info",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "numpy": _attempt(numpy),
        "tensorrt": _attempt(tensorrt),
        "cuda": _attempt(cuda),
        "power_mode": power_mode(),
        "free_memory_bytes": free_memory(),
    }


# ----------------------------------------------------------------------------------------------------------- commands


@contextlib.contextmanager
def opened() -> Iterator[Tuple[Any, Cuda]]:
    """The tensorrt module and the GPU, which is given back."""
    trt = open_tensorrt()
    cuda = open_cuda()
    with _giving_back() as rest:
        rest.callback(cuda.close)
        yield trt, cuda


@contextlib.contextmanager
def loaded(path: Any, *, trust: bool) -> Iterator[Tuple[Engine, Dict[str, Any], Any, Cuda]]:
    """An engine file, ready to run: engine, manifest, tensorrt module, GPU.

    The manifest's ``sha256`` is that of the file, and ``trusted`` says what ``trust`` let pass.
    """
    plan, manifest, warning = read_artifact(path, trust=trust)
    if warning:
        say(f"warning: {path} {warning}")
    record = dict(manifest or {}, sha256=sha256(plan))
    if warning:
        record["trusted"] = warning
    with opened() as (trt, cuda), Engine(trt, cuda, plan, manifest) as engine:
        if engine.warning:
            say(f"warning: {path}: {engine.warning}")
        yield engine, record, trt, cuda


def _marked(document: Dict[str, Any], manifest: Dict[str, Any]) -> Dict[str, Any]:
    """A result, which says where its engine was taken without a matching manifest."""
    return dict(document, trusted=manifest["trusted"]) if "trusted" in manifest else document


def say(text: str) -> None:
    """Progress and warnings go to stderr: stdout is the result."""
    sys.stderr.write(text + "\n")


def plan_manifest(
    source: Optional[Dict[str, Any]],
    source_sha256: str,
    built: Dict[str, Any],
    device: Dict[str, Any],
    cuda_layer: str,
    settings: Dict[str, Any],
    target: Optional[str],
    command: Sequence[str],
) -> Dict[str, Any]:
    """The manifest of a plan: the graph's own, with what this build adds; the project's schema 1."""
    record = {
        "model": {},
        "weights": {},
        "preprocess": {},
        "class_names": [],
        "head": None,
        "target": None,
        "graph": {},
    }  # type: Dict[str, Any]
    record.update({key: value for key, value in (source or {}).items() if key in record})
    versions = {
        "python": platform.python_version(),
        "tensorrt": built["tensorrt"],
        "gpu": device["name"],
        "compute_capability": "{}.{}".format(*device["compute_capability"]),
        "cuda_layer": cuda_layer,
    }
    record.update(
        kind="tensorrt",
        target=target or record["target"],
        sha256=sha256(built["plan"]),
        versions=versions,
        precision={
            "requested": settings.get("precision", "fp32"),
            "requested_by_layer": built["requested"],
            "achieved": built["achieved"],
            "layers": layer_precisions(built["layers"]),
            "fell_back": built["precisions"]["fell_back"],
            "allow_fallback": built["precisions"]["allow_fallback"],
            "typed": bool(settings.get("typed")),
        },
        checks={"source": {"sha256": source_sha256}, "notes": built["notes"]},
        command=list(command),
        schema=SCHEMA,
    )
    return record


def _bytes_of(text: str) -> int:
    found = re.match(r"(\d+(?:\.\d+)?)([KMG]?)i?B?$", text, flags=re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is no size, such as 256M")
    return int(float(found.group(1)) * 1024 ** " KMG".index(found.group(2).upper() or " "))


def _count_of(text: str) -> int:
    if not re.match(r"[1-9]\d{0,8}$", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of runs")
    return int(text)


def _duration_of(text: str) -> float:
    if not re.match(r"\d{1,9}(\.\d+)?$", text):
        raise argparse.ArgumentTypeError(f"'{text}' is no time in milliseconds")
    return float(text)


def _settings_of(options: Any) -> Dict[str, Any]:
    settings = {
        "precision": options.precision or "fp32",
        "typed": options.typed,
        "workspace_bytes": options.workspace,
        "timing_cache_locked": options.locked,
    }  # type: Dict[str, Any]
    if options.cache:
        settings["calibration_cache"] = read_file(options.cache)
    if options.ranges:
        settings["dynamic_ranges"] = _ranges_in(options.ranges)
    for key, names in (("fp32_layers", options.fp32_layers), ("fp32_outputs", options.fp32_outputs)):
        if names:
            settings[key] = names.split(",")
    if options.batch:
        if not re.match(r"\d+,\d+,\d+$", options.batch):
            raise EngineError(f"--batch {options.batch} is no range", USAGE, "give --batch MIN,OPT,MAX")
        settings["batch"] = [int(size) for size in options.batch.split(",")]
    settings.update(_timing_cache_of(options))
    return settings


def _timing_cache_of(options: Any) -> Dict[str, Any]:
    """What belongs to this device alone, and so goes beside a kit's settings too."""
    settings = {"timing_cache_locked": options.locked}  # type: Dict[str, Any]
    if options.timing_cache and Path(options.timing_cache).exists():
        settings["timing_cache"] = read_file(options.timing_cache)
    return settings


def _ranges_in(path: str) -> Dict[str, List[float]]:
    ranges = read_json(path).get("dynamic_ranges")
    if not isinstance(ranges, dict) or not ranges:
        raise EngineError(f"{path} has no 'dynamic_ranges'", UNREADABLE, "write it with hardnet-deploy calibrate")
    for name, pair in ranges.items():
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(side, (int, float)) for side in pair)):
            raise EngineError(
                f"{path}: the range of '{name}' is no [low, high]", UNREADABLE, "write it with hardnet-deploy calibrate"
            )
    return ranges


def build_file(
    source: Path,
    output: Path,
    settings: Dict[str, Any],
    *,
    trust: bool,
    target: Optional[str],
    command: Sequence[str],
    notes: Sequence[str] = (),
    kit: Optional[Kit] = None,
    allow_fallback: bool = False,
    timing_cache: Optional[str] = None,
    layers: Optional[str] = None,
) -> Dict[str, Any]:
    """Build a plan from an ONNX file and write it with its manifest.

    Args:
        source: The ONNX file.
        output: The plan.
        settings: See :data:`SETTINGS`.
        trust: Take an ONNX file without a matching manifest.
        target: For the manifest.
        command: Likewise.
        notes: They stand before those of the build.
        kit: Where the ONNX file is of one: only the board that it is for builds.
        allow_fallback: Of :func:`judge_precisions`.
        timing_cache: Where to keep it, also of an engine that is refused: what was measured stays true.
        layers: Where to write what the engine inspector says, likewise.

    Returns:
        What was built, see :func:`build`, with ``precisions``, ``manifest``, ``device`` and ``seconds``.

    Raises:
        EngineError: See :func:`build` and :func:`judge_precisions`; a file cannot be written (4).
    """
    again = COPY_AGAIN if kit else "write it with hardnet-deploy export, or pass --trust if you made it yourself"
    content, manifest, warning = read_artifact(source, trust=trust, again=again)
    notes = list(notes)
    if warning:
        say(f"warning: {source} {warning}")
        notes.append(f"{source.name} was {warning}")
    shown = []  # type: List[str]

    def progress(title: str, done: int, total: int) -> None:
        if sys.stderr.isatty() and not (shown and shown[-1] == title and done % 10):
            shown.append(title)
            sys.stderr.write(f"\r\033[K{title}: {done} of {total}")

    with opened() as (trt, cuda):
        device = cuda.device()
        if kit is not None:
            kit.refuse_other_board(trt, device)
            warn_of_room(kit, output)
        say(f"building for {_gpu_text(device)} with TensorRT {trt.__version__}; this takes minutes")
        began = time.perf_counter()
        with contextlib.ExitStack() as once:
            if family(trt).startswith("8."):  # no IProgressMonitor: nothing stops a build but the end of the process
                once.enter_context(_on_interrupt(signal.SIG_DFL))
            built = build(trt, content, settings, progress=progress)
        built["seconds"] = time.perf_counter() - began
        if shown:
            say("")
        if timing_cache and built["timing_cache"]:
            write_file(timing_cache, built["timing_cache"])
        if layers and built["layers"]:
            write_file(layers, built["layers"].encode("utf-8"))
        built["precisions"], told = judge_precisions(built, allow_fallback=allow_fallback)
        built["notes"] = notes + built["notes"] + told
        record = plan_manifest(manifest, sha256(content), built, device, cuda.name, settings, target, command)
    write_file(output, built["plan"])
    write_file(str(output) + ".json", json_bytes(record))
    return dict(built, manifest=record, device=device)


def _kit_settings(kit: Kit, options: Any) -> Tuple[Dict[str, Any], List[str]]:
    """The kit's build settings with the workspace that this device is given, and a sentence on it."""
    settings, notes = kit.settings(), []  # type: Dict[str, Any], List[str]
    if options.workspace is not None and options.workspace != settings.get("workspace_bytes"):
        kits = settings.get("workspace_bytes")
        notes.append(
            "the workspace is {:g} MiB by command line, the kit has {}".format(
                options.workspace / MIB, f"{kits / MIB:g} MiB" if kits else "no limit"
            )
        )
        settings["workspace_bytes"] = options.workspace
    return settings, notes


def run_build(options: Any) -> Dict[str, Any]:
    """``build``."""
    if options.onnx and options.kit:
        raise EngineError("an ONNX file and a kit are named", USAGE, "name one of them")
    if options.onnx:
        source, output = Path(options.onnx), Path(options.output or str(Path(options.onnx).with_suffix(".engine")))
        _refuse_outputs(options, output)
        settings, notes, kit = _settings_of(options), [], None  # type: Dict[str, Any], List[str], Optional[Kit]
    else:
        folder = kit_folder(options.kit, "python3 run_engine.py build MODEL.onnx, or give a kit's folder: --kit DIR")
        decided = [
            "--" + name.replace("_", "-")
            for name in ("precision", "typed", "cache", "ranges", "fp32_layers", "fp32_outputs", "batch")
            if getattr(options, name)
        ]
        if decided:
            raise EngineError(
                f"the kit in {folder} decides how it is built: {', '.join(decided)} cannot be given with it",
                USAGE,
                "leave it out, or name the ONNX file instead of the kit",
            )
        kit = Kit(folder)
        kit.read(kit.record["onnx"])
        source, output = kit.folder / kit.record["onnx"]["file"], Path(options.output or str(kit.engine))
        _refuse_outputs(options, output)
        settings, notes = _kit_settings(kit, options)
        settings.update(_timing_cache_of(options))
    built = build_file(
        source,
        output,
        settings,
        trust=options.trust,
        target=kit.record.get("target") if kit else None,
        command=options.command_line,
        notes=notes,
        kit=kit,
        allow_fallback=options.allow_fallback,
        timing_cache=options.timing_cache,
        layers=options.layers,
    )
    document = {key: built[key] for key in ("seconds", "notes", "tensorrt", "missing_ranges", "unmatched_layers")}
    document.update(engine=str(output), sha256=built["manifest"]["sha256"], precision=built["manifest"]["precision"])
    return document


def _refuse_outputs(options: Any, output: Path) -> None:
    """Where a build is to write and cannot, say so before it takes its minutes."""
    for path in filter(None, (output, str(output) + ".json", options.timing_cache, options.layers)):
        refuse_unwritable(path)


def run_run(options: Any) -> Dict[str, Any]:
    """``run``."""
    import io

    need_numpy()
    import numpy as np

    if options.output:
        refuse_unwritable(options.output)
    given = read_arrays(options.input)
    with loaded(options.engine, trust=options.trust) as (engine, manifest, _, _):
        outputs = engine.infer(given if isinstance(given, dict) else {engine.inputs[0]["name"]: given})
    if options.output:
        stored = io.BytesIO()
        np.savez(stored, **outputs)
        write_file(options.output, stored.getvalue())
    document = {
        "engine": options.engine,
        "outputs": {name: {"dtype": str(value.dtype), "shape": list(value.shape)} for name, value in outputs.items()},
    }
    return _marked(document, manifest)


def run_detect(options: Any) -> Dict[str, Any]:
    """``detect``."""
    need_numpy()
    folder = Path(options.engine).parent
    if (folder / "kit.json").exists():
        Kit(folder)  # a kit that is not whole detects nothing
    results = []
    with loaded(options.engine, trust=options.trust) as (engine, manifest, _, _):
        if not manifest.get("preprocess"):
            raise EngineError(
                f"{options.engine} has no manifest that tells its pre-processing",
                MISMATCH,
                "build it from a graph that has its manifest",
            )
        names = manifest.get("class_names") or []
        for path in options.images:
            image = read_image(path)
            height, width = image.shape[:2]
            outputs = engine.infer(
                feeds_of(engine, to_pixels(image, manifest["preprocess"])[None], manifest["preprocess"])
            )
            rows = to_detections(outputs, (manifest.get("graph") or {}).get("thresholds"))[0]
            found = [
                {
                    "class": names[int(row[0])] if int(row[0]) < len(names) else str(int(row[0])),
                    "class_id": int(row[0]),
                    "score": float(row[5]),
                    "box": [float(side) for side in row[1:5] * (width, height, width, height)],
                }
                for row in rows
                if row[5] >= options.score_threshold
            ]
            results.append({"image": path, "width": width, "height": height, "detections": found})
    return _marked({"engine": options.engine, "images": results}, manifest)


def run_parity(options: Any) -> Dict[str, Any]:
    """``parity``."""
    need_numpy()
    kit = Kit(kit_folder(options.kit, "give a kit's folder: python3 run_engine.py parity --kit DIR"))
    with loaded(options.engine or kit.built(), trust=options.trust) as (engine, manifest, _, _):
        return _marked(compare(engine, kit), manifest)


def run_bench(options: Any) -> Dict[str, Any]:
    """``bench``."""
    need_numpy()
    kit = None
    if options.kit or not options.engine:
        kit = Kit(kit_folder(options.kit, "python3 run_engine.py bench F.engine, or give a kit's folder: --kit DIR"))
    protocol = dict(kit.record.get("protocol") or {}) if kit else {}
    asked = {
        "warm_up_ms": options.warm_up,
        "iterations": options.iterations,
        "duration_ms": options.duration,
        "cuda_graph": options.cuda_graph or None,
    }
    protocol.update({key: value for key, value in asked.items() if value is not None})
    path = options.engine or (kit and kit.built())
    with loaded(path, trust=options.trust) as (engine, manifest, trt, cuda):
        feeds, fed = _bench_feeds(engine, kit, manifest.get("preprocess"))
        document = {
            "engine": str(path),
            "sha256": manifest["sha256"],
            "device": read_device(cuda),
            "tensorrt": str(trt.__version__),
            "cuda_layer": cuda.name,
            "timing": measure(engine, feeds, protocol, fed),
        }
        return _marked(document, manifest)


def _bench_feeds(engine: Engine, kit: Optional[Kit], preprocess: Optional[Dict[str, Any]]) -> Tuple[Arrays, str]:
    import numpy as np

    if kit is not None:
        return feeds_of(engine, kit.pixels()[:1], kit.record["preprocess"]), "sample 0 of the kit"
    shape = [max(1, size) for size in engine.inputs[0]["shape"]]
    noise = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    if preprocess:
        return feeds_of(engine, noise, preprocess), "noise, pre-processed: few or no boxes reach the NMS"
    return {engine.inputs[0]["name"]: noise.astype(engine.inputs[0]["dtype"])}, "noise of 0 to 255"


def run_info(options: Any) -> Dict[str, Any]:
    """``info``."""
    return information()


def run_all(options: Any) -> Dict[str, Any]:
    """``all``: build, parity, timing and ``report.json``."""
    folder = kit_folder(options.kit, "give a kit's folder: python3 run_engine.py all --kit DIR")
    _set_aside(folder / REPORT, folder / PREVIOUS_REPORT)
    need_numpy()
    kit = Kit(folder)
    kit.read(kit.record["onnx"])
    settings, notes = _kit_settings(kit, options)
    kit.pixels()
    refuse_unwritable(folder / REPORT)
    built = build_file(
        kit.folder / kit.record["onnx"]["file"],
        kit.engine,
        settings,
        trust=options.trust,
        target=kit.record.get("target"),
        command=options.command_line,
        notes=notes,
        kit=kit,
        allow_fallback=options.allow_fallback,
    )
    with loaded(kit.engine, trust=False) as (engine, manifest, trt, cuda):
        say("comparing with PyTorch's references")
        parity = compare(engine, kit)
        say("timing")
        feeds, fed = _bench_feeds(engine, kit, None)
        timing = measure(engine, feeds, kit.record.get("protocol") or {}, fed)
        report = {
            "schema": REPORT_SCHEMA,
            "kind": "device-report",
            "kit_sha256": kit.sha256,
            "onnx_sha256": kit.record["onnx"]["sha256"],
            "engine_sha256": manifest["sha256"],
            "model": kit.record.get("model"),
            "trained": kit.record.get("trained"),
            "target": kit.record.get("target"),
            "device": read_device(cuda),
            "tensorrt": str(trt.__version__),
            "cuda_layer": cuda.name,
            "date": datetime.now(timezone.utc).replace(microsecond=0).isoformat(),
            "build": {
                "seconds": built["seconds"],
                "precision": manifest["precision"]["requested"],
                "layers": manifest["precision"]["layers"],
                "notes": built["notes"],
                "missing_ranges": built["missing_ranges"],
                "unmatched_layers": built["unmatched_layers"],
                **built["precisions"],
            },
            "parity": parity,
            "timing": timing,
        }
    write_file(folder / REPORT, json_bytes(report))
    return dict(report, report=str(folder / REPORT))


def _set_aside(path: Path, previous: Path) -> None:
    """An earlier report does not stand where this run's will: it may fail, and then there is none."""
    if not path.exists():
        return
    try:
        path.replace(previous)
    except OSError as error:
        raise EngineError(
            f"{path} is of an earlier run and cannot be moved away: {error.strerror}", UNREADABLE, "move it yourself"
        ) from error
    say(f"{path.name} of an earlier run is now {previous.name}")


def verdict(document: Dict[str, Any], *, allow_unstable: bool) -> Optional[EngineError]:
    """The fault that a finished result is, if any: parity that failed, else timing that did not settle."""
    parity = document.get("parity", document)
    if parity.get("passed") is False:
        judged = not any(failure.startswith(("not judged", "nothing was compared")) for failure in parity["failures"])
        return EngineError(
            "parity failed: " + "; ".join(parity["failures"][:5]),
            PARITY,
            "build with precision fp32, or with more fp32_layers, and compare again" if judged else ANEW,
        )
    timing = document.get("timing")
    if timing and not timing["stable"] and not allow_unstable:
        return EngineError(
            "the timing did not settle: {} % of variation, at most {:g} % is stable".format(
                variation_text(timing["cov_percent"]), LARGEST_COV
            ),
            UNSTABLE,
            "lock the clocks (Jetson: nvpmodel -m 0 and jetson_clocks), or pass --allow-unstable",
        )
    return None


def lines_of(command: str, document: Dict[str, Any]) -> List[str]:
    """A result as text."""
    lines = []
    if command == "build":
        lines += [
            "{} ({}, {:.0f} s)".format(document["engine"], document["precision"]["requested"], document["seconds"])
        ]
        lines += ["note: " + note for note in document["notes"]]
    if command == "detect":
        for image in document["images"]:
            lines.append(f"{image['image']}: {len(image['detections'])} detections")
            lines += [
                "  {:<16} {:.3f}  {:.1f} {:.1f} {:.1f} {:.1f}".format(found["class"], found["score"], *found["box"])
                for found in image["detections"]
            ]
    if command == "run":
        lines += [
            "{}: {} {}".format(name, entry["dtype"], entry["shape"]) for name, entry in document["outputs"].items()
        ]
    if command == "info":
        lines += [f"{key}: {value}" for key, value in document.items()]
    if command in ("parity", "all"):
        parity = document.get("parity", document)
        found = parity["detections"]
        outcome, counts = (
            "passed" if parity["passed"] else "FAILED",
            "matched {matched}, missing {missing}, extra {extra}",
        )
        shares = [
            entry["noise_share"]
            for sample in parity["samples"]
            for entry in sample["outputs"].values()
            if entry.get("noise_share") is not None
        ]
        about = "detections " + counts.format(**found)
        if shares:
            about = f"the error has at most {max(shares):.3g} of the reference's energy"
        lines.append(f"parity: {outcome}; {len(parity['samples'])} samples, {about}")
    if command in ("bench", "all"):
        timing = document["timing"]
        lines.append(
            "GPU compute: median {median:.3f} ms, mean {mean:.3f}, p90 {p90:.3f}, p95 {p95:.3f}, p99 {p99:.3f}, "
            "variation {} %{} ({boundary}; {inputs})".format(
                variation_text(timing["cov_percent"]), "" if timing["stable"] else " UNSTABLE", **timing
            )
        )
        enqueue = _quantile(sorted(timing["enqueue_ms"]), 0.5)
        if enqueue > timing["median"]:
            lines.append(
                f"note: starting a run takes the CPU {enqueue:.3f} ms, longer than the GPU computes: the GPU waits; "
                "see --cuda-graph"
            )
    if "trusted" in document:
        lines.append("note: the engine was " + document["trusted"])
    if command == "all":
        lines += ["note: " + note for note in document["build"]["notes"]]
        lines.append("report: " + document["report"])
    return lines


COMMANDS = {
    "build": run_build,
    "run": run_run,
    "detect": run_detect,
    "parity": run_parity,
    "bench": run_bench,
    "info": run_info,
    "all": run_all,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_engine.py",
        description="Build, run, check and time a TensorRT engine on this device.",
        epilog="Exit codes: 0 ok; 2 usage; 3 this device cannot do it; 4 build failed or file unreadable; 5 parity "
        "failed; 7 timing unstable; 8 file and manifest disagree. With a kit: python3 DIR/run_engine.py all",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, text: str, engine: Optional[str] = None) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)  # type: argparse.ArgumentParser
        command.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name != "info":
            command.add_argument("--trust", action="store_true", help="take a file without a matching manifest")
        if engine:
            command.add_argument("engine", nargs=None if engine == "!" else engine, help="the engine file")
        return command

    def add_kit(command: argparse.ArgumentParser, text: str) -> None:
        command.add_argument(
            "--kit", metavar="DIR", help=text + "; without it the kit this script lies in, else the current folder"
        )

    building = add("build", "build an engine from an ONNX file, or from a kit")
    building.add_argument("onnx", nargs="?", help="the ONNX file; without it the kit's")
    add_kit(building, "build what this kit says")
    building.add_argument("-o", "--output", metavar="F.engine")
    building.add_argument("--precision", choices=("fp32", "fp16", "int8"), help="default fp32")
    building.add_argument("--typed", action="store_true", help="the precision stands in the graph (10 and 11)")
    building.add_argument("--cache", metavar="F", help="INT8 calibration cache")
    building.add_argument("--ranges", metavar="F.json", help="INT8 dynamic ranges")
    building.add_argument("--fp32-layers", metavar="A,B", help="ONNX nodes that stay in FP32")
    building.add_argument("--fp32-outputs", metavar="A,B", help="ONNX nodes whose outputs are written in FP32")
    building.add_argument("--batch", metavar="MIN,OPT,MAX", help="for a dynamic batch")
    building.add_argument("--timing-cache", metavar="F", help="read where it exists, written after the build")
    building.add_argument("--locked", action="store_true", help="fail where the timing cache lacks a layer (10, 11)")
    building.add_argument("--layers", metavar="F.json", help="write what the engine inspector says")
    running = add("run", "run arrays through an engine", "!")
    running.add_argument("--input", required=True, metavar="F", help=".npy of the one input, or .npz by name")
    running.add_argument("-o", "--output", metavar="F.npz", help="write the outputs")
    detecting = add("detect", "boxes of an engine on images", "!")
    detecting.add_argument(
        "images", nargs="+", help=".npy (uint8 [H, W, 3], RGB) and .ppm always; JPEG and PNG with Pillow or OpenCV"
    )
    detecting.add_argument("--score-threshold", type=float, default=0.0, metavar="X")
    comparing = add("parity", "compare an engine with the kit's references", "?")
    add_kit(comparing, "the references, and without an engine its engine")
    timing = add("bench", "time an engine, or without one the kit's", "?")
    add_kit(timing, "time with this kit's samples and protocol")
    timing.add_argument("--iterations", type=_count_of, metavar="N", help="timed runs, at least")
    timing.add_argument("--warm-up", type=_duration_of, metavar="MS")
    timing.add_argument("--duration", type=_duration_of, metavar="MS", help="time for at least this long")
    timing.add_argument("--cuda-graph", action="store_true")
    add("info", "what this device has")
    everything = add("all", "with a kit: build, check, time, write report.json")
    add_kit(everything, "the kit")
    for command in (building, everything):
        command.add_argument("--workspace", type=_bytes_of, metavar="SIZE", help="the builder's limit, such as 256M")
        command.add_argument(
            "--allow-fallback", action="store_true", help="take layers that run in FP32 and were to be FP16 or INT8"
        )
    for command in (timing, everything):
        command.add_argument("--allow-unstable", action="store_true", help="exit 0 although the timing did not settle")
    return parser


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run a command; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(given)
    if not options.command:
        parser.print_help(sys.stderr)
        return USAGE
    options.command_line = ["run_engine.py", *given]
    try:
        return _run(options)
    except KeyboardInterrupt:
        say("interrupted: nothing was left half-written")
        return 130
    except EngineError as error:
        if options.debug:
            traceback.print_exc()
        return _told(error, as_json=options.json)
    except MemoryError:
        return _told(EngineError("this machine's memory does not suffice", TARGET, "add swap"), as_json=options.json)
    except Exception as error:  # noqa: BLE001 - a user sees one sentence, --debug shows the rest
        if options.debug:
            traceback.print_exc()
        fault = EngineError(
            f"a fault in run_engine.py: {type(error).__name__}: {error}", 1, "run it again with --debug"
        )
        return _told(fault, as_json=options.json)


def _told(error: EngineError, *, as_json: bool) -> int:
    say(f"error: {error}")
    for line in error.log[-20:]:
        say("  TensorRT: " + line)
    if as_json:
        _print_json(error.as_dict())
    return error.code


def _print_json(document: Any) -> None:
    """In ASCII: a Jetson's Python 3.6 without a locale can print nothing else."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def _run(options: Any) -> int:
    document = COMMANDS[options.command](options)
    fault = verdict(document, allow_unstable=getattr(options, "allow_unstable", False))
    if options.json:
        _print_json(document)
    else:
        encoding = sys.stdout.encoding or "utf-8"
        for line in lines_of(options.command, document):
            sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    if fault is not None:
        say(f"error: {fault}")
        return fault.code
    return 0


if __name__ == "__main__":
    sys.exit(main())

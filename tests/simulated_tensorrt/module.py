"""The module object and what its parts share."""

import contextlib
import importlib.machinery
import json
import pathlib
import sys
import types
import warnings

from simulated_tensorrt import builder, config, engine, logger, network, parser, plugins
from simulated_tensorrt.channel import open_backend
from simulated_tensorrt.facts import ALIASES, BYTES, DEVICES, NUMPY_NAMES, VERSIONS, choose
from simulated_tensorrt.surface import Dims, Stub, make_class, make_enumeration

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "tensorrt_api"
IMPLEMENTATIONS = {
    name: getattr(part, name)
    for part in (builder, config, engine, logger, network, parser, plugins)
    for name in part.IMPLEMENTED
}
IMPLEMENTATIONS["Dims"] = Dims
DEFAULT_SWITCHES = {"nms_plugin": True, "workspace_needed": 0, "float_fallback": (), "console": True}


class Env:
    """What all objects of one module share: its version and device, its classes, its backend and its switches."""

    def __init__(self, version, device, switches):
        self.version = version
        self.facts = VERSIONS[version]
        self.family = self.facts["family"]
        self.device = dict(DEVICES[device])
        self.switches = switches
        self.classes = {}
        self.plugins_loaded = False
        self.backend = open_backend()

    def new(self, class_name, **state):
        """An object of a class that has no constructor for users."""
        made = self.classes[class_name].__new__(self.classes[class_name])
        made.__dict__.update({"_" + key: value for key, value in state.items()})
        return made

    def host_memory(self, content):
        """Bytes as the module's IHostMemory."""
        made = self.classes["IHostMemory"]
        return made.__new__(made, content)

    def enumerator(self, name, member):
        """One enumerator by name."""
        return self.classes[name].__members__[member]

    def dims(self, shape):
        """A shape as the module's Dims."""
        return self.classes["Dims"](shape)

    def log(self, to, severity, text):
        """One line for a logger that the module's user gave; ``severity`` by name."""
        to.log(to.Severity.__members__[severity], text)

    def replay(self, to, lines):
        """What the backend noted down, as pairs of severity and text."""
        for severity, text in lines:
            self.log(to, severity, text)

    def supports_sm(self):
        """Whether this TensorRT has kernels for this GPU."""
        low, high = self.facts["sm"]
        return low <= self.device["sm"] <= high


def make(version, device, **switches):
    """A module called ``tensorrt``.

    Args:
        version: ``8.2.1``, ``8.6.1``, ``10.9``, ``10.16`` or ``11.4``.
        device: ``jetson-nano``, ``gtx-1080ti`` or ``gpu``.
        switches: ``nms_plugin=False``: EfficientNMS_TRT is not registered. ``workspace_needed=N``: a build with less
            workspace fails. ``float_fallback=(layers)``: these stay FP32 whatever is asked. ``console=False``: Logger
            writes nothing to stderr.

    Raises:
        ValueError: No such version or device.
        TypeError: No such switch.
    """
    version = choose(version)
    if device not in DEVICES:
        raise ValueError("no simulated device {!r}; there are {}".format(device, ", ".join(DEVICES)))
    unknown = sorted(set(switches) - set(DEFAULT_SWITCHES))
    if unknown:
        raise TypeError("no such switch: {}".format(", ".join(unknown)))
    manifest = json.loads((GOLDEN / f"{version}.json").read_text(encoding="utf-8"))
    env = Env(version, device, dict(DEFAULT_SWITCHES, **switches))
    module = types.ModuleType("tensorrt", "Simulated TensorRT: see tests/simulated_tensorrt.")
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)  # importlib.util.find_spec asks for it
    _fill_classes(env, manifest)
    for name, made in env.classes.items():
        setattr(module, name, made)
    for name in manifest["other_names"]:
        setattr(module, name, Stub(name, (), {}))
    for name in manifest["functions"]:
        setattr(module, name, plugins.function(env, name))
    types_ = env.classes["DataType"]
    for alias, member in ALIASES.items():
        if member in types_.__members__:
            setattr(module, alias, types_.__members__[member])
    types_.itemsize = property(lambda this: BYTES[this.name])
    module.nptype, module.volume = _nptype, _volume
    module.__version__ = f"{version}+simulated"
    module.__simulated__ = env.device["name"]
    return module


def _fill_classes(env, manifest):
    entries = dict(manifest["classes"])
    while entries:
        for name, entry in sorted(entries.items()):
            if any(base in entries for base in entry["bases"]):
                continue
            if "members" in entry:
                env.classes[name] = make_enumeration(name, entry["members"])
            else:
                bases = tuple(env.classes[base] for base in entry["bases"] if base in env.classes)
                env.classes[name] = make_class(env, name, entry, IMPLEMENTATIONS.get(name), bases)
            del entries[name]
    for name in _WITH_STATEMENT:
        if name in env.classes:
            env.classes[name].__enter__, env.classes[name].__exit__ = _enter, _leave


_WITH_STATEMENT = (
    "Builder",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "INetworkDefinition",
    "OnnxParser",
    "Runtime",
)


def _enter(self):
    warnings.warn(
        "Context managers for TensorRT types are deprecated. Memory will be freed automatically when the reference "
        "count reaches 0.",
        DeprecationWarning,
        stacklevel=2,
    )
    return self


def _leave(_self, _kind, _error, _traceback):
    return None


def _nptype(trt_type):
    import numpy as np

    return getattr(np, NUMPY_NAMES[trt_type.name] + ("_" if trt_type.name == "BOOL" else ""))


def _volume(iterable):
    volume = 1
    for size in iterable:
        volume *= size
    return volume


@contextlib.contextmanager
def installed(module):
    """``import tensorrt`` gives this module inside the block; afterwards what it gave before."""
    before = sys.modules.get("tensorrt")
    sys.modules["tensorrt"] = module
    try:
        yield module
    finally:
        if before is None:
            del sys.modules["tensorrt"]
        else:
            sys.modules["tensorrt"] = before

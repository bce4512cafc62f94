"""What a build is asked for: flags, workspace, profiles, calibrator, timing cache."""

import json

from simulated_tensorrt.facts import SIMULATED_FLAGS

IMPLEMENTED = ("IBuilderConfig", "IHostMemory", "IOptimizationProfile", "ITimingCache")
TIMING_MAGIC = b"SIMULATED TensorRT timing cache\n"
DEFAULT_WORKSPACE_82 = 16 << 20


class IHostMemory(bytes):
    """A buffer; bytes here, since a Python class cannot be a buffer of its own before 3.12."""

    _bases = (bytes,)
    nbytes = property(bytes.__len__)

    @property
    def dtype(self):
        return self._env.enumerator("DataType", "INT8")


class IOptimizationProfile:
    def _set_up(self):
        self._shapes = {}
        return self

    def set_shape(self, input, min, opt, max):  # noqa: A002 - the vendor's names
        shapes = [[int(size) for size in shape] for shape in (min, opt, max)]
        ranks = {len(shape) for shape in shapes}
        rising = len(ranks) == 1 and all(
            0 <= shapes[0][axis] <= shapes[1][axis] <= shapes[2][axis] for axis in range(len(shapes[0]))
        )
        if not rising:
            raise ValueError("Shape provided for profile is invalid: min, opt, max must rise")
        self._shapes[input] = shapes

    def get_shape(self, input):  # noqa: A002 - as above
        return [self._env.dims(shape) for shape in self._shapes.get(input, [])]

    def __bool__(self):
        return bool(self._shapes)


class ITimingCache:
    """Keys of layers that were timed, under a header of version and GPU."""

    def _set_up(self, header, keys):
        self._header, self._keys = header, set(keys)
        return self

    def serialize(self):
        body = json.dumps({"header": self._header, "keys": sorted(self._keys)}, sort_keys=True)
        return self._env.host_memory(TIMING_MAGIC + body.encode("ascii"))

    def combine(self, input_cache, ignore_mismatch):
        if input_cache._header != self._header and not ignore_mismatch:
            return False
        self._keys |= input_cache._keys
        return True

    def reset(self):
        self._keys = set()
        return True


class IBuilderConfig:
    def _set_up(self, logger):
        self._logger = logger
        self._flags = {"TF32"}
        self._profiles = []
        self._pools = {}
        self._cache = None
        self._calibrator = None
        self._monitor = None
        self._verbosity = "LAYER_NAMES_ONLY"
        self._stream = None
        self._level = 3
        return self

    def set_flag(self, flag):
        if flag.name not in SIMULATED_FLAGS:
            raise NotImplementedError(f"the simulation lacks BuilderFlag.{flag.name}")
        self._flags.add(flag.name)

    def clear_flag(self, flag):
        self._flags.discard(flag.name)

    def get_flag(self, flag):
        return flag.name in self._flags

    @property
    def flags(self):
        known = self._env.classes["BuilderFlag"].__members__
        return sum(1 << int(known[name]) for name in self._flags)

    @flags.setter
    def flags(self, value):
        self._flags = set()
        for flag in self._env.classes["BuilderFlag"].__members__.values():
            if value & (1 << int(flag)):
                self.set_flag(flag)

    @property
    def max_workspace_size(self):
        return self._pools.get("WORKSPACE", DEFAULT_WORKSPACE_82)

    @max_workspace_size.setter
    def max_workspace_size(self, value):
        self._pools["WORKSPACE"] = int(value)

    def set_memory_pool_limit(self, pool, pool_size):
        self._pools[pool.name] = int(pool_size)

    def get_memory_pool_limit(self, pool):
        return self._pools.get(pool.name, 1 << 40)

    def _workspace(self):
        return self._pools.get("WORKSPACE", DEFAULT_WORKSPACE_82 if self._env.family == "8.2" else 1 << 40)

    def add_optimization_profile(self, profile):
        self._profiles.append(profile)
        return len(self._profiles) - 1

    num_optimization_profiles = property(lambda self: len(self._profiles))

    def set_calibration_profile(self, profile):
        del profile
        return True

    @property
    def int8_calibrator(self):
        return self._calibrator

    @int8_calibrator.setter
    def int8_calibrator(self, value):
        self._calibrator = value

    @property
    def progress_monitor(self):
        return self._monitor

    @progress_monitor.setter
    def progress_monitor(self, value):
        self._monitor = value

    @property
    def profiling_verbosity(self):
        return self._env.enumerator("ProfilingVerbosity", self._verbosity)

    @profiling_verbosity.setter
    def profiling_verbosity(self, value):
        by_number = {0: "LAYER_NAMES_ONLY", 1: "NONE", 2: "DETAILED"}  # 8.x has a second name for two of them
        self._verbosity = by_number[int(value)]

    @property
    def builder_optimization_level(self):
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, value):
        self._level = int(value)

    @property
    def profile_stream(self):
        return self._stream

    @profile_stream.setter
    def profile_stream(self, value):
        self._stream = value

    def _timing_header(self):
        return [self._env.version, self._env.device["name"], self._env.device["sm"]]

    def create_timing_cache(self, serialized_timing_cache):
        content = bytes(serialized_timing_cache)
        if not content:
            return self._env.new("ITimingCache")._set_up(self._timing_header(), ())
        if not content.startswith(TIMING_MAGIC):
            self._env.log(self._logger, "ERROR", "Timing cache deserialization failed: this is no timing cache.")
            return None
        body = json.loads(content[len(TIMING_MAGIC) :].decode("ascii"))
        return self._env.new("ITimingCache")._set_up(body["header"], body["keys"])

    def set_timing_cache(self, cache, ignore_mismatch):
        if cache._header != self._timing_header() and not ignore_mismatch:
            self._env.log(self._logger, "WARNING", "Timing cache header mismatch: version or device differ.")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self):
        return self._cache

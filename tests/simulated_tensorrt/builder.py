"""The builder: checks, calibration as the real one calls it, then the backend's lowering of the graph."""

from simulated_tensorrt import plan
from simulated_tensorrt.calibrate import calibrate
from simulated_tensorrt.surface import CLOSED

IMPLEMENTED = ("Builder",)

_NO_PROFILE = (
    "4: [network.cpp::validate] Error Code 4: Internal Error (Network has dynamic or shape inputs, but no optimization "
    "profile has been defined.)"
)
_NO_INT8 = (
    "9: [builder.cpp] Error Code 9: API Usage Error (Networks with QuantizeLayer/DequantizeLayer layers require "
    "hardware with Int8 support.)"
)
_NOT_CONFIGURED = (
    "4: [network.cpp::validate] Error Code 4: Internal Error ({0} precision has been set for a layer or layer output, "
    "but {0} is not configured in the builder)"
)
_SLOW = "{} support requested on hardware without native {} support, performance will be negatively affected."


class BuildRefusedError(Exception):
    """A build that fails: the text is what the logger is told."""


class Builder:
    _openness = CLOSED

    def __init__(self, logger):
        self._logger = logger

    logger = property(lambda self: self._logger)
    platform_has_fast_fp16 = property(lambda self: self._env.device["fp16"])
    platform_has_fast_int8 = property(lambda self: self._env.device["int8"])
    platform_has_tf32 = property(lambda self: self._env.device["sm"] >= 80)
    max_DLA_batch_size = property(lambda _self: 1)
    num_DLA_cores = property(lambda _self: 0)

    def get_plugin_registry(self):
        return self._env.new("IPluginRegistry")

    def create_network(self, flags=0):
        known = self._env.classes["NetworkDefinitionCreationFlag"].__members__
        typed = "STRONGLY_TYPED" in known and bool(flags & 1 << int(known["STRONGLY_TYPED"]))
        explicit = self._env.family in ("10", "11") or bool(flags & 1 << int(known["EXPLICIT_BATCH"]))
        typed = typed or self._env.family == "11"
        return self._env.new("INetworkDefinition")._set_up(self, self._logger, typed, explicit)

    def create_builder_config(self):
        return self._env.new("IBuilderConfig")._set_up(self._logger)

    def create_optimization_profile(self):
        return self._env.new("IOptimizationProfile")._set_up()

    def reset(self):
        return None

    def build_serialized_network(self, network, config):
        try:
            return self._env.host_memory(self._build(network, config))
        except BuildRefusedError as error:
            self._env.log(self._logger, "ERROR", str(error))
            if self._env.family.startswith("8"):
                text = (
                    "2: [builder.cpp::buildSerializedNetwork] Error Code 2: Internal Error (Assertion engine != nullptr"
                )
                self._env.log(self._logger, "ERROR", text + " failed. )")
            return None

    def build_engine(self, network, config):
        return self._built(network, config)

    def build_engine_with_config(self, network, config):
        return self._built(network, config)

    def _built(self, network, config):
        made = self.build_serialized_network(network, config)
        if made is None:
            return None
        return self._env.classes["Runtime"](self._logger).deserialize_cuda_engine(made)

    def _build(self, network, config):
        env = self._env
        if not env.supports_sm():
            code = "0x{:x}{:02x}".format(env.device["sm"] // 10, env.device["sm"] % 10)
            text = "1: [caskUtils.cpp::trtSmToCask] Error Code 1: Internal Error (Unsupported SM: {})"
            raise BuildRefusedError(text.format(code))
        if network._onnx is None or not network._outputs:
            raise BuildRefusedError(
                "4: [network.cpp::validate] Error Code 4: Internal Error (Network must have at least one output)"
            )
        self._check_types(network, config)
        profiles = self._profiles(network, config)
        if config._workspace() < env.switches["workspace_needed"]:
            text = "Tactic Device request: {}MB Available: {}MB. Device memory is insufficient to use tactic."
            asked, given = env.switches["workspace_needed"] >> 20, config._workspace() >> 20
            env.log(self._logger, "WARNING", text.format(asked, given))
            first = network._graph["layers"][0]["name"]
            raise BuildRefusedError(
                "10: [optimizer.cpp::computeCosts] Error Code 10: Internal Error (Could not find any implementation "
                f"for node {first}.)"
            )
        monitor = _Progress(config._monitor, BuildRefusedError)
        monitor.start("Building Engine", None, 2)
        ranges = calibrate(env, self._logger, network, config, profiles, BuildRefusedError)
        monitor.step("Building Engine", 0)
        document = {
            "family": env.family,
            "typed": network._typed,
            "flags": sorted(config._flags),
            "int8_hardware": env.device["int8"],
            "candidates": env.device["candidates"],
            "pins": network._pins,
            "ranges": ranges,
            "outputs": network._outputs,
            "float_fallback": list(env.switches["float_fallback"]),
        }
        lowered, (content,) = env.backend.call("build", document, [network._onnx])
        env.replay(self._logger, lowered["log"])
        self._time_layers(config, lowered["engine"]["layers"], monitor)
        monitor.finish("Building Engine")
        engine = dict(lowered["engine"], profiles=profiles, verbosity=config._verbosity, name=network._label)
        return plan.write(env, engine, content)

    def _check_types(self, network, config):
        env, flags = self._env, config._flags
        has_qdq = network._graph["qdq"]
        if has_qdq and not env.device["int8"]:
            raise BuildRefusedError(_NO_INT8)
        if network._typed:
            if flags & {"FP16", "INT8"} or network._ranges or any(_pinned(one) for one in network._pins.values()):
                raise BuildRefusedError(
                    "3: [builder.cpp] Error Code 3: API Usage Error (A strongly typed network takes no precision "
                    "flags, layer precisions or dynamic ranges.)"
                )
            return
        if has_qdq and "INT8" not in flags:
            raise BuildRefusedError(_NOT_CONFIGURED.format("int8"))
        if "FP16" in flags and not env.device["fp16"]:
            env.log(self._logger, "WARNING", _SLOW.format("Half2", "FP16"))
        if "INT8" in flags and not env.device["int8"]:
            env.log(self._logger, "WARNING", _SLOW.format("Int8", "Int8"))
        layers = network._graph["layers"]
        for index, pins in network._pins.items():
            wanted = {pins["precision"], *pins["outputs"].values()}
            for kind, flag in (("HALF", "FP16"), ("INT8", "INT8")):
                if kind in wanted and flag not in flags:
                    raise BuildRefusedError(_NOT_CONFIGURED.format(flag.lower()))
            layer = layers[int(index)]
            for output, kind in pins["outputs"].items():
                has = network._graph["tensors"][layer["outputs"][int(output)]]["dtype"]
                if (has in ("FLOAT", "HALF")) != (kind in ("FLOAT", "HALF", "INT8")):
                    raise BuildRefusedError(
                        "4: [network.cpp::validate] Error Code 4: Internal Error ({}: output {} has type {} and cannot "
                        "be set to {})".format(layer["name"], output, has, kind)
                    )

    def _profiles(self, network, config):
        shapes = {name: network._graph["tensors"][name]["shape"] for name in network._inputs}
        dynamic = [name for name in network._inputs if -1 in shapes[name]]
        if dynamic and not config._profiles:
            raise BuildRefusedError(_NO_PROFILE)
        if not config._profiles:
            return [{name: [shape] * 3 for name, shape in shapes.items()}]
        found = []
        for number, profile in enumerate(config._profiles):
            for name in dynamic:
                given = profile._shapes.get(name)
                fits = given is not None and all(
                    len(one) == len(shapes[name])
                    and all(shapes[name][axis] in (-1, one[axis]) for axis in range(len(one)))
                    for one in given
                )
                if not fits:
                    raise BuildRefusedError(
                        f"4: [network.cpp::validate] Error Code 4: Internal Error ({name}: optimization profile "
                        f"{number} is missing values or does not fit the input)"
                    )
            found.append({name: profile._shapes.get(name, [shape] * 3) for name, shape in shapes.items()})
        return found

    def _time_layers(self, config, layers, monitor):
        keys = ["{}|{}|{}".format(one["name"], one["precision"], one["outputs"]) for one in layers]
        cache = config._cache
        if "ERROR_ON_TIMING_CACHE_MISS" in config._flags and (cache is None or not set(keys) <= cache._keys):
            raise BuildRefusedError(
                "10: Error Code 10: Internal Error (The timing cache has no entry for a layer, and "
                "ERROR_ON_TIMING_CACHE_MISS is set.)"
            )
        monitor.start("Computing profile costs", "Building Engine", len(keys))
        for number, key in enumerate(keys):
            if cache is not None and "DISABLE_TIMING_CACHE" not in config._flags:
                cache._keys.add(key)
            monitor.step("Computing profile costs", number)
        monitor.finish("Computing profile costs")
        monitor.step("Building Engine", 1)


def _pinned(pins):
    return pins["precision"] is not None or bool(pins["outputs"])


class _Progress:
    """Calls the user's progress monitor, and stops where it says so."""

    def __init__(self, monitor, refused):
        self._monitor, self._refused = monitor, refused

    def start(self, phase, parent, steps):
        if self._monitor is not None:
            self._monitor.phase_start(phase, parent, steps)

    def step(self, phase, number):
        if self._monitor is not None and not self._monitor.step_complete(phase, number):
            raise self._refused("Error Code 2: Internal Error (The build was cancelled by the progress monitor.)")

    def finish(self, phase):
        if self._monitor is not None:
            self._monitor.phase_finish(phase)

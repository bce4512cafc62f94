"""The plugin registry and the module's functions."""

IMPLEMENTED = ("IPluginCreator", "IPluginRegistry")

_COMMON = ("EfficientNMS_TRT", "CropAndResizeDynamic", "MultilevelCropAndResize_TRT")
_UNTIL_10 = ("BatchedNMSDynamic_TRT", "BatchedNMS_TRT", "NMS_TRT", "Normalize_TRT")
_FIELDS = (
    "score_threshold",
    "iou_threshold",
    "max_output_boxes",
    "background_class",
    "score_activation",
    "box_coding",
)


def registered(env):
    """Names of the plugins that the library has, as far as they are simulated or were removed some time."""
    names = _COMMON if env.family == "11" else _COMMON + _UNTIL_10
    return tuple(name for name in names if name != "EfficientNMS_TRT" or env.switches["nms_plugin"])


class IPluginCreator:
    """One entry of the registry."""

    name = property(lambda self: self._name)
    plugin_version = property(lambda _self: "1")
    plugin_namespace = property(lambda _self: "")

    @property
    def field_names(self):
        if self._name != "EfficientNMS_TRT":
            raise NotImplementedError(f"the simulation lacks the fields of {self._name}")
        return list(_FIELDS) + ([] if self._env.family == "8.2" else ["class_agnostic"])


class IPluginRegistry:
    """Empty until ``init_libnvinfer_plugins``."""

    @property
    def plugin_creator_list(self):
        return self._creators()

    @property
    def all_creators(self):
        return self._creators()

    def get_plugin_creator(self, type, version, plugin_namespace=""):  # noqa: A002 - the vendor's name
        return self._find(type, version, plugin_namespace)

    def get_creator(self, type, version, plugin_namespace=""):  # noqa: A002 - as above
        return self._find(type, version, plugin_namespace)

    def _find(self, name, version, namespace):
        if version == "1" and namespace == "":
            for creator in self._creators():
                if creator.name == name:
                    return creator
        return None

    def _creators(self):
        if not self._env.plugins_loaded:
            return []
        return [self._env.new("IPluginCreator", name=name) for name in registered(self._env)]


def function(env, name):
    """One of the module's functions."""

    def init_libnvinfer_plugins(logger, namespace):
        del logger, namespace
        env.plugins_loaded = True
        return True

    def get_plugin_registry():
        return env.new("IPluginRegistry")

    def get_nv_onnx_parser_version():
        major, minor, patch = (int(part) for part in env.version.split(".")[:3])
        return (major * 10000 + minor * 100 + patch) if major > 8 else (major * 1000 + minor * 100 + patch)

    def lacking(*_arguments, **_options):
        raise NotImplementedError(f"the simulation lacks {name}")

    made = (init_libnvinfer_plugins, get_plugin_registry, get_nv_onnx_parser_version)
    return {one.__name__: one for one in made}.get(name, lacking)

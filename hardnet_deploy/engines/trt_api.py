"""Every difference between versions of TensorRT's Python API.

Versions are told apart by what the module has, never by parsing its version string.
"""

from __future__ import annotations

from types import ModuleType

from hardnet_deploy.targets import TensorRTFamily


def tensorrt_family(module: ModuleType) -> TensorRTFamily:
    """The generation of an imported ``tensorrt`` module.

    ``MemoryPoolType`` arrived in 8.4; ``IBuilderConfig.max_workspace_size`` left in 10, ``BuilderFlag.FP16`` in 11.

    Args:
        module: The imported module.

    Raises:
        AttributeError: It is no TensorRT module that has builders (a runtime-only one, or something else).
    """
    if not hasattr(module, "MemoryPoolType"):
        return "8.2" if hasattr(module.IBuilderConfig, "max_workspace_size") else _unknown(module)
    if hasattr(module.IBuilderConfig, "max_workspace_size"):
        return "8.6"
    return "10" if hasattr(module.BuilderFlag, "FP16") else "11"


def plugin_names(module: ModuleType) -> tuple[str, ...]:
    """Names of the plugins that TensorRT's own library registers, sorted.

    ``all_creators`` arrived in 10; ``plugin_creator_list`` left in 11.
    """
    module.init_libnvinfer_plugins(module.Logger(module.Logger.ERROR), "")
    registry = module.get_plugin_registry()
    creators = registry.all_creators if hasattr(registry, "all_creators") else registry.plugin_creator_list
    return tuple(sorted({creator.name for creator in creators}))


def _unknown(module: ModuleType) -> TensorRTFamily:
    raise AttributeError(f"module '{module.__name__}' has neither MemoryPoolType nor max_workspace_size")

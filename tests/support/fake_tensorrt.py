"""Fakes of the ``tensorrt`` module for the tests of what tells versions apart: names only, nothing that runs.

Which names each generation has is from the public bindings of 8.2.1, 8.6.1, 10.0.1 and 11.4.0.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

PLUGINS = ("EfficientNMS_TRT", "RoiAlign_TRT")


class _Logger:
    ERROR = 1

    def __init__(self, severity: int) -> None:
        self.severity = severity


def fake_tensorrt(family: str, *, plugins: tuple[str, ...] = PLUGINS) -> ModuleType:
    """A module that has the telling names of one generation: ``8.2``, ``8.6``, ``10`` or ``11``."""
    module: Any = ModuleType("tensorrt")
    module.__version__ = {"8.2": "8.2.1.8", "8.6": "8.6.1", "10": "10.0.1", "11": "11.4.0.106"}[family]
    module.IBuilderConfig = type("IBuilderConfig", (), {})
    if family in {"8.2", "8.6"}:
        module.IBuilderConfig.max_workspace_size = 0
    if family != "8.2":
        module.MemoryPoolType = object
    module.BuilderFlag = SimpleNamespace() if family == "11" else SimpleNamespace(FP16=0)
    module.Logger = _Logger
    module.init_libnvinfer_plugins = lambda _logger, _namespace: True
    creators = [SimpleNamespace(name=name) for name in plugins]
    names = {"8.2": "plugin_creator_list", "8.6": "plugin_creator_list", "10": "all_creators", "11": "all_creators"}
    registry = SimpleNamespace(**{names[family]: creators})
    module.get_plugin_registry = lambda: registry
    return module

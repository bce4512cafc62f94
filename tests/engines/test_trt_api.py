from __future__ import annotations

from types import ModuleType

import pytest
from fake_tensorrt import fake_tensorrt

from hardnet_deploy.engines.trt_api import plugin_names, tensorrt_family

FAMILIES = pytest.mark.parametrize("family", ["8.2", "8.6", "10", "11"])


@FAMILIES
def test_a_family_is_told_by_what_the_module_has(family: str) -> None:
    assert tensorrt_family(fake_tensorrt(family)) == family


def test_the_version_string_is_not_asked() -> None:
    module = fake_tensorrt("8.6")
    module.__version__ = "11.0"
    assert tensorrt_family(module) == "8.6"


def test_a_module_without_builders_is_no_tensorrt() -> None:
    with pytest.raises(AttributeError):
        tensorrt_family(ModuleType("tensorrt"))


@FAMILIES
def test_plugins_are_read_from_either_kind_of_registry(family: str) -> None:
    module = fake_tensorrt(family, plugins=("RoiAlign_TRT", "EfficientNMS_TRT", "RoiAlign_TRT"))
    assert plugin_names(module) == ("EfficientNMS_TRT", "RoiAlign_TRT")


@pytest.mark.needs_tensorrt
def test_the_installed_tensorrt_has_a_family_and_plugins() -> None:
    import tensorrt

    assert tensorrt_family(tensorrt) in {"8.2", "8.6", "10", "11"}
    assert plugin_names(tensorrt)

"""Each simulated module has what its version's bindings have, and nothing else."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
from typing import Any

import pytest
from simulated_tensorrt import DEVICES, VERSIONS, installed, make
from simulated_tensorrt.module import GOLDEN, IMPLEMENTATIONS

from hardnet_deploy.engines.trt_api import plugin_names, tensorrt_family

ALL = tuple(VERSIONS)


def manifest(version: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / f"{version}.json").read_text(encoding="utf-8"))
    return found


def module(version: str) -> Any:
    return make(version, "gpu")


@pytest.mark.parametrize("version", ALL)
def test_every_public_name_of_a_class_is_in_the_manifest_and_the_other_way_round(version: str) -> None:
    made = module(version)
    for name, entry in manifest(version)["classes"].items():
        listed = {one for one in entry["attributes"] if not one.startswith("__")} | set(entry.get("members", {}))
        has = {one for one in dir(getattr(made, name)) if not one.startswith("_")}
        bases = set(dir(bytes)) if name == "IHostMemory" else set()
        assert listed <= has, name
        assert has - listed - bases - {"name", "value", "itemsize"} == set(), name


@pytest.mark.parametrize("version", ALL)
def test_enumerators_have_the_numbers_of_their_version(version: str) -> None:
    made = module(version)
    for name, entry in manifest(version)["classes"].items():
        for member, number in entry.get("members", {}).items():
            assert int(getattr(getattr(made, name), member)) == number


@pytest.mark.parametrize("version", ALL)
def test_implemented_methods_take_the_vendor_s_argument_names(version: str) -> None:
    for name, entry in manifest(version)["classes"].items():
        for attribute, about in entry["attributes"].items():
            found = inspect.getattr_static(IMPLEMENTATIONS.get(name, object), attribute, None)
            if attribute.startswith("_") or not inspect.isfunction(found):
                continue
            signatures = [line for line in about["sig"] if re.match(r"([0-9]+\. )?\w+\(self", line)]
            names = set(re.findall(r"(\w+): ", " ".join(signatures)))
            taken = [one for one in inspect.signature(found).parameters if one != "self"]
            overloads = {"index", "name", "binding"} if "get_binding" in attribute or "is_input" in attribute else set()
            pure = any(
                parameter.kind is parameter.VAR_POSITIONAL for parameter in inspect.signature(found).parameters.values()
            )
            assert pure or not signatures or set(taken) <= names | overloads, f"{name}.{attribute}"


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("8.2.1", ["IBuilderConfig.max_workspace_size", "ICudaEngine.num_bindings", "BuilderFlag.FP16"],
         ["MemoryPoolType", "TensorIOMode", "ICudaEngine.num_io_tensors", "IProgressMonitor", "INMSLayer"]),
        ("8.6.1", ["IBuilderConfig.max_workspace_size", "IBuilderConfig.set_memory_pool_limit",
                   "ICudaEngine.num_bindings",
                   "ICudaEngine.num_io_tensors", "IExecutionContext.execute_async_v3"],
         ["IProgressMonitor", "NetworkDefinitionCreationFlag.STRONGLY_TYPED"]),
        ("10.9", ["NetworkDefinitionCreationFlag.STRONGLY_TYPED", "IProgressMonitor", "IInt8EntropyCalibrator2",
                  "BuilderFlag.INT8", "ILayer.precision"],
         ["IBuilderConfig.max_workspace_size", "ICudaEngine.num_bindings", "IExecutionContext.execute_async_v2",
          "Builder.build_engine", "BuilderFlag.STRICT_TYPES"]),
        ("11.4", ["NetworkDefinitionCreationFlag.STRONGLY_TYPED", "IPluginRegistry.all_creators"],
         ["NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "BuilderFlag.FP16", "BuilderFlag.INT8", "ILayer.precision",
          "ITensor.set_dynamic_range", "IInt8EntropyCalibrator2", "Builder.platform_has_fast_fp16",
          "IPluginRegistry.plugin_creator_list", "IBuilderConfig.int8_calibrator"]),
    ],
)  # fmt: skip
def test_what_tells_the_families_apart(version: str, present: list[str], absent: list[str]) -> None:
    made = module(version)

    def has(path: str) -> bool:
        owner, _, name = path.partition(".")
        return hasattr(made, owner) and (not name or hasattr(getattr(made, owner), name))

    assert [path for path in present if not has(path)] == []
    assert [path for path in absent if has(path)] == []


def test_the_product_tells_the_families_apart() -> None:
    assert [tensorrt_family(module(version)) for version in ALL] == ["8.2", "8.6", "10", "10", "11"]


def test_setting_an_attribute_that_the_version_lacks_is_an_error() -> None:
    made = module("10.9")
    config = made.Builder(made.Logger()).create_builder_config()
    with pytest.raises(AttributeError, match="max_workspace_size"):
        config.max_workspace_size = 1 << 20


def test_what_is_listed_and_not_simulated_says_so() -> None:
    made = module("8.6.1")
    network = made.Builder(made.Logger()).create_network(1)
    with pytest.raises(NotImplementedError, match=r"the simulation lacks INetworkDefinition\.add_nms"):
        network.add_nms()
    with pytest.raises(NotImplementedError, match="the simulation lacks Refitter"):
        made.Refitter()
    with pytest.raises(NotImplementedError, match=r"the simulation lacks BuilderFlag\.VERSION_COMPATIBLE"):
        made.Builder(made.Logger()).create_builder_config().set_flag(made.BuilderFlag.VERSION_COMPATIBLE)


def test_classes_without_a_constructor_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="No constructor defined"):
        module("8.6.1").INetworkDefinition()


def test_a_derived_calibrator_must_call_the_constructor() -> None:
    base: Any = module("8.6.1").IInt8EntropyCalibrator2

    class Forgetful(base):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"__init__\(\) must be called"):
        Forgetful()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("version", ALL)
def test_version_and_device_are_labelled(version: str, device: str) -> None:
    made = make(version, device)
    assert made.__version__ == f"{version}+simulated"
    assert made.__simulated__.startswith("Simulated")


def test_plugins_come_with_the_call_and_go_with_the_switch() -> None:
    made = module("8.2.1")
    assert list(made.get_plugin_registry().plugin_creator_list) == []
    assert "EfficientNMS_TRT" in plugin_names(made)
    assert made.get_plugin_registry().get_plugin_creator("EfficientNMS_TRT", "1").name == "EfficientNMS_TRT"
    assert "EfficientNMS_TRT" not in plugin_names(make("11.4", "gpu", nms_plugin=False))


def test_installing_lasts_as_long_as_the_block() -> None:
    before = sys.modules.get("tensorrt")
    made = module("8.6.1")
    with installed(made):
        import tensorrt

        assert tensorrt is made
        found = importlib.util.find_spec("tensorrt")
        assert found is not None
        assert found.name == "tensorrt"
    assert sys.modules.get("tensorrt") is before


def test_unknown_versions_devices_and_switches() -> None:
    with pytest.raises(ValueError, match=r"9\.1"):
        make("9.1", "gpu")
    with pytest.raises(ValueError, match="titan"):
        make("8.6.1", "titan")
    with pytest.raises(TypeError, match="colour"):
        make("8.6.1", "gpu", colour="red")


def test_the_manifests_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.iterdir()) <= 300_000

"""The contract tests catch it: code that uses what a family's module lacks fails them, for that family only."""

from __future__ import annotations

import pytest
from trt_api_model import golden_api
from trt_build_scenarios import BUILDS
from trt_coverage import known_to_none, own_names, unproven
from trt_releases import GOLDEN_VERSIONS
from trt_scenarios import DEVICE_FILE, Outcome, record, watched_sources

VERSION_OF = {"8.2": "8.2.1", "8.6": "8.6.1", "10": "10.9.0.34", "11": "11.4.0.106"}
FIRST_BUILD = BUILDS[:1]
SOURCE = watched_sources()[str(DEVICE_FILE)]


def _with(statements: str) -> str:
    """The device file with something more at the start of every build."""
    body = "\n".join("    " + line for line in statements.splitlines())
    return (
        SOURCE + "\n\n_build_as_it_is = build\n\n\n"
        f"def build(trt, *given, **more):\n    builder = trt.Builder(_logger(trt))\n{body}\n"
        "    return _build_as_it_is(trt, *given, **more)\n"
    )


def _outcome(family: str, source: str) -> Outcome:
    return record(golden_api(VERSION_OF[family]), FIRST_BUILD, source)


MUTATIONS = {
    "trt.BuilderFlag.FP16": ("11",),
    "trt.float16": (),
    "trt.IInt8EntropyCalibrator2": ("11",),
    "trt.MemoryPoolType.WORKSPACE": ("8.2",),
    "trt.IProgressMonitor": ("8.2", "8.6"),
    "trt.BuilderFlag.STRICT_TYPES": ("10", "11"),
    "builder.create_builder_config().max_workspace_size = 1": ("10", "11"),
    "builder.build_engine": ("10", "11"),
    "builder.platform_has_fast_int8": ("11",),
    "builder.create_network(flags=0)": (),
    "builder.create_network(flag=0)": ("8.2", "8.6", "10", "11"),
    "builder.create_network(0, 0)": ("8.2", "8.6", "10", "11"),
    "builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH))": ("11",),
    "builder.create_builder_config().set_flag(0)": ("8.2", "8.6", "10", "11"),
    "builder.create_builder_config().set_flag(trt.BuilderFlag.TF32)": (),
    "builder.create_builder_config().set_flags(trt.BuilderFlag.TF32)": ("8.2", "8.6", "10", "11"),
    "builder.create_builder_config().fp16 = True": ("8.2", "8.6", "10", "11"),
    "builder.create_builder_config().set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1)": ("8.2",),
    "trt.Runtime()": ("8.2", "8.6", "10", "11"),
    "trt.ICudaEngine.num_bindings": ("10", "11"),
    "trt.ICudaEngine.num_io_tensors": ("8.2",),
    "hasattr(trt.BuilderFlag, 'FP16')": (),
    "getattr(builder, 'platform_has_fast_int8', False)": (),
    "getattr(builder, 'platform_has_fast_int8')": ("11",),
    "try:\n    trt.BuilderFlag.FP16\nexcept AttributeError:\n    pass": ("11",),
    "len(builder.build_serialized_network(None, None))": ("8.2", "8.6", "10", "11"),
}


@pytest.mark.parametrize("family", VERSION_OF)
@pytest.mark.parametrize("statements", MUTATIONS)
def test_a_use_fails_exactly_where_the_module_lacks_it(statements: str, family: str) -> None:
    outcome = _outcome(family, _with(statements))
    assert bool(outcome.record.violations) == (family in MUTATIONS[statements]), (
        outcome.record.violations,
        outcome.surprises,
    )


@pytest.mark.parametrize("family", ["8.2", "8.6", "10"])
@pytest.mark.parametrize(("parameters", "fails"), [("self, names", False), ("self", True), ("self, names, more", True)])
def test_a_callback_takes_what_the_library_passes(family: str, parameters: str, fails: bool) -> None:
    calibrator = "\n".join(
        (
            "class Calibrator(trt.IInt8EntropyCalibrator2):",
            "    def __init__(self):",
            "        trt.IInt8EntropyCalibrator2.__init__(self)",
            f"    def get_batch({parameters}):",
            "        return None",
            "Calibrator()",
        )
    )
    outcome = _outcome(family, _with(calibrator))
    assert any("get_batch as a callback" in violation for violation in outcome.record.violations) == fails


def test_a_subclass_that_does_not_call_the_constructor_fails() -> None:
    outcome = _outcome("10", _with("class Log(trt.ILogger):\n    def __init__(self):\n        self.lines = []\nLog()"))
    assert any("must be called when overriding __init__" in violation for violation in outcome.record.violations)


def test_a_violation_names_the_release_the_line_and_the_name() -> None:
    (violation,) = _outcome("11", _with("trt.BuilderFlag.FP16")).record.violations
    assert "run_engine.py:" in violation
    assert violation.endswith("TensorRT 11.4.0.106: BuilderFlag has no 'FP16'")


def _unproven(addition: str) -> list[str]:
    source = SOURCE + "\n\n" + addition
    outcomes = [record(golden_api(version), FIRST_BUILD, source) for version in GOLDEN_VERSIONS]
    usual = unproven(
        SOURCE, str(DEVICE_FILE), [record(golden_api(v), FIRST_BUILD) for v in GOLDEN_VERSIONS], own_names([SOURCE])
    )
    return sorted(set(unproven(source, str(DEVICE_FILE), outcomes, own_names([source]))) - set(usual))


def test_a_name_of_tensorrt_that_no_run_reaches_is_told() -> None:
    (told,) = _unproven("def never(config):\n    config.set_preview_feature(1, 2)\n")
    assert "config.set_preview_feature is touched in no run" in told


def test_a_name_in_a_question_that_no_run_reaches_is_told() -> None:
    (told,) = _unproven("def never(config):\n    return hasattr(config, 'algorithm_selector')\n")
    assert "config.algorithm_selector" in told


def test_a_question_with_a_misspelt_name_is_told() -> None:
    source = _with("hasattr(builder, 'platfrom_has_fast_int8')\nhasattr(trt, 'IProgressMonitor')")
    assert known_to_none([_outcome(family, source) for family in VERSION_OF]) == ["Builder.platfrom_has_fast_int8"]


def test_an_everyday_name_where_no_tensorrt_is_touched_is_not_told() -> None:
    assert _unproven("def never(array):\n    return array.shape\n") == []

"""Cut manifests of TensorRT's Python API down to what this project may touch: ``python trim_manifests.py SOURCE``.

SOURCE holds one ``api-VERSION.json`` a version: every class of the vendor's bindings with its attributes, the members
of its enumerations and the first line of each docstring (the signature that pybind11 writes there). 8.6.1 and later
were read off the imported bindings wheels; 8.2.1, for which no wheel of JetPack exists, off ``python/src`` of
NVIDIA/TensorRT at tag 8.2.1. Reading source has gaps, which 8.6.1 fills here, for names that 8.2.1 has itself: numbers
of enumerators (8.x adds enumerators at the end), signatures, bases and constructors; ``Severity`` moves from the module
into its logger; and module functions, which stand in the files of classes, move to the functions.
"""

import json
import pathlib
import sys

VERSIONS = ("8.2.1", "8.6.1", "10.9.0.34", "10.16.1.11", "11.4.0.106")
KEPT_NAMES = """
    Builder BuilderFlag CalibrationAlgoType DataType Dims EngineCapability EngineInspector ErrorCode
    HardwareCompatibilityLevel IBuilderConfig ICudaEngine IExecutionContext IHostMemory IInt8Calibrator
    IInt8EntropyCalibrator IInt8EntropyCalibrator2 IInt8LegacyCalibrator IInt8MinMaxCalibrator ILayer ILogger
    INetworkDefinition IOptimizationProfile IPluginCreator IPluginCreatorInterface IPluginRegistry IProfiler
    IProgressMonitor IRuntimeConfig ITensor ITimingCache LayerInformationFormat LayerType Logger MemoryPoolType
    NetworkDefinitionCreationFlag OnnxParser OnnxParserFlag ParserError PreviewFeature Profiler ProfilingVerbosity
    QuantizationFlag Runtime RuntimePlatform SerializationFlag TacticSource TempfileControlFlag TensorFormat
    TensorIOMode TensorLocation
    """
KEPT = frozenset(KEPT_NAMES.split())
FUNCTIONS = ("get_nv_onnx_parser_version", "get_plugin_registry", "init_libnvinfer_plugins")
SEVERITY = ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE")
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "tensorrt_api"


def trimmed(manifest):
    """The kept classes, names of the others and the functions of a manifest that was read off a wheel."""
    classes = {name: _trimmed_class(manifest["classes"][name]) for name in sorted(KEPT & set(manifest["classes"]))}
    functions = manifest.get("functions") or {}
    return {
        "version": manifest["version"],
        "classes": classes,
        "functions": dict(sorted(functions.items())),
        "other_names": sorted(
            name for name in {*manifest["classes"], *manifest.get("all_names", ())} - KEPT if name[0].isupper()
        ),
    }


def _trimmed_class(entry):
    attributes = {
        name: {"kind": about["kind"], "sig": [line for line in about["sig"] if "(" in line and "See help" not in line]}
        for name, about in sorted(entry["attributes"].items())
    }
    result = {"attributes": attributes, "bases": entry.get("bases", [])}
    if "members" in entry:
        result["members"] = entry["members"]
    return result


def fill_gaps(old, later):
    """What reading source misses, from the next version's wheel; see the module's docstring."""
    for name, entry in old["classes"].items():
        example = later["classes"].get(name, {"attributes": {}, "bases": []})
        entry["bases"] = [base for base in example["bases"] if base in old["classes"]]
        if "__init__" in example["attributes"]:
            entry["attributes"]["__init__"] = example["attributes"]["__init__"]
        for attribute in FUNCTIONS:
            entry["attributes"].pop(attribute, None)
        for attribute, about in entry["attributes"].items():
            about["sig"] = about["sig"] or example["attributes"].get(attribute, about)["sig"]
        if "members" in entry:
            entry["members"] = {member: example["members"][member] for member in sorted(entry["members"])}
    for logger in ("ILogger", "Logger"):
        found = later["classes"][logger]["attributes"]
        old["classes"][logger]["attributes"].update({name: found[name] for name in (*SEVERITY, "Severity")})
    old["other_names"].remove("Severity")
    old["functions"] = {name: later["functions"][name] for name in FUNCTIONS}
    return old


def main(source):
    """Write every version's file into tests/golden/tensorrt_api."""
    found = {}
    for version in VERSIONS:
        text = (pathlib.Path(source) / f"api-{version}.json").read_text(encoding="utf-8")
        found[version] = trimmed(json.loads(text))
    fill_gaps(found["8.2.1"], found["8.6.1"])
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for version, manifest in found.items():
        text = json.dumps(manifest, indent=0, sort_keys=True, separators=(",", ":"))
        (GOLDEN / f"{version}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])

"""What the versions and devices that are simulated can do, each with its public source.

Opset ceilings: onnx/onnx-tensorrt docs/operators.md of 8.2-GA (13) and 8.6-GA (17); the table of releases of 10.9 (22)
and 10.13 (24); NVIDIA's ONNX opset guide for 11 (25). GPUs: TensorRT issue 3826 ("Unsupported SM: 0x601" on 10.0), the
release notes of 10.5 (Volta removed), issue 3589 (Maxwell left x86 in 8.6), issues 2727 and tensorrtx 1610 (sm_89
refused by 8.2). Precisions: NVIDIA's hardware and precision matrix. Cache headers: NV_TENSORRT_VERSION of each
release's headers.
"""

VERSIONS = {
    "8.2.1": {"family": "8.2", "opset": 13, "sm": (53, 87), "cache": 8201, "plan_tag": 205},
    "8.6.1": {"family": "8.6", "opset": 17, "sm": (60, 90), "cache": 8601, "plan_tag": 228},
    "10.9.0.34": {"family": "10", "opset": 22, "sm": (75, 120), "cache": 100900, "plan_tag": 239},
    "10.16.1.11": {"family": "10", "opset": 24, "sm": (75, 121), "cache": 101601, "plan_tag": 240},
    "11.4.0.106": {"family": "11", "opset": 25, "sm": (75, 121), "cache": 0, "plan_tag": 242},
}
"""``plan_tag`` stands for the serialisation version, which NVIDIA does not publish: any number that differs will do."""

DEVICES = {
    "jetson-nano": {"name": "Simulated Jetson Nano", "sm": 53, "fp16": True, "int8": False, "candidates": 2000},
    "gtx-1080ti": {"name": "Simulated GTX 1080 Ti", "sm": 61, "fp16": False, "int8": True, "candidates": 5000},
    "gpu": {"name": "Simulated Ada GPU", "sm": 89, "fp16": True, "int8": True, "candidates": 5000},
}
"""``candidates``: of EfficientNMS in one image; fewer where a block has fewer than 65,536 registers."""

ALGORITHMS = {
    "IInt8EntropyCalibrator2": ("ENTROPY_CALIBRATION_2", "EntropyCalibration2"),
    "IInt8MinMaxCalibrator": ("MINMAX_CALIBRATION", "MinMaxCalibration"),
    "IInt8EntropyCalibrator": ("ENTROPY_CALIBRATION", "EntropyCalibration"),
    "IInt8LegacyCalibrator": ("LEGACY_CALIBRATION", "LegacyCalibration"),
}

SIMULATED_FLAGS = frozenset(
    (
        "DEBUG",
        "DISABLE_TIMING_CACHE",
        "ERROR_ON_TIMING_CACHE_MISS",
        "FP16",
        "INT8",
        "OBEY_PRECISION_CONSTRAINTS",
        "PREFER_PRECISION_CONSTRAINTS",
        "STRICT_TYPES",
        "TF32",
    )
)

BYTES = {"FLOAT": 4, "HALF": 2, "INT8": 1, "INT32": 4, "BOOL": 1, "UINT8": 1, "INT64": 8, "BF16": 2}
NUMPY_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "BOOL": "bool",
    "UINT8": "uint8",
    "INT64": "int64",
}
ALIASES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "int8": "INT8",
    "int32": "INT32",
    "bool": "BOOL",
    "uint8": "UINT8",
    "int64": "INT64",
    "bfloat16": "BF16",
}


def choose(version):
    """The full version that ``version`` begins: 10.9 is 10.9.0.34.

    Raises:
        ValueError: No version that is simulated, or more than one.
    """
    found = [known for known in VERSIONS if known == version or known.startswith(version + ".")]
    if len(found) != 1:
        raise ValueError("no simulation of TensorRT {!r}; there are {}".format(version, ", ".join(VERSIONS)))
    return found[0]

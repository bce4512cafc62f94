"""The rows of the target table: every fact with its public source.

Sources are written ``repository@tag:path``, or as a web address.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from hardnet_deploy.target_spec import MIB, Pitfall, Target

_ORT_COMPATIBILITY = "https://onnxruntime.ai/docs/reference/compatibility.html"
_ORT_MEASURED = "measured: one-node models loaded by onnxruntime 1.20.1, 1.21.1, 1.22.1, 1.23.2 and 1.31.1"
_ORT_QUANTIZATION = "https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html"
_OPS_82 = "onnx/onnx-tensorrt@8.2-GA:docs/operators.md"
_OPS_86 = "onnx/onnx-tensorrt@8.6-GA:docs/operators.md"
_OPS_10 = "onnx/onnx-tensorrt@10.0-GA:docs/operators.md"
_OPSETS_11 = "https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/onnx-opset-guide.html"
_JETPACK = "https://developer.nvidia.com/jetpack-sdk-461"
_CAP_KERNEL = "NVIDIA/TensorRT@v8.6.1:plugin/efficientNMSPlugin/efficientNMSInference.cu"
_GUIDE_86 = "https://docs.nvidia.com/deeplearning/tensorrt/archives/tensorrt-861/developer-guide/index.html"
_MATRIX_86 = "https://docs.nvidia.com/deeplearning/tensorrt/archives/tensorrt-861/support-matrix/index.html"


QDQ_WITHOUT_KERNELS: Final = Pitfall(
    text="explicit Q/DQ layers may find no kernel on old cards; the calibration cache is the first choice",
    source="https://github.com/NVIDIA/TensorRT/issues/4060",
)
"""Of a target that takes Q/DQ graphs and does better without; the lint of such graphs tells it."""

ONNXRUNTIME_OPSETS: Final = (((1, 20), 21), ((1, 21), 22), ((1, 23), 23), ((1, 31), 26))
"""Lowest onnxruntime release (major, minor) seen to take an opset; releases between the rows are taken as the lower."""

CPU: Final = Target(
    name="cpu",
    device="any 64-bit CPU",
    compute_capability=None,
    minimum_compute_capability=None,
    runtime="ONNX Runtime",
    tensorrt=None,
    tensorrt_families=(),
    minimum_tensorrt=None,
    cuda=None,
    python=">= 3.10",
    min_opset=7,
    max_opset=ONNXRUNTIME_OPSETS[0][1],
    precisions=MappingProxyType({"fp32": "fast", "fp16": "works", "int8": "fast"}),
    default_nms="onnx",
    nms_kinds=("onnx", "efficient"),
    nms_plugin="none: hardnet-deploy runs the node through its NumPy reference, other programs refuse the file",
    nms_candidate_cap=None,
    max_batch=None,
    max_workspace=None,
    memory=None,
    memory_is_shared=None,
    pitfalls=(
        Pitfall(
            text="without VNNI, uint8 x int8 products can saturate in 16 bits; 7-bit weights avoid it",
            source=_ORT_QUANTIZATION,
        ),
    ),
    sources=MappingProxyType(
        {
            "runtime": _ORT_COMPATIBILITY,
            "python": "pyproject.toml: requires-python",
            "min_opset": _ORT_COMPATIBILITY,
            "max_opset": _ORT_MEASURED,
            "precisions": f"{_ORT_QUANTIZATION}; measured: onnxruntime 1.31.1 casts an fp16 convolution to fp32 on x86",
            "default_nms": "https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html",
            "nms_kinds": "https://onnx.ai/onnx/operators/onnx__NonMaxSuppression.html",
            "nms_plugin": "hardnet_deploy/nms",
        }
    ),
)

GTX_1080TI: Final = Target(
    name="gtx-1080ti",
    device="GeForce GTX 1080 Ti",
    compute_capability=(6, 1),
    minimum_compute_capability=(6, 1),
    runtime="TensorRT 8.6.1",
    tensorrt="8.6.1",
    tensorrt_families=("8.6",),
    minimum_tensorrt=(8, 5, 0),
    cuda="11.0 to 12.1",
    python="up to 3.11",
    min_opset=7,
    max_opset=17,
    precisions=MappingProxyType({"fp32": "fast", "fp16": "works", "int8": "fast"}),
    default_nms="efficient",
    nms_kinds=("efficient", "onnx"),
    nms_plugin="EfficientNMS_TRT version 1, in the plugin library",
    nms_candidate_cap=5000,
    max_batch=None,
    max_workspace=None,
    memory=11 * 1024 * MIB,
    memory_is_shared=False,
    pitfalls=(
        Pitfall(
            text="TensorRT 10 and later refuse the card ('Unsupported SM: 0x601'); 8.6.1 is the version to install",
            source="https://github.com/NVIDIA/TensorRT/issues/3826",
        ),
        Pitfall(
            text="fp16 engines build with the warning 'Half2 support requested on hardware without native FP16 support'"
            " and are not faster; int8 (dp4a) is",
            source="https://github.com/NVIDIA/TensorRT/issues/1221",
        ),
        QDQ_WITHOUT_KERNELS,
    ),
    sources=MappingProxyType(
        {
            "compute_capability": "https://github.com/NVIDIA/TensorRT/issues/3826",
            "minimum_compute_capability": "https://github.com/NVIDIA/TensorRT/issues/3826",
            "runtime": "https://github.com/NVIDIA/TensorRT/issues/3826; NVIDIA/TensorRT@v8.6.1:CMakeLists.txt",
            "tensorrt": "https://github.com/NVIDIA/TensorRT/issues/3826",
            "tensorrt_families": "https://github.com/NVIDIA/TensorRT/issues/3826",
            "minimum_tensorrt": "onnx/onnx-tensorrt@8.5-GA:docs/Changelog.md (NonMaxSuppression is native since 8.5)",
            "cuda": _MATRIX_86,
            "python": "the wheels of tensorrt_bindings 8.6.1",
            "min_opset": _GUIDE_86,
            "max_opset": _OPS_86,
            "precisions": "https://github.com/NVIDIA/TensorRT/issues/218; https://github.com/NVIDIA/TensorRT/issues/1221",
            "default_nms": "NVIDIA/TensorRT@v8.6.1:plugin/efficientNMSPlugin/README.md",
            "nms_kinds": "onnx/onnx-tensorrt@8.5-GA:docs/Changelog.md (NonMaxSuppression is native since 8.5)",
            "nms_plugin": "NVIDIA/TensorRT@v8.6.1:plugin/efficientNMSPlugin",
            "nms_candidate_cap": _CAP_KERNEL,
            "memory": "https://www.nvidia.com/en-gb/geforce/products/10series/geforce-gtx-1080-ti/",
            "memory_is_shared": "https://www.nvidia.com/en-gb/geforce/products/10series/geforce-gtx-1080-ti/",
        }
    ),
)

JETSON_NANO: Final = Target(
    name="jetson-nano",
    device="Jetson Nano",
    compute_capability=(5, 3),
    minimum_compute_capability=(5, 3),
    runtime="TensorRT 8.2.1 (JetPack 4.6.1)",
    tensorrt="8.2.1",
    tensorrt_families=("8.2",),
    minimum_tensorrt=(8, 2, 0),
    cuda="10.2",
    python="3.6",
    min_opset=7,
    max_opset=13,
    precisions=MappingProxyType({"fp32": "fast", "fp16": "fast", "int8": "refused"}),
    default_nms="efficient",
    nms_kinds=("efficient",),
    nms_plugin="EfficientNMS_TRT version 1, in the plugin library; its fp16 path is broken, so the layer stays fp32",
    nms_candidate_cap=2000,
    max_batch=1,
    max_workspace=256 * MIB,
    memory=4 * 1024 * MIB,
    memory_is_shared=True,
    pitfalls=(
        Pitfall(
            text="the plugin's fp16 path returns negative scores and duplicates in TensorRT 8.2; its layer must run in"
            " fp32",
            source="https://github.com/NVIDIA/TensorRT/issues/1758",
        ),
        Pitfall(
            text="JetPack 4.6 without .1 has TensorRT 8.0.1, where the plugin fails; install 4.6.1 or later",
            source="https://github.com/NVIDIA/TensorRT/issues/1538",
        ),
        Pitfall(
            text="4 GB are shared by CPU and GPU: a workspace over 256 MiB gets the build killed; add swap",
            source="https://github.com/jkjung-avt/tensorrt_demos/issues/293",
        ),
        Pitfall(
            text="an engine must be built on the board itself: a plan fits one TensorRT version and one kind of GPU",
            source="https://github.com/NVIDIA/TensorRT/issues/292",
        ),
        Pitfall(
            text="a graph with QuantizeLinear or DequantizeLinear does not build on hardware without int8",
            source="https://github.com/NVIDIA/TensorRT/issues/3157",
        ),
    ),
    sources=MappingProxyType(
        {
            "compute_capability": "https://developer.nvidia.com/cuda-gpus",
            "minimum_compute_capability": "https://developer.nvidia.com/cuda-gpus",
            "runtime": _JETPACK,
            "tensorrt": "https://gist.github.com/Tiryoh/2b5dc1f86ab6bc3e6922e97a4c1ac2f2",
            "tensorrt_families": _JETPACK,
            "minimum_tensorrt": "https://github.com/NVIDIA/TensorRT/issues/1538",
            "cuda": "https://gist.github.com/Tiryoh/2b5dc1f86ab6bc3e6922e97a4c1ac2f2",
            "python": "https://github.com/yunguks/Setting",
            "min_opset": _GUIDE_86,
            "max_opset": _OPS_82,
            "precisions": "https://github.com/ceccocats/tkDNN/issues/26;"
            " https://github.com/dusty-nv/jetson-inference/issues/1831",
            "default_nms": "NVIDIA/TensorRT@8.2.1:plugin/efficientNMSPlugin/README.md",
            "nms_kinds": f"{_OPS_82} (NonMaxSuppression: experimental, fixed output shape)",
            "nms_plugin": "https://github.com/NVIDIA/TensorRT/issues/1758",
            "nms_candidate_cap": _CAP_KERNEL,
            "max_batch": "https://github.com/open-mmlab/mmdeploy/issues/641 (memory)",
            "memory": "https://developer.nvidia.com/embedded/jetson-nano",
            "memory_is_shared": "https://github.com/open-mmlab/mmdeploy/issues/641",
            "max_workspace": "https://github.com/jkjung-avt/tensorrt_demos/issues/293",
        }
    ),
)

GPU: Final = Target(
    name="gpu",
    device="the NVIDIA GPU of this machine",
    compute_capability=None,
    minimum_compute_capability=(7, 5),
    runtime="TensorRT 10 or 11",
    tensorrt="10.0 to 11.4",
    tensorrt_families=("10", "11"),
    minimum_tensorrt=(10, 0, 0),
    cuda="12 or 13",
    python=">= 3.10",
    min_opset=9,
    max_opset=20,
    precisions=MappingProxyType({"fp32": "fast", "fp16": "fast", "int8": "fast"}),
    default_nms="efficient",
    nms_kinds=("efficient", "onnx"),
    nms_plugin="EfficientNMS_TRT version 1, deprecated since 10.12, still there in 11.1; where it is missing, use"
    " --nms onnx",
    nms_candidate_cap=5000,
    max_batch=None,
    max_workspace=None,
    memory=None,
    memory_is_shared=None,
    pitfalls=(
        Pitfall(
            text="TensorRT 11 has no fp16 and int8 flags and no calibrators: the precision stands in the graph",
            source="https://docs.nvidia.com/deeplearning/tensorrt/11.4.1/api/migration/"
            "tensorrt-10x-to-11x-python-api-reference.html",
        ),
        Pitfall(
            text="TensorRT 10.2.0 is refused by the exporter of Ultralytics; install another release",
            source="https://github.com/ultralytics/ultralytics/pull/24367",
        ),
        Pitfall(
            text="INT8 from a calibration cache is deprecated since 10.1 and fp16 as a flag since 10.12: what the graph"
            " says itself (fp16-typed, Q/DQ) builds in both generations",
            source="NVIDIA/TensorRT@v11.1:.agents/skills/trt-strong-typing-migration/SKILL.md",
        ),
        Pitfall(
            text="the plugin is deprecated since TensorRT 10.12; INMSLayer is its named replacement",
            source="NVIDIA/TensorRT@v11.1:plugin/README.md",
        ),
    ),
    sources=MappingProxyType(
        {
            "minimum_compute_capability": "NVIDIA/TensorRT@v11.1:CMakeLists.txt (GPU_ARCHS); TensorRT 10.0 to 10.4 also"
            " serve 7.0",
            "runtime": _OPSETS_11,
            "tensorrt": "the wheels of tensorrt_cu12_bindings 10.0.1 to 11.4.0",
            "tensorrt_families": _OPSETS_11,
            "minimum_tensorrt": _OPS_10,
            "cuda": "NVIDIA/TensorRT@v11.1:.agents/skills/trt-onnx-quickstart; https://docs.nvidia.com/deeplearning/"
            "tensorrt/archives/tensorrt-1010/support-matrix/index.html",
            "python": "pyproject.toml: requires-python",
            "min_opset": f"{_OPS_10}; {_OPSETS_11}",
            "max_opset": f"{_OPS_10} (20); {_OPSETS_11} (25)",
            "precisions": "https://docs.nvidia.com/deeplearning/tensorrt/pdf/TensorRT-Support-Matrix-Guide.pdf",
            "default_nms": "NVIDIA/TensorRT@v11.1:plugin/efficientNMSPlugin/README.md",
            "nms_kinds": "onnx/onnx-tensorrt@8.5-GA:docs/Changelog.md (NonMaxSuppression is native since 8.5)",
            "nms_plugin": "NVIDIA/TensorRT@v11.1:plugin/README.md",
            "nms_candidate_cap": _CAP_KERNEL,
        }
    ),
)

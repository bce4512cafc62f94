"""What each generation of TensorRT's ONNX parser takes: opsets, operators, element types, limits of attributes.

The operator sets are those that ``docs/operators.md`` of onnx/onnx-tensorrt marks as supported. For 8.2: the table of
8.4 while it still ended at opset 13, without what ``docs/Changelog.md`` adds in 8.4. For 8.6: the table of 8.5, with
what the changelog adds in 8.6. For 10 and 11: the same and Hardmax (9.2), all of which the table of 10.15 still has;
what 10.x added is left out, since 10.0 may build the engine. The opsets of 11 are from NVIDIA's ONNX Opset Guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hardnet_deploy.targets import TensorRTFamily

PLUGIN_SOURCE: Final = "NVIDIA/TensorRT@v8.6.1:plugin/efficientNMSPlugin/README.md"
PLUGIN_ATTRIBUTES: Final = (
    "score_threshold",
    "iou_threshold",
    "max_output_boxes",
    "background_class",
    "score_activation",
    "box_coding",
)
"""All are required since TensorRT 8.6; before, an omitted one keeps the value of the node created last."""

MIN_PLUGIN_SCORE_SOURCE: Final = "NVIDIA/TensorRT@v8.6.1:plugin/efficientNMSPlugin/efficientNMSInference.cu"

WEAKLY_TYPED: Final[frozenset[TensorRTFamily]] = frozenset({"8.2", "8.6"})
"""Generations without ``NetworkDefinitionCreationFlag.STRONGLY_TYPED``: precision is a flag of the build alone."""

TOPK_LIMIT: Final = 3840
TOPK_SOURCE: Final = "onnx/onnx-tensorrt:docs/operators.md (10.15, row TopK: K must be less than 3840)"

RESIZE_ALLOWED: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "mode": ("nearest", "linear"),
        "coordinate_transformation_mode": (
            "half_pixel",
            "pytorch_half_pixel",
            "tf_half_pixel_for_nn",
            "asymmetric",
            "align_corners",
        ),
        "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
        "keep_aspect_ratio_policy": ("stretch",),
    }
)

_NAMES_82 = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip Concat
    Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu
    Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Greater GreaterOrEqual GRU HardSigmoid Identity If ImageScaler InstanceNormalization IsNaN LeakyRelu
    Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul Max MaxPool Mean Min Mul Neg Not Or Pad
    ParametricSoftplus Pow PRelu QuantizeLinear RandomUniform RandomUniformLike Range ReduceL1 ReduceL2 ReduceLogSum
    ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize
    ReverseSequence RNN Round ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Sigmoid Sign Sin Sinh Size
    Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose
    Unsqueeze Upsample Where
"""
_NAMES_ADDED_86 = """
    GridSample GroupNormalization HardSwish IsInf LayerNormalization MeanVarianceNormalization Mod NonMaxSuppression
    NonZero OneHot RandomNormal RandomNormalLike Reciprocal RoiAlign Shrink Trilu Xor
"""
_REDUCTIONS = "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum"

_OPS_82 = frozenset(_NAMES_82.split())
_OPS_86 = _OPS_82 | frozenset(_NAMES_ADDED_86.split())
_OPS_10 = _OPS_86 | {"Hardmax"}
_FLOAT_ONLY_86 = frozenset(_REDUCTIONS.split()) | {"ReduceSumSquare", "Pow", "MatMul", "Gemm"}

_DTYPES_82 = frozenset({"FLOAT", "FLOAT16", "DOUBLE", "INT8", "INT32", "INT64", "BOOL"})
_DTYPES_10 = _DTYPES_82 | {"BFLOAT16", "FLOAT8E4M3FN", "INT4"}


@dataclass(frozen=True, kw_only=True)
class ParserRow:
    """One generation of the parser.

    Args:
        family: The TensorRT generation.
        min_opset: Lowest opset.
        max_opset: Highest opset that every release of the generation takes.
        ops: Standard operators it imports faithfully.
        float_only: Operators listed for floating point alone, though ONNX has them for integers too.
        dtypes: Element types by their ONNX names, for any tensor.
        uint8_io: True where uint8 may be the type of a graph input or output.
        casts_int64: True where int64 becomes int32.
        source: Where the operators and opsets are listed.
    """

    family: TensorRTFamily
    min_opset: int
    max_opset: int
    ops: frozenset[str]
    float_only: frozenset[str]
    dtypes: frozenset[str]
    uint8_io: bool
    casts_int64: bool
    source: str


PARSERS: Final[Mapping[TensorRTFamily, ParserRow]] = MappingProxyType(
    {
        row.family: row
        for row in (
            ParserRow(
                family="8.2",
                min_opset=7,
                max_opset=13,
                ops=_OPS_82,
                float_only=_FLOAT_ONLY_86 | {"ArgMax", "ArgMin", "TopK"},
                dtypes=_DTYPES_82,
                uint8_io=False,
                casts_int64=True,
                source="onnx/onnx-tensorrt:docs/operators.md (8.4 at opset 13), less docs/Changelog.md 8.4",
            ),
            ParserRow(
                family="8.6",
                min_opset=7,
                max_opset=17,
                ops=_OPS_86,
                float_only=_FLOAT_ONLY_86,
                dtypes=_DTYPES_82,
                uint8_io=True,
                casts_int64=True,
                source="onnx/onnx-tensorrt:docs/operators.md (8.5), with docs/Changelog.md 8.6",
            ),
            ParserRow(
                family="10",
                min_opset=9,
                max_opset=20,
                ops=_OPS_10,
                float_only=frozenset({"MatMul", "Gemm"}),
                dtypes=_DTYPES_10,
                uint8_io=True,
                casts_int64=False,
                source="onnx/onnx-tensorrt:docs/operators.md (8.5 and 10.15, what both list)",
            ),
            ParserRow(
                family="11",
                min_opset=9,
                max_opset=25,
                ops=_OPS_10,
                float_only=frozenset({"MatMul", "Gemm"}),
                dtypes=_DTYPES_10,
                uint8_io=True,
                casts_int64=False,
                source="https://docs.nvidia.com/deeplearning/tensorrt/latest/reference/onnx-opset-guide.html",
            ),
        )
    }
)

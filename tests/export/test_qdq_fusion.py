"""The lint of quantised graphs for the CPU, held against what ONNX Runtime makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from graph_models import CPU, make_model, make_node
from onnx import TensorProto, helper
from quantised_graphs import written

from hardnet_deploy.export.graph_checks import check_graph


def optimised(model: onnx.ModelProto, folder: Path) -> list[str]:
    """Operators of the graph that ONNX Runtime makes of a model on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3  # it warns that a saved graph is for this machine alone
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


def test_the_uint8_writing_is_all_integers_on_the_cpu(tmp_path: Path) -> None:
    model = written("uint8", nms="onnx")
    assert check_graph(model, CPU).findings == ()
    assert optimised(model, tmp_path).count("QLinearConv") == 5


def test_the_int8_writing_stays_float_on_the_cpu(tmp_path: Path) -> None:
    model = written("int8", nms="onnx")
    report = check_graph(model, CPU)
    assert report.accepted
    assert [one.node for one in report.warnings] == ["stem", "layer", "exit", "loc.head", "conf.head"]
    assert {one.rule for one in report.warnings} == {"qdq-stays-float"}
    assert "QLinearConv" not in optimised(model, tmp_path)


def cpu_model(
    *,
    activation: str = "",
    zero: np.ndarray[Any, Any] | None = None,
    scales: Sequence[float] = (0.02,),
    reader: bool = False,
    shown: bool = False,
) -> onnx.ModelProto:
    """A convolution with quantised input and weight; behind it an activation, pairs of Q/DQ and other readers."""
    constants = {
        "w": np.ones((4, 3, 3, 3), np.int8),
        "ws": np.full(4, 0.02, np.float32),
        "wz": np.zeros(4, np.int8),
        "s": np.array(0.05, np.float32),
        "z": np.array(128, np.uint8),
        **{f"s{scale}": np.array(scale, np.float32) for scale in scales},
        "oz": np.array(0, np.uint8) if zero is None else zero,
        "low": np.array(0, np.float32),
        "high": np.array(6, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        make_node("Conv", "d", "wd", output="made"),
    ]
    made, outputs = "made", []
    if activation:
        made = "active"
        nodes.append(make_node(activation, "made", *(("low", "high") if activation == "Clip" else ()), output=made))
    for index, scale in enumerate(scales):
        nodes.append(helper.make_node("QuantizeLinear", [made, f"s{scale}", "oz"], [f"q{index}"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"q{index}", f"s{scale}", "oz"], [f"d{index}"]))
        nodes.append(helper.make_node("Sqrt", [f"d{index}"], [f"y{index}"]))
        outputs.append(f"y{index}")
    if reader or not scales:
        nodes.append(make_node("Abs", made, output="read"))
        outputs.append("read")
    if shown:
        outputs.append(made)
    model = make_model(nodes, constants=constants)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs)
    used = {name for node in nodes for name in node.input}
    kept = [one for one in model.graph.initializer if one.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    return model


@pytest.mark.parametrize(
    ("changes", "integer"),
    [
        ({}, True),
        ({"activation": "Relu"}, True),
        ({"activation": "Clip"}, True),
        ({"zero": np.array(7, np.uint8)}, True),
        ({"activation": "Relu", "zero": np.array(7, np.uint8)}, False),
        ({"activation": "Clip", "scales": [0.05]}, False),
        ({"scales": []}, False),
        ({"activation": "Relu", "scales": []}, False),
        ({"reader": True}, False),
        ({"scales": [0.02, 0.02]}, True),
        ({"scales": [0.02, 0.03]}, False),
        ({"shown": True}, False),
        ({"activation": "Relu", "shown": True}, False),
    ],
)
def test_the_lint_knows_what_onnxruntime_computes_on_integers(
    changes: dict[str, Any], integer: bool, tmp_path: Path
) -> None:
    model = cpu_model(**changes)
    report = check_graph(model, CPU)
    assert report.accepted
    assert [(one.rule, one.node) for one in report.warnings] == ([] if integer else [("qdq-stays-float", "the_Conv")])
    assert ("QLinearConv" in optimised(model, tmp_path)) is integer


def test_a_convolution_that_reads_floats_is_not_told_of() -> None:
    model = make_model([make_node("Conv", "x", "w")], constants={"w": np.ones((4, 3, 3, 3), np.float32)})
    assert check_graph(model, CPU).findings == ()

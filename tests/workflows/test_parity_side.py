"""What a side of a parity run says of itself where no manifest does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from parity_pair import pair

from hardnet_deploy.workflows.parity_side import open_side


@pytest.mark.parametrize(
    ("stored", "quantised", "precision"),
    [(np.float32, False, "fp32"), (np.float16, False, "fp16"), (np.float32, True, "int8")],
)
def test_a_graph_without_a_manifest_tells_its_precision_itself(
    tmp_path: Path, stored: type, quantised: bool, precision: str
) -> None:
    model = pair().graph()
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, stored), "more"))
    if quantised:
        model.graph.initializer.append(numpy_helper.from_array(np.ones((), np.float32), "scale"))
        model.graph.node.append(onnx.helper.make_node("QuantizeLinear", ["more", "scale"], ["quantised"]))
    path = tmp_path / "bare.onnx"
    path.write_bytes(model.SerializeToString())
    side = open_side(str(path), trust=True, code_line="pingolh")
    assert side.precision == precision
    assert "without a manifest" in str(side.engine.warning)
    assert side.decodes
    assert side.has_candidates

"""Rivals written as ONNX."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fusion.torch_fold import fold_module
from hardnet_deploy.bench import rival_onnx as writer
from hardnet_deploy.bench.rival_onnx import averaging, rival_onnx
from hardnet_deploy.bench.rivals import _ResNet, draw_weights, own_network
from hardnet_deploy.errors import ExportError
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.tensor_names import INPUT, LOGITS

SIZE = 64


def rival(name: str) -> nn.Module:
    network = own_network(name).eval()
    draw_weights(network)
    return network


def test_a_folded_rival_has_no_batch_norm_and_gives_pytorchs_logits() -> None:
    network = rival("mobilenet_v2")
    folded = fold_module(network, torch.zeros(1, 3, SIZE, SIZE)).model
    model = rival_onnx(folded, name="mobilenet_v2", size=SIZE, batch=2)
    operators = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in operators
    assert {"Conv", "Clip", "Add", "GlobalAveragePool", "Gemm"} <= operators
    images = np.random.default_rng(1).standard_normal((2, 3, SIZE, SIZE), np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    found = OrtRunner(model).infer({INPUT: images})[LOGITS]
    # the export's own bar, on an input that it was not verified on
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max(), rtol=0)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 13)]


def test_a_rival_with_its_batch_norms_is_written_too() -> None:
    network = _ResNet((1, 1, 1, 1)).eval()
    draw_weights(network)
    operators = [node.op_type for node in rival_onnx(network, name="resnet", size=SIZE).graph.node]
    assert operators.count("BatchNormalization") == 1 + 4 * (3 + 1)
    assert operators.count("Add") == 4
    assert operators.count("MaxPool") == 1


class Pooled(nn.Module):
    """VGG's pooling without VGG's half gigabyte."""

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d((cells, cells))
        self.fc = nn.Linear(3 * cells * cells, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return logits


@pytest.mark.parametrize(("size", "operator"), [(28, "AveragePool"), (32, "MatMul"), (5, "MatMul")])
def test_pooling_to_seven_cells_is_exact_from_any_size(size: int, operator: str) -> None:
    model = rival_onnx(Pooled(7).eval(), name="pooled", size=size)  # verified inside
    assert operator in {node.op_type for node in model.graph.node}


def test_averaging_is_what_torch_pools() -> None:
    values = np.random.default_rng(2).standard_normal((1, 1, 32, 10)).astype(np.float32)
    expected = torch.nn.functional.adaptive_avg_pool2d(torch.from_numpy(values), (7, 4)).numpy()
    found = averaging(32, 7) @ values @ averaging(10, 4).T
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)  # float32 sums of at most 18 values


def test_an_unknown_layer_is_refused_by_name() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GELU()).eval()
    with pytest.raises(ExportError, match="GELU"):
        rival_onnx(network, name="strange", size=8)


def test_a_graph_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "averaging", lambda size, cells: averaging(size, cells) * np.float32(1.01))
    with pytest.raises(ExportError, match="something else than PyTorch"):
        rival_onnx(Pooled(7).eval(), name="pooled", size=32)


def test_logits_that_are_no_numbers_are_refused() -> None:
    network = Pooled(1).eval()
    with torch.no_grad():
        network.fc.bias[0] = float("nan")
    with pytest.raises(ExportError, match="something else than PyTorch"):
        rival_onnx(network, name="pooled", size=8)

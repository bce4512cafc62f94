"""Reading ONNX files and cutting graphs: what is not a whole, self-contained model is an input error, exit 4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from nms_plugin_graph import candidates, plugin_graph
from onnx import TensorProto, helper, numpy_helper
from tiny_detector import THRESHOLDS, toy_graph

from hardnet_deploy.errors import HardnetDeployError, InputFileError, UsageError
from hardnet_deploy.export.options import GraphOptions
from hardnet_deploy.runners.graph import cut, parse_model, tensor_infos, tensor_names
from hardnet_deploy.runners.ort import OrtRunner
from hardnet_deploy.specs import TensorInfo
from hardnet_deploy.tensor_names import DETECTION_OUTPUTS

PLUGIN = plugin_graph().SerializeToString()
DETECTOR = GraphOptions(outputs="detections", nms="onnx", thresholds=THRESHOLDS, opset=13, batch=1)
IMAGES = np.random.default_rng(3).normal(0, 50, (1, 3, 32, 32)).astype(np.float32)


def refusal(content: bytes) -> InputFileError:
    with pytest.raises(InputFileError) as caught:
        parse_model(content, source="folder/f.onnx")
    assert caught.value.exit_code == 4
    assert "folder/f.onnx" in caught.value.what
    assert len(caught.value.lines()) <= 4
    return caught.value


def test_a_whole_model_is_read_as_it_is() -> None:
    assert parse_model(PLUGIN, source="f").SerializeToString() == PLUGIN


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n",
        b"<!doctype html><html><body>404</body></html>",
        b"opset 13, batch 1\n",
        "größer\n".encode(),
        b"PK\x03\x04" + bytes(100),
        b"\x80\x02}q\x00.",
        bytes(4096),
        *(np.random.default_rng(seed).bytes(2000) for seed in range(20)),
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_onnx_file_is_refused(content: bytes) -> None:
    refusal(content)


def test_every_truncation_is_refused() -> None:
    """Protobuf itself takes a file that ends between two fields."""
    for length in range(len(PLUGIN)):
        refusal(PLUGIN[:length])


def test_a_truncated_file_with_weights_is_refused() -> None:
    content = toy_graph(DETECTOR).SerializeToString()
    lengths = [1, 10, 100, *np.random.default_rng(4).integers(100, len(content), 100).tolist(), len(content) - 1]
    for length in lengths:
        refusal(content[:length])


def test_damaged_files_end_in_one_of_our_errors() -> None:
    """Some damage leaves a valid model; none of it may end in a traceback. A manifest's hash finds the rest."""
    draw = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        content = bytearray(PLUGIN)
        for place in draw.integers(0, len(content), 2):
            content[place] = draw.integers(256)
        try:
            OrtRunner(parse_model(bytes(content), source="f")).infer(candidates())
        except HardnetDeployError as error:
            refused += isinstance(error, InputFileError | UsageError)
    assert refused > 200


def with_external(change: Callable[[onnx.ModelProto, onnx.TensorProto], object]) -> bytes:
    tensor = numpy_helper.from_array(np.ones(3, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (3,)) for name in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", values[:1], values[1:]), opset_imports=[helper.make_opsetid("", 13)]
    )
    change(model, tensor)
    return model.SerializeToString()


def as_initializer(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.initializer.append(tensor)


def as_attribute(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    model.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))


def in_an_inner_graph(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    value = helper.make_tensor_value_info("w", TensorProto.FLOAT, (3,))
    branch = helper.make_graph([helper.make_node("Constant", [], ["w"], value=tensor)], "b", [], [value])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "c"))
    model.graph.node.insert(0, helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch))


@pytest.mark.parametrize("place", [as_initializer, as_attribute, in_an_inner_graph])
def test_weights_in_another_file_are_refused(
    place: Callable[[onnx.ModelProto, onnx.TensorProto], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("weights.bin").write_bytes(np.ones(3, np.float32).tobytes())  # even where the other file is at hand
    assert "other files" in refusal(with_external(place)).what


def test_a_graph_that_the_checker_refuses_says_why() -> None:
    model = plugin_graph()
    model.graph.node[0].input[0] = "nowhere"
    assert "nowhere" in (refusal(model.SerializeToString()).got or "")
    model = plugin_graph()
    model.ir_version = 9999
    assert "checker" in refusal(model.SerializeToString()).what


def test_names_that_are_not_text_are_refused() -> None:
    assert "damaged" in refusal(PLUGIN.replace(b"boxes", b"box\xff\xfe")).what


def test_tensor_infos_give_type_and_shape() -> None:
    values = [
        helper.make_tensor_value_info("a", TensorProto.INT64, ("batch", 3)),
        helper.make_tensor_value_info("b", TensorProto.FLOAT16, ()),
    ]
    assert tensor_infos(values) == (
        TensorInfo(name="a", dtype="int64", shape=(-1, 3)),
        TensorInfo(name="b", dtype="float16", shape=()),
    )


def test_inputs_that_are_no_tensors_are_refused() -> None:
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    with pytest.raises(InputFileError, match="'s' is no tensor"):
        tensor_infos([sequence])


def test_tensor_names_are_in_the_order_of_computation() -> None:
    names = tensor_names(toy_graph(DETECTOR))
    assert [name for name in names if name in {"conf", "loc", "boxes", "scores", *DETECTION_OUTPUTS}][:4] == [
        "conf",
        "loc",
        "boxes",
        "scores",
    ]
    assert set(DETECTION_OUTPUTS) <= set(names)


def test_a_cut_computes_the_same_and_no_more() -> None:
    model = toy_graph(DETECTOR, busy=True)
    before = model.SerializeToString()
    part = cut(model, ["loc"])
    onnx.checker.check_model(part)
    assert model.SerializeToString() == before
    assert [value.name for value in part.graph.output] == ["loc"]
    assert {node.op_type for node in part.graph.node} == {"ReduceMean", "MatMul", "Add", "Reshape"}
    assert not any(tensor.name.startswith("conf") for tensor in part.graph.initializer)
    wanted = OrtRunner(model, extra_outputs=["loc"]).infer({"images": IMAGES})["loc"]
    assert np.array_equal(OrtRunner(part).infer({"images": IMAGES})["loc"], wanted)


def test_a_cut_in_two_computes_what_the_whole_does() -> None:
    model = toy_graph(DETECTOR, busy=True)
    front = OrtRunner(cut(model, ["boxes", "scores"])).infer({"images": IMAGES})
    back = cut(model, DETECTION_OUTPUTS, inputs=["boxes", "scores"])
    assert [value.name for value in back.graph.input] == ["boxes", "scores"]
    assert not {"ReduceMean", "MatMul", "Exp", "Softmax"} & {node.op_type for node in back.graph.node}
    got, wanted = OrtRunner(back).infer(front), OrtRunner(model).infer({"images": IMAGES})
    for name in DETECTION_OUTPUTS:
        assert np.array_equal(got[name], wanted[name])


def test_a_cut_at_the_graphs_own_input_has_it_once() -> None:
    part = cut(toy_graph(DETECTOR), ["loc"], inputs=["images"])
    assert [value.name for value in part.graph.input] == ["images"]
    onnx.checker.check_model(part)


def test_a_cut_where_nothing_is_names_the_tensor() -> None:
    for outputs, inputs in ((["loc", "nowhere"], []), (["loc"], ["nowhere"])):
        with pytest.raises(InputFileError, match="no tensor called nowhere"):
            cut(toy_graph(DETECTOR), outputs, inputs=inputs)

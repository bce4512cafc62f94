from __future__ import annotations

import json
import subprocess
import sys

import pytest

import fusion
from fusion import (
    FoldedPair,
    FoldReport,
    FusionError,
    FusionModelError,
    FusionShapeError,
    FusionValueError,
    NotFolded,
    Reason,
    Untraced,
)

REPORT = FoldReport(
    folded=(FoldedPair(conv="base.0.conv", batchnorm="base.0.norm", kind="Conv2d", channels=32),),
    not_folded=(
        NotFolded(path="base.1.norm", reason=Reason.TRAIN_MODE),
        NotFolded(path="", reason=Reason.AFTER_OTHER, detail="it follows ReLU base.2"),
    ),
    untraced=(Untraced(path="head", why="control flow"),),
)


def test_counts_and_mapping() -> None:
    assert REPORT.total == 3
    assert REPORT.conv_to_batchnorm == {"base.0.conv": "base.0.norm"}


def test_the_dictionary_is_json_with_everything_in_it() -> None:
    found = json.loads(json.dumps(REPORT.as_dict(), allow_nan=False))
    assert (found["batchnorms"], found["folded_count"], found["not_folded_count"]) == (3, 1, 2)
    assert found["folded"] == [{"conv": "base.0.conv", "batchnorm": "base.0.norm", "kind": "Conv2d", "channels": 32}]
    assert found["not_folded"][0]["reason"] == "train_mode"
    assert found["not_folded"][1]["detail"] == "it follows ReLU base.2"
    assert found["untraced"] == [{"path": "head", "why": "control flow"}]


def test_the_explanation_counts_then_gives_what_stays_with_its_reason_first() -> None:
    lines = REPORT.explain()
    assert lines[0] == "1 of 3 batch norms folded."
    assert lines[1].split(maxsplit=2) == ["not", "folded", f"base.1.norm: {Reason.TRAIN_MODE.value}"]
    assert lines[2].endswith("(the model itself): " + Reason.AFTER_OTHER.value + " (it follows ReLU base.2)")
    assert lines[3].split(maxsplit=2) == ["not", "traced", "head: control flow"]
    assert lines[4].split() == ["folded", "base.0.norm", "into", "base.0.conv", "(Conv2d,", "32", "channels)"]


def test_no_batch_norm_is_one_line() -> None:
    assert FoldReport(folded=(), not_folded=()).explain() == ("There is no batch norm to fold.",)


def test_every_reason_is_a_sentence_of_its_own() -> None:
    assert len({reason.value for reason in Reason}) == len(Reason)


@pytest.mark.parametrize("error", [FusionShapeError, FusionValueError, FusionModelError])
def test_every_error_is_a_fusion_error_and_a_value_error(error: type[Exception]) -> None:
    assert issubclass(error, FusionError)
    assert issubclass(FusionError, ValueError)


def test_the_package_imports_without_torch_and_onnx_and_names_what_it_has() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxruntime', 'hardnet_deploy'):\n"
        "    sys.modules[name] = None\n"
        "import fusion\n"
        "assert all(hasattr(fusion, name) for name in fusion.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert sorted(fusion.__all__) == sorted(set(fusion.__all__))


@pytest.mark.parametrize(("module", "absent"), [("torch_fold", "onnx"), ("verify", "onnx"), ("onnx_fold", "torch")])
def test_each_half_imports_without_the_other_library(module: str, absent: str) -> None:
    code = f"import sys\nsys.modules['{absent}'] = None\nsys.modules['hardnet_deploy'] = None\nimport fusion.{module}\n"
    subprocess.run([sys.executable, "-c", code], check=True)

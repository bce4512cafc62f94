"""Which engines are there, and which of them a machine has."""

from __future__ import annotations

import pytest
from made_up_bench import LAPTOP, WORKSTATION

from hardnet_deploy.bench.engine_columns import COLUMNS, QUICK, read_columns, usual_columns
from hardnet_deploy.bench.sides import OPTIONS
from hardnet_deploy.errors import UsageError


def test_every_column_is_something_a_side_can_be() -> None:
    assert all(set(column.options) <= OPTIONS[column.runtime] for column in COLUMNS.values())


def test_a_laptop_has_the_cpu_columns_and_says_what_it_lacks() -> None:
    usual = usual_columns(LAPTOP, quick=False)
    assert [one.name for one in usual] == list(COLUMNS)
    assert [one.name for one in usual if LAPTOP.why_not(one) is None] == [
        "eager",
        "fused",
        "channels-last",
        "compile",
        "ort-fp32",
        "ort-int8",
    ]
    assert LAPTOP.why_not(COLUMNS["fp16"]) == LAPTOP.no_cuda
    assert LAPTOP.why_not(COLUMNS["trt-int8"]) == LAPTOP.no_tensorrt
    assert [one.name for one in usual_columns(LAPTOP, quick=True)] == list(QUICK)


def test_columns_of_the_cpu_do_not_stand_beside_a_gpu_unasked() -> None:
    assert not any(one.runtime == "onnxruntime" for one in usual_columns(WORKSTATION, quick=False))
    assert all(WORKSTATION.why_not(one) is None for one in usual_columns(WORKSTATION, quick=True))


@pytest.mark.parametrize(("text", "said"), [("fp61", "fp16"), ("eager,,fused", "empty"), ("eager,eager", "more than")])
def test_what_is_no_list_of_engines_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_columns(text)
    assert said in str(caught.value)


def test_the_order_is_the_users() -> None:
    assert [one.name for one in read_columns("ort-int8, eager")] == ["ort-int8", "eager"]

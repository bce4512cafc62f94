"""What a kit cannot be is refused before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hardnet_deploy.errors import HardnetDeployError, TargetError, UsageError
from hardnet_deploy.kit import trtexec_lines
from hardnet_deploy.target_spec import MIB
from hardnet_deploy.targets import get_target
from hardnet_deploy.workflows.kit_options import DEFAULT_PRECISION, KitPlan, KitRequest, plan_kit

DEMO = "ssd300-hardnet-demo"


def plan(target: str = "jetson-nano", **options: Any) -> KitPlan:
    return plan_kit(KitRequest(target=target, folder=Path("kit"), **{"model": DEMO, **options}))


def test_the_precision_that_each_device_is_good_at() -> None:
    assert plan().precision == "fp16"
    assert plan("gtx-1080ti").precision == "int8"
    assert plan().workspace == 256 * MIB
    assert plan("gtx-1080ti").workspace is None
    assert plan("gtx-1080ti", workspace="2G").workspace == 2048 * MIB


def test_every_device_with_a_kit_has_its_trtexec() -> None:
    for name in DEFAULT_PRECISION:
        assert get_target(name).tensorrt_families[0] in trtexec_lines.PROGRAM


def test_int8_on_the_nano_is_refused_with_the_way_out() -> None:
    with pytest.raises(TargetError, match="no hardware for int8") as caught:
        plan(precision="int8")
    assert caught.value.exit_code == 3
    assert caught.value.next_step == "use --precision fp16"


def test_fp16_on_the_1080_ti_is_warned_of() -> None:
    assert "not faster" in str(plan("gtx-1080ti", precision="fp16").warning)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"target": "cpu"}, TargetError),
        ({"target": "gpu"}, TargetError),
        ({"target": "jetson"}, UsageError),
        ({"samples": 0}, UsageError),
        ({"samples": 100_000}, UsageError),
        ({"count": 4}, UsageError),
        ({"target": "gtx-1080ti", "count": 0}, UsageError),
        ({"target": "gtx-1080ti", "count": -1}, UsageError),
        ({"calib": Path("x.calib.json")}, UsageError),
        ({"layer_precisions": "a:fp32"}, UsageError),
        ({"target": "gtx-1080ti", "calib": Path("x"), "count": 4}, UsageError),
        ({"target": "gtx-1080ti", "model": "ssd300-hardnet68-coco"}, UsageError),
        ({"model": "no-such-model"}, UsageError),
        ({"workspace": "1G"}, TargetError),
        ({"workspace": "much"}, UsageError),
        ({"workspace": "0M"}, UsageError),
        ({"size": 320}, UsageError),
    ],
    ids=str,
)
def test_the_impossible_and_the_idle_are_refused(options: dict[str, Any], error: type[HardnetDeployError]) -> None:
    with pytest.raises(error) as caught:
        plan(**options)
    assert caught.value.what


def test_a_float_kit_of_a_foreign_model_needs_no_data() -> None:
    assert plan(model="ssd300-hardnet68-coco").data == "demo"
    assert plan("gtx-1080ti", model="ssd300-hardnet68-coco", data="pictures").data == "pictures"
    assert plan("gtx-1080ti", model="ssd300-hardnet68-coco", calib=Path("x")).precision == "int8"
    assert plan(model="hardnet39ds", size=320).spec.preprocess.size == 320

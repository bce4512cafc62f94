"""Demo data are drawn, so their names tell them."""

from __future__ import annotations

import dataclasses

import pytest
from small_datasets import dataset

from hardnet_deploy.errors import UsageError
from hardnet_deploy.workflows.judged_apart import refuse_search_in_calibration

SEARCH = dataclasses.replace(dataset([]), name="demo:search, first 20 of 200 images")


@pytest.mark.parametrize("marks", [(), ("1f-0123456789ab",)])
def test_a_split_of_the_demo_data_is_known_by_its_name(marks: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="mAP would be measured on images that the ranges come from"):
        refuse_search_in_calibration("demo:search, 7 of 200 images drawn with seed 1", marks, SEARCH)
    refuse_search_in_calibration("demo:calibration, 7 of 500 images drawn with seed 1", marks, SEARCH)


def test_what_is_not_known_is_not_refused() -> None:
    refuse_search_in_calibration("", (), SEARCH)

"""Release by release, what the contract tests need; a release that cannot be had here is skipped with the reason."""

from __future__ import annotations

import pytest
from trt_api_model import Api
from trt_releases import Release, interface_of, outcome_of
from trt_scenarios import Outcome


@pytest.fixture
def interface(release: Release) -> Api:
    """What a release offers."""
    found = interface_of(release)
    if isinstance(found, str):
        pytest.skip(found)
    return found


@pytest.fixture
def outcome(release: Release, interface: Api) -> Outcome:
    """The recording of every scenario on a release."""
    found = outcome_of(release)
    assert interface is not None
    assert not isinstance(found, str)
    return found

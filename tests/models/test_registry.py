from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hardnet_deploy.errors import UsageError
from hardnet_deploy.models import registry
from hardnet_deploy.models.count import count

# Measured on the original code: parameters, GMACs at the native size and at 1024 x 1024, default boxes.
UPSTREAM = {
    "hardnet39ds": (3_488_228, 0.4295, 8.955, None),
    "hardnet68ds": (4_180_602, 0.7753, 16.18, None),
    "hardnet68": (17_565_348, 4.2461, 88.71, None),
    "hardnet85": (36_670_212, 9.0741, 189.60, None),
    "ssd300-hardnet68-voc": (17_260_864, 9.699, 110.4, 11620),
    "ssd300-hardnet68-coco": (23_967_424, 12.136, 138.0, 11620),
    "ssd512-hardnet68-voc": (18_164_054, 27.56, 110.3, 32756),
    "ssd512-hardnet68-coco": (25_700_414, 34.43, 137.7, 32756),
    "ssd300-hardnet85-voc": (30_083_324, 18.78, 214.1, 11620),
    "ssd300-hardnet85-coco": (37_049_084, 21.31, 242.8, 11620),
    "ssd512-hardnet85-voc": (30_986_514, 53.50, 214.0, 32756),
    "ssd512-hardnet85-coco": (38_782_074, 60.63, 242.5, 32756),
}


@pytest.mark.parametrize(("name", "wanted"), UPSTREAM.items())
def test_parameters_macs_and_priors_are_upstreams(name: str, wanted: tuple[int, float, float, int | None]) -> None:
    spec = registry.get(name)
    counts = count(spec, (spec.preprocess.size, 1024))
    parameters, native, large, priors = wanted
    assert counts.parameters == parameters
    assert counts.macs[spec.preprocess.size] / 1e9 == pytest.approx(native, rel=6e-4)
    assert counts.macs[1024] / 1e9 == pytest.approx(large, rel=6e-4)
    assert (spec.head.num_priors if spec.head else None) == priors


def test_every_model_is_listed_and_the_default_is_one_of_them() -> None:
    assert set(registry.names()) == set(UPSTREAM) | {registry.DEMO_MODEL}
    assert registry.DEFAULT_MODEL in registry.names()


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="ssd512-hardnet68-coco") as caught:
        registry.get("ssd512-hardnet68-cocoo")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", [name for name in registry.names() if name.startswith("ssd")])
def test_detectors_have_background_first_and_priors_in_the_unit_square(name: str) -> None:
    spec = registry.get(name)
    assert spec.head is not None
    assert spec.class_names[0] == "background"
    assert len(spec.class_names) == spec.head.num_classes == len(set(spec.class_names))
    priors = spec.head.priors()
    assert priors.shape == (spec.head.num_priors, 4)
    assert priors.dtype == np.float32
    assert priors.min() >= 0
    assert priors.max() <= 1


def test_a_users_classes_change_the_heads() -> None:
    spec = registry.with_classes(registry.get("ssd300-hardnet68-voc"), ("cat", "dog", "eel"))
    assert spec.class_names == ("background", "cat", "dog", "eel")
    model = registry.build(spec, device="meta")
    assert model.state_dict()["conf.0.weight"].shape[0] == 6 * 4


@pytest.mark.parametrize("classes", [(), ("cat", ""), ("cat", "cat")])
def test_a_class_list_that_cannot_be_meant_is_refused(classes: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="class list"):
        registry.with_classes(registry.get("ssd300-hardnet68-voc"), classes)


def test_sizes_are_for_backbones() -> None:
    assert registry.with_size(registry.get("hardnet68"), 320).preprocess.size == 320
    with pytest.raises(UsageError, match="--size"):
        registry.with_size(registry.get("ssd300-hardnet68-voc"), 320)
    with pytest.raises(UsageError, match="too small"):
        registry.with_size(registry.get("hardnet68"), 31)


def test_an_unknown_code_line_is_refused() -> None:
    with pytest.raises(UsageError, match="code line"):
        registry.build("ssd300-hardnet68-voc", code_line="mine")


def test_listing_models_imports_no_torch() -> None:
    program = "import sys; import hardnet_deploy.models.registry as r; r.names(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_only_the_demo_detector_as_it_is_has_shipped_weights() -> None:
    spec = registry.get(registry.DEMO_MODEL)
    path = registry.shipped_weights(spec)
    assert path is not None
    assert path.stat().st_size <= 5_000_000
    assert registry.shipped_weights(registry.with_classes(spec, ("other",))) is None
    assert all(registry.shipped_weights(registry.get(name)) is None for name in UPSTREAM)

"""trtexec's JSON of four generations: read where it is whole, refused in one sentence where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from device_reports import layer_info, profile, times, write

from hardnet_deploy.errors import ArtifactMismatchError, InputFileError, UsageError
from hardnet_deploy.kit.trtexec_json import family_of, read_layer_info, read_profile, read_times

VERSIONS = ("8.2.1", "8.6.1", "10.9.0.34", "11.4.0")


@pytest.mark.parametrize(("version", "family"), list(zip(VERSIONS, ("8.2", "8.6", "10", "11"), strict=True)))
def test_the_family_of_a_version(version: str, family: str) -> None:
    assert family_of(version) == family


@pytest.mark.parametrize("version", ["", "8", "8.4.1", "7.1.3", "12.0", "latest", "9.0.1"])
def test_a_version_whose_files_are_not_known_is_refused(version: str) -> None:
    with pytest.raises(UsageError):
        family_of(version)


def test_the_warm_up_of_8_2_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "times.json", times(end_to_end=True))
    found, _ = read_times(path, "8.2.1", warm_up_ms=200)
    assert found == [4.0] * 16  # runs begin every 50 ms: the first four are before 200 ms, the fifth is not
    everything, _ = read_times(path, "8.2.1", warm_up_ms=0)
    assert len(everything) == 20


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_later_versions_have_left_it_out_themselves(tmp_path: Path, version: str) -> None:
    found, _ = read_times(write(tmp_path / "times.json", times()), version, warm_up_ms=200)
    assert len(found) == 20


@pytest.mark.parametrize(("version", "end_to_end"), [("8.2.1", False), ("8.6.1", True), ("11.4", True)])
def test_a_file_of_another_version_is_refused(tmp_path: Path, version: str, end_to_end: bool) -> None:
    with pytest.raises(InputFileError, match="was not written by trtexec"):
        read_times(write(tmp_path / "times.json", times(end_to_end=end_to_end)), version, warm_up_ms=200)


def test_a_warm_up_longer_than_the_run_leaves_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "times.json", times(end_to_end=True))
    with pytest.raises(UsageError, match="after the warm-up"):
        read_times(path, "8.2.1", warm_up_ms=5000)


@pytest.mark.parametrize("document", [[], {}, None, [1], [{}], [{"computeMs": 1.0}], [[]], "x"], ids=str)
def test_what_is_no_export_of_times_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(InputFileError):
        read_times(write(tmp_path / "times.json", document), "8.6.1", warm_up_ms=200)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "times.json", times())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputFileError, match="cannot be read"):
        read_times(path, "8.6.1", warm_up_ms=200)


@pytest.mark.parametrize(("name", "value"), [("computeMs", 3.0), ("latencyMs", 9.0), ("computeMs", -4.0)])
def test_times_that_contradict_each_other_are_refused(tmp_path: Path, name: str, value: float) -> None:
    runs = times()
    runs[7][name] = value
    with pytest.raises(ArtifactMismatchError, match="does not hold together"):
        read_times(write(tmp_path / "times.json", runs), "8.6.1", warm_up_ms=200)


def test_times_late_in_a_long_run_have_six_digits_and_no_more(tmp_path: Path) -> None:
    runs = times(3, step=123456.7, ms=4.321)
    found, _ = read_times(write(tmp_path / "times.json", runs), "10.9", warm_up_ms=200)
    assert len(found) == 3


@pytest.mark.parametrize("medians", [False, True], ids=["8.2", "since 8.4"])
def test_a_profile(tmp_path: Path, medians: bool) -> None:
    found = read_profile(write(tmp_path / "profile.json", profile(medians=medians)))
    assert found["runs"] == 10
    assert [layer["name"] for layer in found["layers"]] == ["conv", "nms"]
    assert [layer["median_ms"] for layer in found["layers"]] == ([3.0, 1.0] if medians else [None, None])


@pytest.mark.parametrize("document", [[], [{"count": 1}], [{"name": "x"}, {}], {}, times(2)], ids=lambda _: "")
def test_what_is_no_profile_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(InputFileError):
        read_profile(write(tmp_path / "profile.json", document))


@pytest.mark.parametrize(("name", "value"), [("timeMs", 99.0), ("percentage", 5.0)])
def test_a_profile_that_contradicts_itself_is_refused(tmp_path: Path, name: str, value: float) -> None:
    document = profile()
    document[1][name] = value
    with pytest.raises(ArtifactMismatchError):
        read_profile(write(tmp_path / "profile.json", document))


@pytest.mark.parametrize("version", VERSIONS)
def test_layers_in_both_forms(tmp_path: Path, version: str) -> None:
    document = layer_info(tensors="I/O Tensors" if version.startswith("11") else "Bindings")
    found = read_layer_info(write(tmp_path / "layers.json", document), version)
    assert (found.names, found.precisions) == (("conv",), {"fp16": 1})


def test_names_alone_say_no_precision(tmp_path: Path) -> None:
    path = write(tmp_path / "layers.json", {"Layers": ["conv", "nms"], "Bindings": ["images"]})
    found = read_layer_info(path, "8.2.1")
    assert (found.names, found.precisions) == (("conv", "nms"), None)


@pytest.mark.parametrize(
    ("document", "version"),
    [
        ({}, "8.6.1"),
        ([], "8.6.1"),
        ({"Layers": [], "Bindings": []}, "8.6.1"),
        ({"Layers": [3], "Bindings": []}, "8.6.1"),
        (layer_info(), "11.4"),
        (layer_info(tensors="I/O Tensors"), "10.9"),
    ],
)
def test_what_is_no_layer_info_is_refused(tmp_path: Path, document: Any, version: str) -> None:
    with pytest.raises(InputFileError):
        read_layer_info(write(tmp_path / "layers.json", document), version)

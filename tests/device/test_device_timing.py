"""What is said of times, and under which conditions they were taken."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardnet_deploy.device import run_engine


def test_every_quantile_is_that_of_numpy() -> None:
    times = np.random.default_rng(0).gamma(9.0, 0.5, 301)
    found = run_engine.summarise(times.tolist())
    for name, share in (("median", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)):
        assert found[name] == pytest.approx(np.quantile(times, share), rel=1e-12)
    assert found["median"] < found["p90"] < found["p95"] < found["p99"] < found["max"]


@pytest.mark.parametrize(("times", "stable"), [([100.0, 105.0], True), ([100.0, 105.2], False)])
def test_more_than_two_and_a_half_percent_of_variation_is_unstable(times: list[float], stable: bool) -> None:
    assert run_engine.summarise(times)["stable"] is stable


@pytest.mark.parametrize("option", [("--iterations", "0"), ("--iterations", "-1"), ("--warm-up", "-1"),
                                    ("--duration", "nan")], ids=" ".join)  # fmt: skip
def test_a_protocol_that_times_nothing_is_refused(option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_engine.main(["bench", "a.engine", *option])
    assert ended.value.code == 2
    assert "is no" in capsys.readouterr().err


def jetson(root: Path) -> Path:
    """/sys of a Jetson Nano, as far as it is read."""
    files = {
        "class/thermal/thermal_zone0/type": "AO-therm",
        "class/thermal/thermal_zone0/temp": "45500",
        "class/thermal/thermal_zone1/type": "GPU-therm",
        "class/thermal/thermal_zone1/temp": "-500",
        "class/thermal/thermal_zone2/type": "GPU-therm",
        "class/thermal/thermal_zone2/temp": "39000",
        "class/thermal/thermal_zone3/type": "silent",
        "class/thermal/thermal_zone3/temp": "",
        "class/devfreq/57000000.gpu/cur_freq": "921600000",
        "class/devfreq/57000000.gpu/min_freq": "76800000",
        "class/devfreq/57000000.gpu/max_freq": "921600000",
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1479000",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")
    return root


def test_conditions_of_a_jetson_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_engine, "SYSTEM", jetson(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_engine.read_conditions() == {
        "temperature_c": {"AO-therm": 45.5, "GPU-therm": -0.5, "GPU-therm (thermal_zone2)": 39.0},
        "cpu_mhz": 1479.0,
        "gpu_mhz": 921.6,
        "gpu_min_mhz": 76.8,
        "gpu_max_mhz": 921.6,
    }


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("61, 1873, [N/A]", {"gpu_temperature_c": 61.0, "gpu_mhz": 1873.0}),
        ("61, 1873, 5508\n35, 139, 405", {}),
        ("Unable to determine the device handle", {}),
    ],
    ids=["one card", "two cards", "fault"],
)
def test_conditions_of_the_only_card_are_asked_of_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, found: dict[str, float]
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{answer}\\n'\n".replace("\n35", "\\n35"), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(run_engine, "SYSTEM", tmp_path / "no sys")
    assert run_engine.read_conditions() == found


def measured(monkeypatch: pytest.MonkeyPatch, conditions: list[dict[str, Any]]) -> dict[str, Any]:
    class Fake:
        outputs = ()

        def bench(self, _feeds: Any, **_options: Any) -> dict[str, list[float]]:
            return {"gpu_compute_ms": [1.0, 1.0], "enqueue_ms": [2.0, 2.0]}

    monkeypatch.setattr(run_engine, "read_conditions", lambda: conditions.pop(0))
    block: dict[str, Any] = run_engine.measure(Fake(), {}, {}, "a test")  # type: ignore[arg-type]  # a stand-in
    return block


def test_conditions_stand_beside_the_times_where_there_are_any(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured(monkeypatch, [{"cpu_mhz": 1.0}, {}])["conditions"] == {"before": {"cpu_mhz": 1.0}, "after": {}}
    assert "conditions" not in measured(monkeypatch, [{}, {}])


def test_a_gpu_that_waits_for_the_cpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    block = measured(monkeypatch, [{}, {}])
    line, note = run_engine.lines_of("bench", {"timing": block})
    assert "p90 1.000, p95 1.000, p99 1.000" in line
    assert "the GPU waits" in note
    block["enqueue_ms"] = [0.5, 0.5]
    assert run_engine.lines_of("bench", {"timing": block}) == [line]

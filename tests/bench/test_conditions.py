"""The conditions of a timing, read from made-up machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hardnet_deploy.bench.conditions import CPU, ConditionWatch, basic_machine
from hardnet_deploy.bench.gpu_state import FIELDS, read_gpu

CORES = {"cpu": {"model": "made up", "cores": 2}}
H200 = "NVIDIA H200, 570.1, 1980, 1980, 3201, 41, 310.5, 700.00, 97, 0x0000000000000000"
HOT = "NVIDIA GeForce GTX 1080 Ti, 535.2, 1480, 1911, 5505, 84, 249.1, 250.00, 99, 0x0000000000000024"
OLD = "Quadro, 390.1, [N/A], [Not Supported], 5505, 50, [N/A], [N/A], 3, [Not Supported]"
NANO = "RAM 1903/3956MB (lfb 2x4MB) CPU [12%@1479] GR3D_FREQ 98%@921 PLL@30C CPU@33.5C GPU@31C POM_5V_GPU 2345/2000"


def smi(line: str | None) -> Any:
    def command(words: Sequence[str]) -> str | None:
        return line if words[0] == "nvidia-smi" else None

    return command


def watch(
    files: dict[str, str] | None = None, *, gpu: str | None = None, load_before: Sequence[float] | None = None
) -> ConditionWatch:
    return ConditionWatch(machine=CORES, threads=2, read=(files or {}).get, command=smi(gpu), load_before=load_before)


def test_a_machine_that_tells_nothing_has_none_everywhere() -> None:
    one = watch()
    one.sample()
    one.sample()
    found = one.as_dict()
    for sample in (found["before"], found["after"]):
        assert {key for key, value in sample.items() if value is not None} <= {"load_average"}
    for key in ("hottest_c", "slowest_clock_mhz", "gpu_slowest_clock_mhz", "throttled", "steal_percent"):
        assert found[key] is None
    assert found["machine"] == CORES
    assert found["samples"] == 2


def test_nothing_looked_at_is_said_so() -> None:
    found = watch().as_dict()
    assert (found["before"], found["after"], found["samples"]) == (None, None, 0)


def test_clock_heat_governor_and_throttling_are_read() -> None:
    files = {
        f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "2400000\n",
        f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
        f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "7",
        "/sys/class/thermal/thermal_zone0/temp": "41000",
        "/sys/class/thermal/thermal_zone3/temp": "65500",
        "/proc/stat": "cpu  100 0 100 800 0 0 0 0 0 0\n",
    }
    one = watch(files)
    one.sample()
    files |= {
        f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "1200000\n",
        f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "9",
        "/proc/stat": "cpu  150 0 120 820 0 0 0 10 5 0\n",
    }
    one.sample()
    found = one.as_dict()
    assert found["before"]["governor"] == "performance"
    assert found["before"]["clock_mhz"] == 2400
    assert found["slowest_clock_mhz"] == 1200
    assert found["hottest_c"] == 65.5
    assert found["throttled"] is True
    assert found["steal_percent"] == pytest.approx(10.0)


def test_a_machine_that_did_not_slow_down_is_not_throttled() -> None:
    one = watch({f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "7"}, gpu=H200)
    one.sample()
    one.sample()
    assert one.as_dict()["throttled"] is False


def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (1.5, 1.0, 1.0))
    busy = watch()
    busy.sample()
    assert "1.50 on 2 cores" in busy.as_dict()["load"]
    monkeypatch.setattr("os.getloadavg", lambda: (0.3, 1.0, 1.0))
    idle = watch()
    idle.sample()
    assert idle.as_dict()["load"] is None


def test_load_that_the_caller_made_is_none_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (2.2, 1.0, 1.0))
    for before, told in ([0.1, 0.1, 0.1], None), ([1.7, 0.1, 0.1], "1.70 on 2 cores when the command began"):
        one = watch(load_before=before)
        one.sample()
        found = one.as_dict()
        assert found["before"]["load_average"] == [2.2, 1.0, 1.0]
        assert (told in found["load"]) if told else found["load"] is None


def test_a_gpu_is_read_by_nvidia_smi() -> None:
    found = read_gpu(smi(H200 + "\nanother, GPU"))
    assert found is not None
    assert found["name"] == "NVIDIA H200"
    assert (found["clock_mhz"], found["temperature_c"], found["power_w"]) == (1980, 41, 310.5)
    assert found["reasons"] == []
    assert found["held_back"] is False


def test_a_gpu_that_power_and_heat_hold_back_is_throttled() -> None:
    one = watch(gpu=HOT)
    one.sample()
    found = one.as_dict()
    assert found["throttled"] is True
    assert found["before"]["gpu"]["reasons"] == ["power cap", "software thermal slowdown"]
    assert found["gpu_slowest_clock_mhz"] == 1480


def test_an_idle_gpu_is_not_held_back() -> None:
    found = read_gpu(smi(H200.replace("0x0000000000000000", "0x0000000000000001")))
    assert found is not None
    assert found["reasons"] == ["idle"]
    assert found["held_back"] is False


def test_what_a_driver_does_not_tell_is_none() -> None:
    found = read_gpu(smi(OLD))
    assert found is not None
    assert set(found) == set(FIELDS.values()) | {"held_back"}
    for key in ("clock_mhz", "largest_clock_mhz", "power_w", "reasons", "held_back"):
        assert found[key] is None
    assert found["temperature_c"] == 50


def test_a_jetson_is_read_by_tegrastats() -> None:
    found = read_gpu(lambda words: NANO if words[0] == "sh" else None)
    assert found is not None
    assert (found["clock_mhz"], found["temperature_c"], found["power_w"]) == (921, 31, 2.345)
    assert found["held_back"] is None


def test_a_machine_without_gpu_is_asked_once() -> None:
    asked: list[str] = []

    def command(words: Sequence[str]) -> str | None:
        asked.append(words[0])
        return None

    one = ConditionWatch(machine=CORES, threads=1, read=lambda _: None, command=command)
    one.sample()
    first = len(asked)
    one.sample()
    assert len(asked) == first


def test_this_machine_is_named() -> None:
    found = basic_machine()
    assert found["cpu"]["model"]
    assert found["cpu"]["cores"] >= 1
    assert "torch" in found["versions"]

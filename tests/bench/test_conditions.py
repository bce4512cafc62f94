"""The conditions of a timing, read from made-up machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hardnet_deploy.bench.conditions import CPU, ConditionWatch, basic_machine
from hardnet_deploy.bench.gpu_state import COUNTERS, FIELDS, Command, GpuReader

CORES = {"cpu": {"model": "made up", "cores": 2}}
H200 = "NVIDIA H200, 570.1, 1980, 1980, 3201, 41, 310.5, 700.00, 97, 0x0000000000000000"
HOT = "NVIDIA GeForce GTX 1080 Ti, 535.2, 1480, 1911, 5505, 84, 249.1, 250.00, 99, 0x0000000000000024"
IDLE = H200.replace("0x0000000000000000", "0x0000000000000001")
OLD = "Quadro, 390.1, [N/A], [Not Supported], 5505, 50, [N/A], [N/A], 3, [Not Supported]"
NANO = "RAM 1903/3956MB (lfb 2x4MB) CPU [12%@1479] GR3D_FREQ 98%@921 PLL@30C CPU@33.5C GPU@31C POM_5V_GPU 2345/2000"


CALM_CPU = {f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "7"}
STILL = "7, 0, 12, 0"
ONE, OTHER = "GPU-11111111-aaaa-bbbb-cccc-dddddddddddd", "GPU-22222222-aaaa-bbbb-cccc-dddddddddddd"


class FakeSmi:
    """A fake nvidia-smi.

    Args:
        line: What it answers when asked for the state.
        counters: When asked for the counters, one after the other; none: refused, as by an older driver.
        pytorch: The UUID that a fake PyTorch tells.
    """

    def __init__(self, line: str | None, counters: Sequence[str] = (), pytorch: str | None = None) -> None:
        self.line, self.counters, self.pytorch = line, list(counters), pytorch
        self.asked: list[Sequence[str]] = []

    def __call__(self, words: Sequence[str]) -> str | None:
        self.asked.append(words)
        if words[0] == "nvidia-smi":
            if "counters" not in words[1]:
                return self.line
            return self.counters.pop(0) if self.counters else None
        return self.pytorch if "torch" in words[-1] else None


def smi(line: str | None, *counters: str, pytorch: str | None = None) -> FakeSmi:
    return FakeSmi(line, counters, pytorch)


def read_gpu(command: Command) -> dict[str, Any] | None:
    return GpuReader(command).read()


def watch(
    files: dict[str, str] | None = None,
    *,
    gpu: str | None = None,
    counters: Sequence[str] = (),
    load_before: Sequence[float] | None = None,
    on_gpu: bool = False,
) -> ConditionWatch:
    return ConditionWatch(
        machine=CORES,
        threads=2,
        read=(files or {}).get,
        command=smi(gpu, *counters),
        load_before=load_before,
        on_gpu=on_gpu,
    )


def looked_at(times: int, files: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    one = watch(files, **options)
    for _ in range(times):
        one.sample()
    return one.as_dict()


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
    assert looked_at(2, CALM_CPU)["throttled"] is False
    assert looked_at(2, CALM_CPU, gpu=H200, counters=[STILL, STILL])["throttled"] is False
    assert looked_at(2, gpu=IDLE, counters=[STILL, STILL])["throttled"] is False


@pytest.mark.parametrize("line", [H200, IDLE, OLD, "\n".join((H200, H200))])
def test_looks_between_rounds_never_say_that_nothing_held_a_gpu_back(line: str) -> None:
    assert looked_at(3, CALM_CPU, gpu=line)["throttled"] is None


def test_a_gpu_that_nothing_can_look_at_is_not_said_to_run_freely() -> None:
    assert looked_at(2, CALM_CPU, on_gpu=True)["throttled"] is None


@pytest.mark.parametrize("last", ["8, 0, 12, 0", "7, 0, 13, 0", "[N/A], 3, [N/A], [N/A]"])
def test_counters_tell_what_happened_while_nobody_looked(last: str) -> None:
    found = looked_at(3, CALM_CPU, gpu=IDLE, counters=[STILL, STILL, last])
    assert found["throttled"] is True
    assert found["before"]["gpu"]["held_back_us"] == dict(zip(COUNTERS.values(), (7, 0, 12, 0), strict=True))


@pytest.mark.parametrize("counters", [[STILL], [STILL, "[N/A], 0, 12, 0"], [STILL, "0, 0, 0, 0"]])
def test_counters_that_are_not_there_at_both_ends_tell_nothing(counters: list[str]) -> None:
    """The last ones are of a driver that was loaded again in between."""
    assert looked_at(2, CALM_CPU, gpu=IDLE, counters=counters)["throttled"] is None


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
    found = read_gpu(smi(H200))
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


def test_whether_an_idle_gpu_is_held_back_is_not_known() -> None:
    found = read_gpu(smi(IDLE))
    assert found is not None
    assert found["reasons"] == ["idle"]
    assert found["held_back"] is None


def test_of_several_gpus_the_one_that_pytorch_times_is_read() -> None:
    both = f"{H200}, {ONE}\n{HOT}, {OTHER}"
    for uuid, name in (OTHER, "NVIDIA GeForce GTX 1080 Ti"), (ONE, "NVIDIA H200"):
        fake = smi(both, f"1, 0, 0, 0, {ONE}\n2, 0, 0, 0, {OTHER}", pytorch=uuid.removeprefix("GPU-").upper() + "\n")
        reader = GpuReader(fake)
        for _ in range(2):
            found = reader.read()
            assert found is not None
            assert found["name"] == name
        assert sum("torch" in words[-1] for words in fake.asked) == 1
    counted = read_gpu(smi(both, f"1, 0, 0, 0, {ONE}\n2, 0, 0, 0, {OTHER}", pytorch=OTHER))
    assert counted is not None
    assert counted["held_back_us"]["power cap"] == 2


@pytest.mark.parametrize("pytorch", [None, "", "33333333-aaaa-bbbb-cccc-dddddddddddd"])
def test_of_several_gpus_none_is_read_where_nobody_knows_which(pytorch: str | None) -> None:
    reader = GpuReader(smi(f"{H200}, {ONE}\n{HOT}, {OTHER}", pytorch=pytorch))
    assert reader.read() is None
    assert reader.seen
    assert GpuReader(smi(f"8000, {ONE}\n9000, {OTHER}", pytorch=pytorch)).free_bytes() is None


def test_free_memory_is_that_of_the_gpu_that_is_timed() -> None:
    assert GpuReader(smi("10240, GPU-any")).free_bytes() == 10 * 2**30
    assert GpuReader(smi(f"8000, {ONE}\n9000, {OTHER}", pytorch=OTHER)).free_bytes() == 9000 * 2**20
    assert GpuReader(smi("[N/A], GPU-any")).free_bytes() is None
    assert GpuReader(smi(None)).free_bytes() is None


def test_what_a_driver_does_not_tell_is_none() -> None:
    found = read_gpu(smi(OLD))
    assert found is not None
    assert set(found) == set(FIELDS.values()) | {"held_back", "held_back_us"}
    for key in ("clock_mhz", "largest_clock_mhz", "power_w", "reasons", "held_back", "held_back_us"):
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

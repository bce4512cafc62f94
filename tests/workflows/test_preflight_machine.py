"""What the preflight reads of a machine, through probes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from fake_tensorrt import fake_tensorrt

from hardnet_deploy.targets import MIB
from hardnet_deploy.workflows.environment import Gpu, Probes
from hardnet_deploy.workflows.preflight_machine import CUDART_VARIABLE, Machine, read_machine, version_numbers

MEMINFO = "MemTotal:  4000 kB\nMemAvailable:    2048 kB\nSwapTotal: 9 kB\nSwapFree:        1024 kB\n"
TEGRA = {"name": "NVIDIA Tegra X1", "compute_capability": [5, 3], "memory_bytes": 4096 * MIB, "free_bytes": MIB}
H200 = "NVIDIA H200, 570.86, 143771, 9.0\n"


@pytest.fixture(autouse=True)
def no_cudart_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CUDART_VARIABLE, raising=False)


def no_cuda() -> NoReturn:
    raise OSError("no libcudart")


def look(folder: Path = Path(), *, ask_cuda: Any = no_cuda, **changes: Any) -> Machine:
    bare: dict[str, Any] = {
        "read_text": lambda _path: MEMINFO,
        "nvidia_smi": lambda _fields: None,
        "torch_gpus": lambda: (),
        "tensorrt_module": lambda: None,
        "free_disk": lambda: 7 * MIB,
    }
    return read_machine(folder, Probes(**(bare | changes)), ask_cuda=ask_cuda)


def test_a_bare_machine_has_memory_and_disk() -> None:
    found = look()
    assert (found.gpus, found.tensorrt) == ((), None)
    assert (found.free_memory, found.free_disk) == (3 * MIB, 7 * MIB)


def test_what_cannot_be_read_is_none() -> None:
    found = look(read_text=lambda _path: "", free_disk=no_cuda)
    assert (found.free_memory, found.free_disk) == (None, None)


def test_a_jetson_without_nvidia_smi_is_seen_through_libcudart() -> None:
    found = look(ask_cuda=lambda: TEGRA, tensorrt_module=lambda: fake_tensorrt("8.2"))
    assert found.gpus == (Gpu(name="NVIDIA Tegra X1", driver=None, compute_capability=(5, 3), memory=4096 * MIB),)
    assert found.tensorrt is not None
    assert found.tensorrt.family == "8.2"


def test_nvidia_smi_goes_first_unless_a_libcudart_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def named() -> str:
        return look(nvidia_smi=lambda _fields: H200, ask_cuda=lambda: TEGRA).gpus[0].name

    assert named() == "NVIDIA H200"
    monkeypatch.setenv(CUDART_VARIABLE, "/somewhere/libcudart.so")
    assert named() == "NVIDIA Tegra X1"


def test_the_disk_is_that_of_the_output_which_need_not_exist(tmp_path: Path) -> None:
    found = read_machine(tmp_path / "not" / "yet", ask_cuda=no_cuda)
    assert found.free_disk
    assert found.free_disk > 0


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("8.2.1.8", (8, 2, 1)),
        ("8.6.1", (8, 6, 1)),
        ("8.2.1+simulated", (8, 2, 1)),
        ("10.0", None),
        ("", None),
        (None, None),
    ],
)
def test_versions_have_three_numbers(text: str | None, numbers: tuple[int, int, int] | None) -> None:
    assert version_numbers(text) == numbers

"""``hardnet-deploy bench``: the table or one JSON document on stdout, words on stderr, exit codes, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import COMMAND, environment, shell
from made_up_bench import LAPTOP, MadeUpTimings, made_up_timing
from tiny_detector import write_toy
from typer.testing import CliRunner

from hardnet_deploy.bench.document import check_bench, read_bench
from hardnet_deploy.bench.timing import Timings
from hardnet_deploy.cli import bench_cmd, bench_progress
from hardnet_deploy.cli.bench_cmd import bench
from hardnet_deploy.workflows import bench as workflow

app = typer.Typer()
app.command()(bench)
EAGER = ("hardnet68", "--engines", "eager,fused")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(workflow, "read_machine", lambda: LAPTOP)


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> MadeUpTimings:
    made_up = MadeUpTimings()
    monkeypatch.setattr(workflow, "time_sides", made_up)
    return made_up


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


@pytest.mark.usefixtures("timings")
def test_json_is_the_document_and_nothing_else() -> None:
    result = run(*EAGER, "--json", "--save", "b.json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    check_bench(document, source="stdout")
    assert document == read_bench(Path("b.json"))


@pytest.mark.usefixtures("timings")
def test_the_table_goes_to_stdout_and_what_will_be_done_to_stderr() -> None:
    result = run("--engines", "eager,fp16")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Protocol 1080ti-1024, 1024 x 1024, batch 1\n")
    assert "fp16: not reproducible here (no NVIDIA GPU that PyTorch can use)" in result.stdout
    assert "5 rows to time here: 300 runs each, within 10 min of timing" in result.stderr


@pytest.mark.usefixtures("timings")
def test_markdown_and_csv_are_files() -> None:
    result = run(*EAGER, "--markdown", "out/t.md", "--csv", "out/t.csv")
    assert result.exit_code == 0
    assert result.stderr.endswith("wrote out/t.md\nwrote out/t.csv\n")
    assert "| hardnet68" not in Path("out/t.md").read_text()
    assert "| HarDNet68 (untrained) | eager |" in Path("out/t.md").read_text()
    assert Path("out/t.csv").read_text().startswith("key,network,engine,")


def test_unstable_times_are_exit_7_with_the_result_out_and_saved(timings: MadeUpTimings) -> None:
    timings.changes = {"hardnet68/eager": {"stable": False}}
    result = run(*EAGER, "--save", "b.json")
    assert result.exit_code == 7
    assert "UNSTABLE" in result.stdout
    assert "error: the times of 1 of 2 rows did not settle" in result.stderr
    assert read_bench(Path("b.json"))["finished"] is True
    allowed = run(*EAGER, "--allow-unstable")
    assert allowed.exit_code == 0
    assert "UNSTABLE" in allowed.stdout


@pytest.mark.usefixtures("timings")
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_reader_that_is_gone_costs_no_file(monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]) -> None:
    def gone(_what: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(bench_cmd, "emit_json" if form else "emit", gone)
    run(*EAGER, *form, "--save", "b.json", "--markdown", "b.md", "--csv", "b.csv")
    assert read_bench(Path("b.json"))["finished"] is True
    assert all(Path(name).stat().st_size for name in ("b.md", "b.csv"))


def test_an_interrupted_run_prints_and_saves_what_is_there_and_ends_with_130(timings: MadeUpTimings) -> None:
    timings.stopped_by = "interrupted"
    result = run(*EAGER, "--save", "b.json")
    assert result.exit_code == 130
    assert "interrupted after 6 rounds" in result.stdout
    assert "HarDNet68" in result.stdout
    assert read_bench(Path("b.json"))["finished"] is False


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_an_interrupt_before_the_first_round_leaves_an_older_document_as_it_is(
    words: tuple[str, ...], timings: MadeUpTimings, monkeypatch: pytest.MonkeyPatch
) -> None:
    del timings

    def loading(sides: Any, **_: Any) -> Timings:
        nothing = {"rounds_ms": (), "round_numbers": (), "stable": None, "source": ""}
        found = {side.key: made_up_timing(side, 1.0, **nothing) for side in sides}
        return Timings(sides=found, rounds=0, groups=(), elapsed_s=1.0, stopped_by="interrupted")

    assert run(*EAGER, "--save", "b.json").exit_code == 0
    before = Path("b.json").read_bytes()
    monkeypatch.setattr(workflow, "time_sides", loading)
    result = run(*EAGER, "--save", "b.json", "--csv", "b.csv", *words)
    assert result.exit_code == 130
    assert Path("b.json").read_bytes() == before
    assert not Path("b.csv").exists()
    assert "nothing was measured and nothing was written" in result.stderr
    assert "wrote" not in result.stderr
    assert "above" not in result.stderr
    assert "not reproducible here" not in result.stdout
    if words:
        provenances = {row["provenance"] for row in json.loads(result.stdout)["rows"]}
        assert provenances == {"not measured (the timing ended before its turn)"}
    else:
        assert result.stdout == ""


def test_a_full_disk_at_the_end_takes_no_result_back(timings: MadeUpTimings) -> None:
    Path("full").mkdir()

    def fill_up() -> None:
        Path("full/b.md").mkdir()  # nothing can be written in the place of a folder

    timings.during = fill_up
    result = run(*EAGER, "--markdown", "full/b.md")
    assert result.exit_code == 4
    assert "HarDNet68" in result.stdout
    assert "full/b.md" in result.stderr


@pytest.mark.usefixtures("timings")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["hardnet68", "--budget", "no"], 2),
        (["hardnet39ds", "--size", "0"], 2),
        (["hardnet68", "--engines", "trt-int8"], 3),
        (["none.onnx"], 4),
        (["toy.onnx"], 8),
        (["hardnet68", "--save", "."], 4),
    ],
)
def test_refusals_have_their_exit_code_in_both_forms(words: list[str], code: int) -> None:
    write_toy(Path("toy.onnx")).with_name("toy.onnx.json").unlink()
    assert run(*words).exit_code == code
    result = run(*words, "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["exit_code"] == code


def test_the_spellings_of_trtexec_mean_the_same(timings: MadeUpTimings) -> None:
    assert run(*EAGER, "--warmUp", "50", "--duration", "3", "--iterations", "20").exit_code == 0
    assert timings.plan is not None
    assert (timings.plan.warm_up_ms, timings.plan.budget_s, timings.plan.iterations) == (50, 3, 20)


def test_progress_without_a_terminal_is_a_line_for_each_task_and_every_few_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with bench_progress.bench_progress() as progress:
        for done in range(4):
            progress("timing", done, 4, "a/eager, 9 s left")
            now[0] += 3
    assert capsys.readouterr().err.splitlines() == [
        "timing (0 of 4): a/eager, 9 s left",
        "timing (2 of 4): a/eager, 9 s left",
    ]


def test_two_files_are_really_timed_in_processes_of_their_own() -> None:
    for name in ("a", "b"):
        write_toy(Path(f"{name}.onnx"), nms="onnx")
    words = ("a.onnx", "b.onnx", "--rounds", "5", "--iterations", "10", "--warm-up", "1", "--threads", "1")
    result = shell("bench", *words, "--allow-unstable", "--json", "--save", "b.json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document == read_bench(Path("b.json"))
    for row in document["rows"]:
        assert row["provenance"] == "measured here"
        assert row["measured"]["runs"] == 10
        assert row["loadings"] == [0, 1, 2, 3, 4]
        assert row["boundary"] == "network+NMS"
        assert row["boundary_text"]
        assert row["runtime"].startswith("ONNX Runtime")
        assert row["artifact"]["sha256"] == json.loads(Path(f"{row['artifact']['file']}.json").read_text())["sha256"]
    assert document["rows"][1]["ratio_to_reference"]["measured"]["low"] is not None


@pytest.mark.slow
def test_ctrl_c_while_times_are_taken_keeps_the_finished_rounds() -> None:
    write_toy(Path("a.onnx"), nms="onnx")
    words = ("bench", "a.onnx", "--budget", "10m", "--iterations", "100000", "--warm-up", "1", "--save", "b.json")
    with subprocess.Popen(
        ["env", "--default-signal=INT", COMMAND, *words],  # a job in the background is started with it ignored
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as process:
        waited_until = time.monotonic() + 120
        while not Path("b.json").exists() and process.poll() is None and time.monotonic() < waited_until:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the processes that time as well
        stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "interrupted after" in stdout
    document = read_bench(Path("b.json"))
    assert document["finished"] is False
    assert document["rows"][0]["measured"]["runs"] >= 1


@pytest.mark.slow
def test_the_demo_detector_in_torch_and_onnx_runtime_with_and_without_int8() -> None:
    words = ("ssd300-hardnet-demo", "--engines", "eager,ort-fp32,ort-int8", "--rounds", "5", "--iterations", "5")
    result = shell("bench", *words, "--boundary", "network+nms", "--warm-up", "1", "--allow-unstable", "--json")
    assert result.returncode == 0, result.stderr
    eager, float32, int8 = json.loads(result.stdout)["rows"]
    assert [row["provenance"] for row in (eager, float32, int8)] == ["measured here"] * 3
    assert len({row["artifact"]["sha256"] for row in (eager, float32, int8)}) == 3
    assert all(row["trained"] is True for row in (eager, float32, int8))
    assert any("for timing only" in text for text in int8["notes"])
    assert int8["gain_over_eager"]["low"] is not None

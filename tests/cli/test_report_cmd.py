"""``hardnet-deploy report`` as a user runs it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from html_outline import read_page
from made_up_runs import MODEL, artifact, parity, save, side
from made_up_times import bench, bench_row, everything
from typer.testing import CliRunner, Result

from hardnet_deploy.cli.main import app


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, words)])


def test_the_decision_comes_out_and_the_page_is_the_last_line(tmp_path: Path) -> None:
    page = tmp_path / "out" / "report.html"
    result = run(everything(tmp_path / "runs"), "-o", page)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("Deploy int8.onnx (SHA-256 ")
    assert "absent   Worst images" in lines
    assert lines[-1] == f"report   {page}"
    assert result.stderr == ""
    assert read_page(page.read_text(encoding="utf-8")).all("h1")[0].text.startswith("Deploy int8.onnx")


def test_json_is_one_document(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = run(everything(tmp_path / "runs"), "-o", page, "--json")
    document = json.loads(result.stdout)
    assert document["report"] == str(page)
    assert document["bytes"] == page.stat().st_size
    assert document["decisions"][0]["recommended"] == "int8.onnx"
    assert document["decisions"][0]["timed"].startswith("network+NMS, 300×300, batch 1, input: 16 images in turn")
    assert document["absent"] == ["Worst images"]
    assert {one["kind"] for one in document["documents"]} > {"bench", "parity", "manifest"}


def test_single_documents_can_be_named(tmp_path: Path) -> None:
    files = [save(tmp_path / "p.json", parity("a.onnx")), save(tmp_path / "b.json", bench([bench_row("a.onnx", 9.0)]))]
    save(tmp_path / "failed.json", parity("a.onnx", drop=0.5))  # lies beside them, and is not named
    result = run(*files, "-o", tmp_path / "r.html", "--json")
    assert json.loads(result.stdout)["decisions"][0]["recommended"] == "a.onnx"


def test_what_does_not_fit_together_goes_to_stderr_too(tmp_path: Path) -> None:
    save(tmp_path / "p.json", parity("a.onnx"))
    save(tmp_path / "b.json", bench([], finished=False))
    result = run(tmp_path, "-o", tmp_path / "r.html", "--json")
    assert "warning: b.json: the run was interrupted" in result.stderr
    assert json.loads(result.stdout)["cautions"]


def test_bare_it_reads_this_folder_and_writes_report_html(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(everything(tmp_path))
    assert run().exit_code == 0
    again = run()
    assert again.exit_code == 0
    assert Path("report.html").stat().st_size > 0


@pytest.mark.parametrize(
    "content",
    [None, "", "{", '{"kind": "coco"}', '{"kind": "bench", "schema": 2}', '{"kind": "bench"}'],
)
def test_a_file_that_cannot_be_used_ends_with_exit_code_4_and_its_name(content: str | None, tmp_path: Path) -> None:
    run_file = tmp_path / "run.json"
    if content is not None:
        run_file.write_text(content)
    page = tmp_path / "r.html"
    page.write_text("older")
    result = run(run_file, "-o", page)
    assert result.exit_code == 4
    assert "run.json" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert page.read_text() == "older"


def test_a_folder_without_runs_says_what_makes_some(tmp_path: Path) -> None:
    result = run(tmp_path, "-o", tmp_path / "r.html")
    assert result.exit_code == 4
    assert "hardnet-deploy demo" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_never_overwrites_what_it_is_made_of(tmp_path: Path) -> None:
    path = save(tmp_path / "p.json", parity("a.onnx"))
    before = path.read_bytes()
    assert run(path, "-o", path).exit_code == 2
    assert path.read_bytes() == before


def test_it_takes_the_place_of_nothing_but_a_page(tmp_path: Path) -> None:
    runs = everything(tmp_path / "runs")
    (runs / "old.json").write_text(json.dumps({"kind": "bench", "schema": 0}))
    (tmp_path / "link").symlink_to(runs)
    (tmp_path / "notes.txt").write_text("mine")
    kept = {path: path.read_bytes() for path in (*runs.iterdir(), tmp_path / "notes.txt")}
    for output in (
        runs / "int8.onnx",
        tmp_path / "link" / "bench.json",
        runs / ".." / "runs" / "bench.json",
        runs / "old.json",
        tmp_path / "notes.txt",
    ):
        result = run(runs, "-o", output)
        assert result.exit_code == 2, result.output
        assert "would overwrite" in result.stderr
    assert kept == {path: path.read_bytes() for path in kept}
    (tmp_path / "empty.html").touch()
    for output in (tmp_path / "empty.html", tmp_path / "empty.html"):  # the second time it is a page
        assert run(runs, "-o", output).exit_code == 0


def test_a_command_is_one_that_can_be_typed_or_none(tmp_path: Path) -> None:
    save(tmp_path / "p.json", parity("elsewhere/a.onnx"))
    save(tmp_path / "q.json", parity("b.onnx", reference=side("lost.onnx")))
    (missing, unknown) = json.loads(run(tmp_path, "-o", tmp_path / "r.html", "--json").stdout)["decisions"][0][
        "missing"
    ]
    assert missing["command"].split()[:4] == ["hardnet-deploy", "bench", MODEL, "elsewhere/a.onnx"]
    assert missing["not_found"] == ["elsewhere/a.onnx"]
    assert unknown["command"] is None
    assert "no reference" in unknown["what"]
    artifact(tmp_path, "b.onnx")  # says which model it is of
    decisions = json.loads(run(tmp_path, "-o", tmp_path / "r.html", "--json").stdout)["decisions"]
    commands = [each["command"] for one in decisions for each in one["missing"] if each["command"]]
    words = ["hardnet-deploy", "parity", MODEL, str(tmp_path / "b.onnx"), "--data", "demo"]
    assert [*words, "-o", str(tmp_path / "b.parity.json")] in [shlex.split(one) for one in commands]
    told = run(tmp_path, "-o", tmp_path / "r.html").stdout
    assert "(elsewhere/a.onnx: not found from this folder): hardnet-deploy bench" in told
    assert "None" not in told


def test_an_output_that_cannot_be_written_is_said_first(tmp_path: Path) -> None:
    result = run(everything(tmp_path), "-o", tmp_path)
    assert result.exit_code == 4
    assert "is a folder" in result.stderr

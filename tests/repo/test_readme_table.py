"""The figures in the README and the pages under docs are those in benchmarks/results."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

from hardnet_deploy.bench.document import check_bench, read_bench

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
)
FLAT_MIB = 64  # sixteen times the images may cost what an allocator rounds, no more


def test_the_table_is_what_the_recorded_run_measured() -> None:
    command = [sys.executable, "benchmarks/export_matrix.py", "--table", str(RESULTS / "export_matrix.json")]
    table = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert table.count("\n") >= 13
    assert table in SHOWN


def test_the_detectors_tables_are_what_the_recorded_run_measured() -> None:
    path = RESULTS / "demo_detector.json"
    command = [sys.executable, "benchmarks/demo_detector.py", "--table", str(path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert printed.count("\n\n") == 2
    for table in printed.split("\n\n"):
        assert table in SHOWN
    result = json.loads(path.read_text(encoding="utf-8"))
    weights = ROOT / "hardnet_deploy" / "models" / "weights" / "ssd300-hardnet-demo.safetensors"
    assert result["weights"]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert result["data"]["images"] == 2000
    assert result["coco"]["AP"] >= 0.65
    assert result["coco"]["APs"] >= 0.5
    lines = {" ".join(_what_matters(line.split())) for line in SHOWN.replace("\\\n    ", "").splitlines()}
    assert result["training"]
    for run in result["training"]:
        assert " ".join(_what_matters(run["command"])) in lines
    assert sum(run["seconds"] for run in result["training"]) < 3600


def _what_matters(words: list[str]) -> list[str]:
    """A command without the names of the files it reads and writes."""
    named = [number for number, word in enumerate(words) if word in {"-o", "--weights"}]
    return [word for number, word in enumerate(words) if number - 1 not in named]


def test_the_speed_is_what_the_recorded_run_measured_and_inside_its_bars() -> None:
    result = json.loads((RESULTS / "export_speed.json").read_text(encoding="utf-8"))
    assert result["ratio_median"] <= result["bars"]["ratio"]
    assert result["ours_peak_mib"] <= result["bars"]["peak_mib"]
    assert f"{result['ratio_median']:.1f} times" in SHOWN
    assert f"{result['ours_peak_mib'] / 1024:.1f} GiB" in SHOWN


def test_the_int8_tables_are_what_the_recorded_runs_measured() -> None:
    command = [sys.executable, "benchmarks/int8_tables.py"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    tables = printed.split("\n\n")
    assert len(tables) == 4
    assert all(table in SHOWN for table in tables)


def test_the_readmes_few_rows_of_int8_are_rows_of_the_whole_table() -> None:
    whole = (ROOT / "docs" / "int8.md").read_text(encoding="utf-8").splitlines()
    few = re.findall(r"^\| INT8 \| mAP .*\n(?:\|.*\n)+", README, flags=re.MULTILINE)
    assert len(few) == 1
    rows = few[0].splitlines()
    assert len(rows) >= 5
    assert all(row in whole for row in rows)


def test_what_is_said_of_the_search_is_what_it_found() -> None:
    result = json.loads((RESULTS / "int8_accuracy.json").read_text(encoding="utf-8"))
    row = next(row for row in result["rows"] if row["row"] == "CPU engine, --max-drop 0.001")
    assert f"has {len(row['float'])} layers in float" in README
    plain = next(trial for trial in row["search"]["trials"] if not trial["float_layers"])["drop"]
    assert f"{row['search']['data']['images']:,} scenes" in SHOWN
    assert f"kept {100 * (1 - plain['drop']):.2f} % (at least {100 * (1 - plain['at_most']):.2f} %)" in SHOWN


def test_int8_keeps_what_it_promises() -> None:
    result = json.loads((RESULTS / "int8_accuracy.json").read_text(encoding="utf-8"))
    assert result["data"]["name"] == "demo:val"
    assert result["data"]["images"] == 2000
    weights = ROOT / "hardnet_deploy" / "models" / "weights" / "ssd300-hardnet-demo.safetensors"
    assert result["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    kept = {row["row"]: row["kept"] for row in result["rows"]}
    assert kept["CPU engine, entropy"] >= 0.997
    assert kept["int8 Q/DQ graph, unified concat scales"] >= 0.998
    assert kept["CPU engine, --max-drop 0.001"] >= 0.999


def test_int8_is_as_fast_as_it_promises() -> None:
    result = json.loads((RESULTS / "int8_speed.json").read_text(encoding="utf-8"))
    assert "avx512_vnni" in result["conditions"]["instruction_sets"]
    ours = next(row for row in result["rows"] if row["side"].startswith("ours"))
    assert ours["times_faster_than_onnxruntime_fp32"] >= 2.7
    assert ours["times_faster_than_pytorch_eager"] >= 4.5


def test_calibration_costs_no_more_than_it_promises() -> None:
    result = json.loads((RESULTS / "calibration_cost.json").read_text(encoding="utf-8"))
    assert result["times_the_forward"]["ours"] <= 1.5
    assert result["long_run_times_the_forward"] <= 1.5
    assert result["long_run"]["images"] >= 512
    assert result["peak_mib"]["many"] < 2048
    assert result["peak_mib"]["growth"] < FLAT_MIB


def test_separate_concat_scales_cost_what_the_readme_says() -> None:
    result = json.loads((RESULTS / "int8_choices.json").read_text(encoding="utf-8"))
    told = f"{result['separate_over_unified']:.2f} times as slow"
    assert told in SHOWN


def test_an_fp16_typed_graph_keeps_what_the_readme_says() -> None:
    result = json.loads((RESULTS / "half_accuracy.json").read_text(encoding="utf-8"))
    assert result["within_bar"] is True
    assert result["data"]["images"] == 2000
    assert f"(a drop of {result['drop_points']:.3f} points, at most {result['drop_points_at_most_95']:.3f};" in SHOWN


def test_the_published_table_is_what_the_recorded_run_measured() -> None:
    path = RESULTS / "bench_1080ti_1024.json"
    command = [sys.executable, "benchmarks/bench_table.py", str(path)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert printed in README
    document = read_bench(path)
    assert document["finished"] is True
    assert document["conditions"]["load"] is None
    assert document["conditions"]["throttled"] is not True
    assert not any("--trust" in word for word in document["command"])
    protocol = document["protocol"]
    assert (protocol["name"], protocol["size"], protocol["statistic"]) == ("1080ti-1024", 1024, "mean")
    timed = [row for row in document["rows"] if row["measured"]]
    assert {row["network"] for row in timed} == {"hardnet68", "resnet50", "hardnet85", "resnet101", "vgg16"}
    assert all(row["provenance"] == "measured here" for row in timed)
    assert shlex.join(shown_words(document["command"])) in README


def shown_words(command: list[str]) -> list[str]:
    """A command without the file that it saves to."""
    place = command.index("--save")
    return command[:place] + command[place + 2 :]


def test_two_quick_runs_agree_as_the_readme_says() -> None:
    result = json.loads((RESULTS / "bench_agreement.json").read_text(encoding="utf-8"))
    assert result["passed"] is True
    counted = [one for one in result["compared"] if one["counts"]]
    assert len(counted) == result["counted"] > 0
    assert sum(one["overlap"] for one in counted) >= result["bar"] * len(counted)
    agreeing = sum(one["overlap"] for one in result["compared"])
    assert f"{agreeing} of {len(result['compared'])} ratios" in README
    assert f"{result['counted']} of them" in README
    for document in result["runs"]:
        check_bench(document, source="bench_agreement.json")
        assert document["conditions"]["load"] is None

"""What a recommendation rests on: a gain that was measured, on a run that settled, among times that can be compared."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from made_up_runs import artifact, parity, pytorch, save, side
from made_up_times import (
    RANDOM,
    bench,
    bench_row,
    device_results,
    device_row,
    eager_row,
    imported_row,
    measured,
)
from report_pages import decision, joined, option, page, table, why_not

from hardnet_deploy.report.decision import decide

UNSTABLE = measured(40.0, stable=False)
BY_NUMPY = "input tensor to detections: NMS by the NumPy reference of EfficientNMS (score 0.02)"
PLUGIN = "its EfficientNMS_TRT runs as the NumPy reference of that plugin: the time is none of TensorRT's"


def test_without_pytorch_in_the_run_nothing_is_recommended_and_the_next_run_has_both(tmp_path: Path) -> None:
    run = bench([bench_row("a.onnx", 57.0, gain_over_eager=None)])
    run["rows"] = [row for row in run["rows"] if row["engine"] != "eager"]
    one = decision(tmp_path, parity("a.onnx"), parity("b c.onnx"), run)
    assert one.chosen is None
    assert "Deploy" not in one.paragraph + one.headline
    assert "the gain is not known, as PyTorch was not timed in the same run" in why_not(one, "a.onnx")
    (missing,) = one.missing
    assert missing.what == "times of b c.onnx; the gain of a.onnx over PyTorch"
    save_as = str(tmp_path / "bench.json")
    assert shlex.split(missing.command) == [
        *("hardnet-deploy", "bench", "ssd300-made-up", "a.onnx", "b c.onnx", "--engines", "eager"),
        *("--boundary", "network+nms", "--data", "demo", "--save", save_as),
    ]


def test_the_advice_never_names_a_file_that_is_there(tmp_path: Path) -> None:
    save(tmp_path / "bench.json", bench([bench_row("a.onnx", 10.0)]))
    (tmp_path / "bench-2.json").write_text("{")
    one = decision(tmp_path, parity("a.onnx"), parity("b.onnx"))
    assert one.chosen is not None
    (missing,) = one.missing
    words = shlex.split(missing.command)
    assert words[-2:] == ["--save", str(tmp_path / "bench-3.json")]
    assert words[2:5] == ["ssd300-made-up", "a.onnx", "b.onnx"]  # those that have a time too


def test_the_advice_is_made_for_the_files(tmp_path: Path) -> None:
    artifact(tmp_path, "eight.onnx", graph={"outputs": ["logits"], "batch": 8}, preprocess={"size": 320})
    file, model = str(tmp_path / "eight.onnx"), "m=w.pth"
    compared = parity(file, reference=pytorch(engine=model, code_line="lzx1413"))
    compared["command"] += ["--classes", "my names.txt"]
    (missing,) = decision(tmp_path, compared).missing
    words = shlex.split(missing.command)
    assert words[:4] == ["hardnet-deploy", "bench", model, file]
    for option_and_value in (
        ["--boundary", "network"],
        ["--batch", "8"],
        ["--size", "320"],
        ["--code-line", "lzx1413"],
        ["--classes", "my names.txt"],
    ):
        place = words.index(option_and_value[0])
        assert words[place : place + 2] == option_and_value


def test_without_a_time_it_says_what_passed_and_how_to_time_it(tmp_path: Path) -> None:
    one = decision(tmp_path, parity("dir/a b.onnx"))
    assert one.chosen is None
    assert "passed against PyTorch ssd300-made-up, but how fast they are is not known" in one.paragraph
    (missing,) = one.missing
    assert missing.command is not None
    assert missing.command.startswith("hardnet-deploy bench ssd300-made-up 'dir/a b.onnx' --engines eager --data demo ")


@pytest.mark.parametrize("said", [{"nms": "plugin-by-numpy"}, {"nms": None, "notes": [PLUGIN]}, {"notes": [PLUGIN]}])
def test_a_plugin_that_numpy_stands_in_for_is_never_recommended(said: dict[str, Any], tmp_path: Path) -> None:
    rows = [bench_row("plugin.onnx", 1.0, **said), bench_row("a.onnx", 10.0, nms="in-graph")]
    one = decision(tmp_path, parity("plugin.onnx"), parity("a.onnx"), bench(rows))
    assert one.chosen is not None
    assert one.chosen.name == "a.onnx"
    assert "such a time is none of TensorRT's" in why_not(one, "plugin.onnx")
    assert one.missing == ()  # the decision for this machine is made


@pytest.mark.parametrize("said", [{"nms": "plugin-by-numpy"}, {"nms": None, "notes": [PLUGIN]}, {"notes": [PLUGIN]}])
def test_where_nothing_is_chosen_a_plugin_waits_for_a_device(said: dict[str, Any], tmp_path: Path) -> None:
    one = decision(tmp_path, parity("plugin.onnx"), bench([bench_row("plugin.onnx", 1.0, **said)]))
    assert one.chosen is None
    (missing,) = one.missing
    assert missing.what.startswith("times of plugin.onnx on a device with TensorRT, which has their plugin: ")
    assert "hardnet-deploy kit " in missing.what
    assert missing.command is None  # for which board nothing here knows


def test_a_plugin_that_the_manifest_tells_of_is_not_to_be_timed_here(tmp_path: Path) -> None:
    artifact(tmp_path, "plugin.onnx", graph={"nms": "efficient"})
    documents = (parity("plugin.onnx"), parity("a.onnx"))
    timed = decision(tmp_path, *documents, bench([bench_row("plugin.onnx", 1.0), bench_row("a.onnx", 10.0)]))
    assert timed.chosen is not None
    assert timed.chosen.name == "a.onnx"
    assert timed.missing == ()
    artifact(tmp_path / "untimed", "plugin.onnx", graph={"nms": "efficient"})
    untimed = decision(tmp_path / "untimed", parity("plugin.onnx"))
    assert ["hardnet-deploy kit" in missing.what for missing in untimed.missing] == [True]


@pytest.mark.parametrize("threads", [1, 8])
def test_a_run_is_repeated_with_as_many_threads(threads: int, tmp_path: Path) -> None:
    run = bench([bench_row("a.onnx", 10.0, measured=measured(10.0, stable=False))])
    run["protocol"]["threads"] = threads
    (missing,) = decision(tmp_path, parity("a.onnx"), parity("b.onnx"), run).missing
    words = shlex.split(missing.command)
    assert words[words.index("--threads") + 1] == str(threads)
    assert {"a.onnx", "b.onnx"} <= set(words)


def test_what_a_device_cannot_tell_is_not_asked_of_it(tmp_path: Path) -> None:
    one = decision(
        tmp_path, device_results([device_row()]), parity("a.engine", candidate=side("a.engine", sha256="a" * 64))
    )
    told = [missing for missing in one.missing if "over PyTorch" in missing.what]
    assert len(told) == 1
    assert told[0].command is None
    assert "Engines on one device can be compared with each other" in told[0].what
    assert "needs Python 3.10 or newer (a Jetson Nano has 3.6)" in told[0].what


DOUBTS: dict[str, tuple[dict[str, Any], str]] = {
    "unstable": (
        bench([eager_row(measured=UNSTABLE), bench_row("a.onnx", 10.0)]),
        "PyTorch's own time did not settle",
    ),
    "throttled": (
        bench([bench_row("a.onnx", 10.0)], conditions={"throttled": True}),
        "the device throttled during the run",
    ),
    "unfinished": (bench([bench_row("a.onnx", 10.0)], finished=False), "the run was not finished"),
    "of another batch": (
        bench([eager_row(batch=8), bench_row("a.onnx", 10.0)]),
        "PyTorch has no row of its own in the run",
    ),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_a_gain_over_what_did_not_settle_is_marked_and_decides_nothing(case: str, tmp_path: Path) -> None:
    document, told = DOUBTS[case]
    one = decision(tmp_path, parity("a.onnx"), document)
    assert one.chosen is None
    assert one.paragraph.startswith("No recommendation: a.onnx passed against PyTorch ssd300-made-up, but ")
    assert f"the gain is in doubt: {told}" in one.paragraph
    assert "Run the bench again" in one.paragraph
    assert "4.00× (3.80 to 4.20), in doubt" in one.paragraph
    (missing,) = one.missing
    assert missing.command is not None
    assert "--save" in missing.command
    assert missing.what == f"another run of a.onnx beside PyTorch, as {told}"
    root = page(tmp_path)
    assert "! 4.00× (3.80 to 4.20), in doubt" in table(root, "The engines")["a.onnx"]
    assert "! 4.00× (3.80 to 4.20), in doubt" in table(root, "Times")["SSD300 made up, a.onnx"]
    assert told in root.one("timings").text
    assert "4.00× (3.80 to 4.20)" not in root.text.replace("4.00× (3.80 to 4.20), in doubt", "")


@pytest.mark.parametrize(
    ("gain", "told"),
    [
        ({"ratio": 1.1, "low": 0.9, "high": 1.3}, "the interval of the gain includes 1"),
        ({"ratio": 1.1, "low": None, "high": None}, "too few rounds"),
        ({"ratio": 1.0, "low": 0.99, "high": 1.01}, "no faster than PyTorch eager"),
    ],
)
def test_a_gain_that_is_not_established_recommends_nothing(
    gain: dict[str, float | None], told: str, tmp_path: Path
) -> None:
    one = decision(tmp_path, parity("a.onnx"), bench([bench_row("a.onnx", 10.0, gain_over_eager=gain)]))
    assert one.chosen is None
    assert told in one.paragraph
    assert told in why_not(one, "a.onnx")


@pytest.mark.parametrize("of_row", [{"nms": "numpy"}, {"boundary_text": BY_NUMPY}])
def test_pytorch_with_its_nms_by_numpy_is_called_so(of_row: dict[str, Any], tmp_path: Path) -> None:
    root = page(tmp_path, parity("a.onnx"), bench([eager_row(**of_row), bench_row("a.onnx", 10.0)]))
    words = "against PyTorch with NMS by NumPy"
    assert f"Gain {words}" in [one.text for one in root.one("decision").all("dt")]
    (lead,) = (one for one in root.all("p") if one.attributes.get("class") == "lead")
    assert f"4.00× as fast, {words} in the same run" in lead.text
    assert f"gain (95 %), {words}" in table(root, "The engines")["engine"]
    assert f"gain {words}" in table(root, "Times")["network, engine"]


def test_pytorch_with_another_nms_is_not(tmp_path: Path) -> None:
    root = page(tmp_path, parity("a.onnx"), bench([eager_row(nms="torchvision"), bench_row("a.onnx", 10.0)]))
    assert "NMS by NumPy" not in root.text
    assert "Gain against PyTorch eager" in root.one("decision").text


@pytest.mark.parametrize("apart", [{"batch": 8}, {"size": 512}])
def test_times_of_another_batch_or_size_are_not_compared(apart: dict[str, int], tmp_path: Path) -> None:
    """A run of eight images takes longer than one of one, and is not slower for that."""
    rows = [eager_row(), bench_row("a.onnx", 10.0)]
    rows += [eager_row(key="other", **apart), bench_row("b.onnx", 9.0, **apart), bench_row("c.onnx", 12.0, **apart)]
    found = decide(joined(tmp_path, *(parity(name) for name in ("a.onnx", "b.onnx", "c.onnx")), bench(rows)))
    chosen = {one.chosen.name: one for one in found if one.chosen}
    assert chosen.keys() == {"a.onnx", "b.onnx"}
    assert option(chosen["a.onnx"], "b.onnx").timing is None
    assert "batch 8" in chosen["b.onnx"].paragraph or "512×512" in chosen["b.onnx"].paragraph
    assert not any(missing.what.startswith("times of") for one in found for missing in one.missing)


def test_times_of_other_inputs_are_not_compared(tmp_path: Path) -> None:
    rows = [bench_row("a.onnx", 10.0), bench_row("b.onnx", 1.0, **RANDOM)]
    one = decision(tmp_path, parity("a.onnx"), parity("b.onnx"), bench(rows))
    assert one.chosen is not None
    assert one.chosen.name == "a.onnx"
    assert option(one, "b.onnx").timing is None


def test_power_modes_of_a_device_are_kept_apart(tmp_path: Path) -> None:
    rows = [
        device_row(id="1" * 64, sha256={"engine": "a" * 64}),
        device_row(id="2" * 64, sha256={"engine": "b" * 64}, power_mode="5W"),
    ]
    found = decide(joined(tmp_path, device_results(rows)))
    assert {one.where for one in found} == {"Made-up Nano, MAXN", "Made-up Nano, 5W"}
    assert [sum(option.timing is not None for option in one.options) for one in found] == [1, 1]


def test_a_device_row_in_two_documents_counts_once(tmp_path: Path) -> None:
    row = device_row(id="7" * 64)
    again = imported_row("n", 45.0, row["label"], key="imported/" + "7" * 64, artifact={"sha256": "a" * 64})
    one = decision(tmp_path, device_results([row]), bench([again]))
    assert len(option(one, one.options[0].name).verdict.engine.timings) == 1


@pytest.mark.parametrize("random", [False, True])
def test_what_was_fed_in_is_said_wherever_a_time_stands(random: bool, tmp_path: Path) -> None:
    fed = RANDOM["input"] if random else "16 images in turn (made-up:val, first 16 of 60 images)"
    changes: dict[str, Any] = RANDOM if random else {}
    root = page(tmp_path, parity("a.onnx"), bench([eager_row(**changes), bench_row("a.onnx", 10.0, **changes)]))
    (lead,) = (one for one in root.all("p") if one.attributes.get("class") == "lead")
    assert f"input: {fed}" in lead.text
    times = table(root, "Times")
    assert times["SSD300 made up, a.onnx"][times["network, engine"].index("input")] == fed
    captions = [one.text for one in root.all("caption")]
    assert any(text.startswith("The engines") and f"input: {fed}" in text for text in captions)


@pytest.mark.parametrize("unstable", [False, True])
def test_a_multiple_of_what_did_not_settle_is_marked_too(unstable: bool, tmp_path: Path) -> None:
    eager = eager_row(measured=measured(40.0, stable=not unstable))
    spread = {"ratio": 0.25, "low": 0.24, "high": 0.26}
    ratio = {"reference": eager["key"], "published": None, "measured": spread}
    root = page(tmp_path, bench([eager, bench_row("a.onnx", 10.0, ratio_to_reference=ratio)]))
    multiples = table(root, "Time as a multiple of SSD300 made up, eager's")
    assert multiples["SSD300 made up, a.onnx"][0] == ("! 0.250×, in doubt" if unstable else "0.250×")


def test_in_the_drawing_a_plugin_by_numpy_is_told_from_an_engine(tmp_path: Path) -> None:
    root = page(tmp_path, parity("p.onnx"), bench([eager_row(), bench_row("p.onnx", 57.0, nms="plugin-by-numpy")]))
    (drawing,) = (one for one in root.one("accuracy-latency").all("svg") if one.attributes.get("role") == "img")
    assert "p.onnx, its plugin by NumPy" in {text.text for text in drawing.all("text")}

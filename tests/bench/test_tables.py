"""Tables of a bench document: each figure with what it is of, and nothing that is not in the document."""

from __future__ import annotations

import csv
import io
from typing import Any

from made_up_bench import imported_row, made_up_document, made_up_row, missing_row

from hardnet_deploy.bench.tables import csv_table, markdown_table, text_table

UNSTABLE = {**made_up_row()["measured"], "stable": False}


def text(*rows: dict[str, Any], **changes: Any) -> str:
    return "\n".join(text_table(made_up_document(*rows, **changes)))


def test_a_row_has_published_and_measured_ratio_hash_and_origin() -> None:
    lines = text(made_up_row()).splitlines()
    assert lines[0] == "Protocol 1080ti-1024, 1024 x 1024, batch 1"
    (row,) = [line for line in lines if line.startswith("HarDNet68")]
    for cell in (
        "(untrained)",
        "eager",
        "22.50",
        "2.00",
        "0.73",
        "0.80 (0.75 to 0.86)",
        "0a0a0a0a0a0a",
        "measured here",
    ):
        assert cell in row
    assert any("published ratio (means)" in line and "ratio to ResNet-50 (means)" in line for line in lines)
    assert any(line.startswith("timed") and "input tensor to logits" in line for line in lines)


def test_the_lines_above_say_input_runs_and_where_the_published_times_are_of() -> None:
    told = text(made_up_row(), conditions={"load": "the machine was at work", "throttled": True})
    assert "4 of each row in 2 rounds (asked for: 300), budget 600 s" in told
    assert "GTX 1080 Ti, PyTorch 1.1.0, mean of 300 runs" in told
    assert "never compared" in told
    assert "a made-up definition: HarDNet68" in told
    assert "the machine was at work" in told
    assert "held back" in told


def test_boundaries_never_share_a_table() -> None:
    other = made_up_row(key="b", boundary="network+NMS", boundary_text="input tensor to detections")
    lines = text(made_up_row(), other).splitlines()
    timed = [place for place, line in enumerate(lines) if line.startswith("timed")]
    rows = [place for place, line in enumerate(lines) if line.startswith("HarDNet68")]
    assert timed[0] < rows[0] < timed[1] < rows[1]


def test_engines_that_count_something_else_in_are_named() -> None:
    rows = (made_up_row(), made_up_row(key="b", engine="ort-fp32", boundary_text="input tensor to boxes"))
    lines = text(*rows).splitlines()
    assert [line.strip() for line in lines if "input tensor to" in line] == [
        "eager: input tensor to logits",
        "ort-fp32: input tensor to boxes",
    ]
    same = made_up_row(key="b", title="SSD", boundary_text="input tensor to boxes")
    assert "HarDNet68 eager: input tensor to logits" in text(made_up_row(), same)


def test_what_cannot_be_timed_is_told_once_for_each_reason() -> None:
    told = text(made_up_row(), missing_row(), missing_row(key="hardnet68/trt-int8", engine="trt-int8"))
    assert "trt-fp16, trt-int8: not reproducible here (no TensorRT)" in told
    assert told.count("not reproducible here") == 1


def test_a_published_network_that_was_not_timed_at_all_keeps_its_published_row() -> None:
    told = text(missing_row(), missing_row(key="hardnet68/trt-int8", engine="trt-int8"))
    (row,) = [line for line in told.splitlines() if line.startswith("HarDNet68")]
    assert "22.50" in row
    assert "not reproducible here (no TensorRT)" in row


def test_unstable_and_interrupted_are_said() -> None:
    assert "35.4 HIGH UNSTABLE" in text(made_up_row(measured=UNSTABLE))
    assert "UNSTABLE" not in text(made_up_row())
    assert "interrupted after 2 rounds" in text(made_up_row(), finished=False)


def test_a_high_variation_is_marked_and_explained_once() -> None:
    told = text(made_up_row(), made_up_row(key="b"))
    assert told.count("35.4 HIGH") == 2
    assert told.count("vary by more than 2.5 %") == 1
    steady = {**made_up_row()["measured"], "cov_percent": 1.0, "cov_flagged": False}
    assert "HIGH" not in text(made_up_row(measured=steady))


def of_two(engine: str = "fused", **changes: Any) -> dict[str, Any]:
    gain = {"ratio": 2.5, "low": 2.4, "high": 2.6, "rounds": 4, "eager": "hardnet68/eager"}
    row = made_up_row(key=f"hardnet68/{engine}", engine=engine, ratio_to_reference=None, gain_over_eager=gain)
    return row | changes


def test_a_ratio_is_marked_where_one_of_its_rows_did_not_settle() -> None:
    eager = made_up_row(ratio_to_reference=None)
    unsettled = eager | {"measured": UNSTABLE}
    assert "2.50 (2.40 to 2.60) UNSTABLE" in text(unsettled, of_two())
    assert "2.50 (2.40 to 2.60) UNSTABLE" in text(eager, of_two(measured=UNSTABLE))
    assert "one of the two rows that it divides did not settle" in text(unsettled, of_two())
    assert "UNSTABLE" not in text(eager, of_two())
    reference = made_up_row(key="resnet50/eager", network="resnet50", measured=UNSTABLE, ratio_to_reference=None)
    assert "0.80 (0.75 to 0.86) UNSTABLE" in text(made_up_row(), reference)


def test_a_gain_over_an_nms_in_numpy_says_so() -> None:
    eager, fused = made_up_row(nms="numpy", ratio_to_reference=None), of_two(nms="in-graph")
    for told in (text(eager, fused), "\n".join(markdown_table(made_up_document(eager, fused)))):
        assert "2.50 (2.40 to 2.60), eager's NMS in NumPy" in told
        assert "gain over eager (medians)" in told
    assert "NumPy" not in text(eager | {"nms": "torchvision"}, fused)
    assert "NumPy" not in text(eager, fused | {"gain_over_eager": None})


def test_a_ratio_of_which_one_row_had_its_nms_in_numpy_says_so() -> None:
    reference = made_up_row(key="resnet50/eager", network="resnet50", nms="in-graph", ratio_to_reference=None)
    told = text(made_up_row(nms="plugin-by-numpy"), reference)
    assert "0.80 (0.75 to 0.86), one NMS in NumPy" in told
    assert "note: one NMS in NumPy: a reference in NumPy did it for one of the two rows" in told
    assert "NumPy" not in text(made_up_row(nms="in-graph"), reference)
    assert "NumPy" not in text(made_up_row(nms="numpy"), reference | {"nms": "plugin-by-numpy"})


def test_documents_of_before_have_no_marks_that_they_do_not_record() -> None:
    eager, fused = made_up_row(), of_two()
    for row in (eager, fused):
        row.pop("nms")
        row.pop("nms_candidates")
        row["measured"] = {name: value for name, value in UNSTABLE.items() if name != "cov_flagged"}
    eager["ratio_to_reference"].pop("statistic")
    fused["gain_over_eager"].pop("eager")
    told = text(eager, fused)
    assert "35.4 UNSTABLE" in told
    assert "2.50 (2.40 to 2.60) UNSTABLE" in told  # the eager row of the same work
    assert "ratio to ResNet-50 (medians)" in told
    assert csv_table(made_up_document(eager, fused))


def test_an_interval_that_is_not_there_is_said_to_be_missing() -> None:
    row = made_up_row(gain_over_eager={"ratio": 2.5, "low": None, "high": None, "rounds": 2})
    assert "2.50 (no interval)" in text(row)


def test_imported_rows_stand_in_a_table_of_their_own_with_their_label() -> None:
    lines = text(made_up_row(), imported_row()).splitlines()
    (row,) = [line for line in lines if "imported (Xavier, 2026-11-21)" in line]
    assert "0.80" not in row
    assert any("as the devices' reports say: GPU compute, NMS out" in line for line in lines)


def test_other_sizes_and_batches_have_columns() -> None:
    lines = text(made_up_row(), made_up_row(key="b", size=300, batch=4)).splitlines()
    assert lines[0] == "Protocol 1080ti-1024"
    assert any(line.split()[:3] == ["network", "size", "batch"] for line in lines)


def test_notes_name_their_rows() -> None:
    lines = text(made_up_row(notes=["for timing only"]), made_up_row(key="b")).splitlines()
    assert lines[-1] == "note: hardnet68/eager: for timing only"


def test_markdown_has_every_row_and_breaks_on_no_bar() -> None:
    rows = (made_up_row(title="a|b"), missing_row())
    lines = list(markdown_table(made_up_document(*rows)))
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(rows)
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "not reproducible here (no TensorRT)" in table[-1]


def test_csv_has_every_row_with_as_many_cells_as_names() -> None:
    rows = (made_up_row(notes=["a, b"]), missing_row(), imported_row())
    read = list(csv.DictReader(io.StringIO(csv_table(made_up_document(*rows)))))
    assert len(read) == 3
    assert all(None not in row and None not in row.values() for row in read)
    assert read[0]["ms_median"] == "2.0"
    assert (read[0]["ratio"], read[0]["ratio_low"], read[0]["ratio_high"]) == ("0.8", "0.75", "0.86")
    assert read[0]["notes"] == "a, b"
    assert (read[0]["ratio_statistic"], read[0]["cov_flagged"], read[0]["nms"]) == ("mean", "True", "")
    assert read[1]["ms_median"] == ""
    assert read[1]["published_ms"] == "22.5"
    assert read[2]["provenance"] == "imported (Xavier, 2026-11-21)"

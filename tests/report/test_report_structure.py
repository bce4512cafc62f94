"""The page as HTML: nothing from outside, nothing injected, structure that assistive technology can use."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from html_outline import Element, read_page
from made_up_runs import evaluation, parity, side
from made_up_times import bench, bench_row, device_results, device_row, everything, imported_row
from report_pages import html, page

SMALL = 250_000  # bytes of a page without pictures


@pytest.fixture(scope="module")
def full_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return html(everything(tmp_path_factory.mktemp("runs")))


@pytest.fixture(scope="module")
def full(full_text: str) -> Element:
    return read_page(full_text)


def test_nothing_comes_from_outside(full: Element, full_text: str) -> None:
    assert full.all("script", "iframe", "object", "embed", "base", "form", "audio", "video", "use") == []
    for element in full.walk():
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster", "style"):
            value = element.attributes.get(name, "")
            assert value == "" or (name in {"src", "href"} and value.startswith(("data:", "#"))), element.attributes
        assert not [name for name in element.attributes if name.startswith("on")]
    css = "".join(style.text for style in full.all("style"))
    assert "url(" not in css
    assert "@import" not in css
    (policy,) = (meta for meta in full.all("meta") if meta.attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.attributes["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert len(full_text.encode()) < SMALL


def test_structure(full: Element) -> None:
    (root,) = full.all("html")
    assert root.attributes["lang"] == "en"
    assert full.all("title")[0].text.startswith("Deploy int8.onnx")
    assert len(full.all("main")) == len(full.all("h1")) == 1
    levels = [int(element.name[1]) for element in full.walk() if re.fullmatch("h[1-6]", element.name)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    idents = [element.attributes["id"] for element in full.walk() if "id" in element.attributes]
    assert len(set(idents)) == len(idents)
    for element in full.walk():
        for name in ("aria-labelledby", "aria-describedby"):
            assert set(element.attributes.get(name, "").split()) <= set(idents)
        if element.attributes.get("href", "").startswith("#"):
            assert element.attributes["href"][1:] in idents


def test_tables_have_a_caption_heads_with_a_scope_and_rows_of_one_length(full: Element) -> None:
    assert len(full.all("table")) > 15
    for one in full.all("table"):
        assert one.all("caption")[0].text
        assert {head.attributes.get("scope") for head in one.all("th")} <= {"col", "row"}
        lengths = {len(row.all("th", "td")) for row in one.all("tr")}
        assert len(lengths) == 1
        assert all(cell.text for cell in one.all("th", "td"))


def test_drawings_have_a_name_and_say_what_they_show(full: Element) -> None:
    drawings = [one for one in full.all("svg") if one.attributes.get("role") == "img"]
    assert len(drawings) == 3  # accuracy against latency, ratios, roofline
    for one in drawings:
        assert one.all("desc")[0].text
        assert not re.search(r"\b(nan|inf)\b", one.text.lower() + str([mark.attributes for mark in one.walk()]).lower())
    others = [one for one in full.all("svg") if one not in drawings]
    assert {one.attributes.get("aria-hidden") for one in others} == {"true"}


def test_colour_is_never_all_that_tells(full: Element) -> None:
    for cell in full.all("td"):
        names = cell.attributes.get("class", "").split()
        for status in ("pass", "fail", "warn"):
            if status in names:
                assert len(cell.text) > 2, "a sign and a word"


NASTY = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&{{7*7}}.onnx"


def test_names_from_users_inject_nothing(tmp_path: Path) -> None:
    told: dict[str, Any] = {"title": NASTY, "engine": NASTY, "notes": [NASTY], "boundary_text": NASTY, "input": NASTY}
    documents = (
        parity(NASTY, notes=[NASTY], data={"name": NASTY, "digest": NASTY}),
        parity("b.onnx", drop=0.5, failures=[{"what": NASTY}], candidate=side("b.onnx", runner=NASTY, warning=NASTY)),
        evaluation(NASTY, warnings=[NASTY], per_class=[{"class_id": 1, "name": NASTY, "ap": 0.5, "objects": 3}]),
        bench(
            [bench_row(NASTY, 9.0, **told), imported_row("b.onnx", 9.0, f"imported ({NASTY})", **told)],
            command=[NASTY],
            machine=NASTY,
            conditions={NASTY: NASTY},
        ),
        device_results([device_row(device=NASTY, boundary=NASTY)]),
    )
    root = page(tmp_path, *documents)
    assert root.all("script") == []
    assert [one for one in root.walk() if "onerror" in one.attributes] == []
    assert "{{7*7}}" in root.text
    assert "49.onnx" not in root.text
    allowed = {
        "html",
        "head",
        "meta",
        "link",
        "title",
        "style",
        "body",
        "a",
        "header",
        "main",
        "footer",
        "section",
        "nav",
    }
    allowed |= {"p", "span", "strong", "code", "pre", "ul", "li", "dl", "dt", "dd", "div", "h1", "h2", "h3", "figure"}
    allowed |= {
        "figcaption",
        "img",
        "details",
        "summary",
        "table",
        "caption",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "svg",
    }
    allowed |= {"g", "path", "rect", "circle", "polyline", "text", "desc", ""}
    assert {one.name for one in root.walk()} <= allowed


def test_names_that_are_no_utf_8_can_be_written(tmp_path: Path) -> None:
    text = html(tmp_path, parity("caf\udce9.onnx"))
    assert "caf\\udce9.onnx" in text.encode("utf-8", "backslashreplace").decode()


def test_an_empty_page_says_for_each_part_which_command_makes_it(tmp_path: Path) -> None:
    root = page(tmp_path, {"kind": "calibration-table", "schema": 1})
    absent = [one for one in root.all("p") if one.attributes.get("class") == "absent"]
    commands = {one.all("code")[0].text.split()[1] for one in absent}
    assert commands >= {
        "bench",
        "parity",
        "evaluate",
        "sensitivity",
        "profile",
        "roofline",
        "export",
        "build-engine",
        "kit",
    }
    assert root.text.count("(not measured)") == 9


def test_the_same_runs_make_the_same_page(tmp_path: Path) -> None:
    everything(tmp_path)
    assert html(tmp_path) == html(tmp_path)

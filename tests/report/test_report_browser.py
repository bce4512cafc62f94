"""The page in a real browser: nothing fetched, nothing complained about, readable on a phone, in the dark, on paper."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, browser, needs_browser
from made_up_runs import DIGEST, artifact, evaluation, parity, save
from made_up_times import everything
from PIL import Image

from hardnet_deploy.files import sha256_file
from hardnet_deploy.workflows.report import ReportRequest, run_report

pytestmark = [needs_browser, pytest.mark.slow]

PHONE, TABLET, DESK = 390, 900, 1280
PAPER = 1032  # pixels between the margins of A4 across
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3: of text against what is behind it
LEAST_TARGET = 17  # pixels of the smallest thing to tap on a phone; links in lists have their line's height

# Every piece of text that can be seen, with its contrast against the nearest painted background.
CONTRASTS = """
(() => {
  const part = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = rgb => [.2126, .7152, .0722].reduce((sum, share, i) => sum + share * linear(rgb[i] / 255), 0);
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.getClientRects().length || ['desc', 'title'].includes(element.tagName)) continue;
    let behind = element, paint = part(getComputedStyle(element).backgroundColor);
    while (paint[3] === 0) {
      behind = behind.parentElement;
      paint = part(getComputedStyle(behind).backgroundColor);
    }
    const style = getComputedStyle(element), ink = part(element.closest('svg') ? style.fill : style.color);
    const [more, less] = [light(ink), light(paint)].sort((x, y) => y - x);
    found.push([(more + .05) / (less + .05), text.slice(0, 40), ink.join(), paint.join()]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of everything, with pictures and names that do not break into lines by themselves."""
    folder = everything(tmp_path_factory.mktemp("runs"))
    (folder / "worst").mkdir()
    for place in (1, 2):
        Image.new("RGB", (1600, 500), (200, 30 * place, 90)).save(folder / "worst" / f"worst-0{place}-scene.png")
    shown = [f"worst/worst-0{place}-scene.png" for place in (1, 2)]
    long_name = "a" * 90 + ".onnx"
    artifact(folder, long_name)
    drawn = [sha256_file(folder / name) for name in shown]
    save(folder / "long.parity.json", parity(long_name, pictures=shown, pictures_sha256=drawn))
    for number, name in enumerate((long_name, "float.onnx", "reckless.onnx")):
        save(folder / f"{number}.evaluation.json", evaluation(name))
    output = tmp_path_factory.mktemp("page") / "report.html"
    made = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)
    run_report(ReportRequest(runs=(folder,), output=output, made=made, command=("hardnet-deploy", "report")))
    return output


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("dark", [False, True])
def test_it_asks_for_nothing_and_the_console_stays_silent(tab: Browser, page: Path, width: int, *, dark: bool) -> None:
    tab.open(page, width=width, dark=dark)
    outside = [url for url in tab.requests if not url.startswith("data:")]
    assert outside == [page.resolve().as_uri()]
    assert tab.complaints == []


def test_on_a_phone_a_drawing_that_is_cut_says_that_it_scrolls_and_does(tab: Browser, page: Path) -> None:
    drawing = "document.querySelector('.plot .scroll')"
    hint = "getComputedStyle(document.querySelector('.plot figcaption'), '::after').content"
    tab.open(page, width=PHONE)
    tab.run(f"{drawing}.scrollLeft = 9999")
    assert tab.run(f"{drawing}.scrollLeft") > 0
    last = f"[...{drawing}.querySelectorAll('text')].map(e => e.getBoundingClientRect().right)"
    assert tab.run(f"Math.max(...{last}) <= {PHONE}")
    assert "Scrolls sideways" in tab.run(hint)
    tab.open(page, width=DESK)
    assert "Scrolls" not in tab.run(hint)


DECISION = "document.querySelector('.decision .scroll')"
IN_FULL = f"[...{DECISION}.querySelectorAll('th, td')].every(e => e.scrollWidth <= e.clientWidth + 1)"


@pytest.mark.parametrize("width", [TABLET, 1024, DESK, 1920])
def test_the_table_of_the_decision_is_all_there_with_its_reasons(tab: Browser, page: Path, width: int) -> None:
    tab.open(page, width=width)
    assert tab.run(f"{DECISION}.scrollWidth <= {DECISION}.clientWidth")
    assert tab.run(IN_FULL)
    last = f"[...{DECISION}.querySelectorAll('tr > :last-child')]"
    assert tab.run(f"{last}.every(e => e.getBoundingClientRect().right <= {DECISION}.getBoundingClientRect().right)")
    assert tab.run(f"Math.min(...{last}.map(e => e.getBoundingClientRect().width))") > 90
    broken = (
        f"[...{DECISION}.querySelectorAll('thead th, td.figure')].filter(cell => [...cell.childNodes].some(node => {{"
        "const range = document.createRange(); return [...(node.data || '').matchAll(/\\S+/g)].some(word => {"
        "range.setStart(node, word.index); range.setEnd(node, word.index + word[0].length);"
        "return range.getClientRects().length > 1; }); })).map(cell => cell.textContent)"
    )
    assert tab.run(broken) == []  # neither a figure nor a title is broken within a word
    hint = f"getComputedStyle({DECISION}.querySelector('caption span'), '::after').content"
    assert "Scrolls" not in tab.run(hint)


@pytest.mark.parametrize("width", [PHONE, 768, 890])
def test_where_the_table_of_the_decision_is_cut_it_says_that_it_scrolls(tab: Browser, page: Path, width: int) -> None:
    tab.open(page, width=width)
    assert tab.run(f"{DECISION}.scrollWidth > {DECISION}.clientWidth")
    assert "Scrolls sideways" in tab.run(
        f"getComputedStyle({DECISION}.querySelector('caption span'), '::after').content"
    )
    tab.run(f"{DECISION}.scrollLeft = 9999")
    assert tab.run(f"{DECISION}.scrollLeft") > 0


def test_on_a_phone_only_tables_and_drawings_scroll_sideways(tab: Browser, page: Path) -> None:
    tab.open(page, width=PHONE)
    assert tab.run("innerWidth") == PHONE
    assert tab.run("document.documentElement.scrollWidth") == PHONE
    wide = tab.run(
        "[...document.querySelectorAll('body *')].filter(e => !e.parentElement.closest('.scroll, svg') && "
        f"e.getBoundingClientRect().right > {PHONE}).map(e => e.outerHTML.slice(0, 99))"
    )
    assert wide == []
    assert tab.run("[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)")
    small = tab.run(
        "[...document.querySelectorAll('nav a, summary')].map(e => e.getBoundingClientRect().height)"
        f".filter(h => h < {LEAST_TARGET})"
    )
    assert small == []


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_no_bar_lies_below_a_figure(tab: Browser, page: Path, width: int) -> None:
    tab.open(page, width=width)
    tab.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    cells = "[...document.querySelectorAll('td.bars')]"
    assert tab.run(f"{cells}.length") > 10
    meet = (
        f"{cells}.filter(cell => {{ const text = document.createRange(); text.selectNodeContents(cell.lastChild);"
        "const [figure, bar, box] = [text, cell.querySelector('.bar'), cell].map(e => e.getBoundingClientRect());"
        "return figure.left < bar.right || figure.right > box.right; }).length"
    )
    assert tab.run(meet) == 0


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_what_is_behind_it(tab: Browser, page: Path, *, dark: bool) -> None:
    tab.open(page, width=DESK, dark=dark)
    tab.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    background = tab.run("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", background))) < 200 if dark else background == "rgb(255, 255, 255)"
    found: list[list[Any]] = tab.run(CONTRASTS)
    assert len(found) > 300
    assert [one for one in found if one[0] < LEAST_CONTRAST] == []


def test_what_scrolls_can_be_reached_and_scrolled_by_keyboard(tab: Browser, page: Path) -> None:
    tab.open(page, width=PHONE)
    tab.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    unreachable = tab.run(
        "[...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.tabIndex < 0 && "
        "['auto', 'scroll'].includes(getComputedStyle(e).overflowX)).map(e => e.outerHTML.slice(0, 99))"
    )
    assert unreachable == []
    tab.run("document.querySelector('.scroll').focus()")
    assert tab.run("document.activeElement.matches('.scroll')")
    assert tab.run("getComputedStyle(document.activeElement).overflowX") == "auto"
    for kind in ("keyDown", "keyUp"):
        tab.ask("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    moved = "new Promise(done => { const look = n => document.activeElement.scrollLeft > 0 || !n ? "
    moved += "done(document.activeElement.scrollLeft) : setTimeout(look, 50, n - 1); look(100); })"
    assert tab.run(moved) > 0


def test_what_a_screen_reader_is_told(tab: Browser, page: Path) -> None:
    tab.open(page, width=DESK)
    nodes = tab.ask("Accessibility.getFullAXTree")["nodes"]
    names: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            names.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    assert len(names["main"]) == 1
    assert names["navigation"] == ["On this page"]
    for role in ("image", "table"):
        assert len(names[role]) > 3
        assert all(names[role])
    assert names["heading"][0].startswith("Deploy int8.onnx")


def test_pictures_decode(tab: Browser, page: Path) -> None:
    tab.open(page, width=DESK)
    sizes = tab.run(
        "Promise.all([...document.images].map(i => i.decode().then(() => [i.naturalWidth, i.naturalHeight])))"
    )
    assert sizes == [[1100, 344]] * 2


def test_it_prints_light_with_everything_unfolded(tab: Browser, page: Path) -> None:
    tab.open(page, width=PAPER, dark=True, media="print")
    assert tab.run("document.documentElement.scrollWidth") <= PAPER
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.run("[...document.querySelectorAll('.scroll')].every(e => getComputedStyle(e).overflowY === 'visible')")
    folded = tab.run(
        "[...document.querySelectorAll('details:not([open]) td')].filter(e => !e.getBoundingClientRect().height).length"
    )
    assert folded == 0
    tab.ask("Emulation.setEmulatedMedia", media="", features=[])
    printed = base64.b64decode(tab.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert printed.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 3
    assert DIGEST[:12] in page.read_text()

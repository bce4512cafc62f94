"""The file that was compared: still the same, another one now, or not found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_up_runs import artifact, digest_of, parity, pytorch, save, side
from made_up_times import bench, bench_row
from report_pages import cautions, decision, joined, why_not

from hardnet_deploy.report.contradictions import contradictions, file_states
from hardnet_deploy.report.decision import decide

NOT_FOUND = "Not found, so that nothing says whether they are still the files that were compared"


def timed(name: str, *, sha256: str | None = None, **changes: Any) -> dict[str, Any]:
    row = bench_row(Path(name).name, 10.0, artifact={"file": name, "sha256": sha256 or digest_of(Path(name).name)})
    return bench([row], **changes)


def test_another_engine_in_the_place_of_the_compared_one_is_not_recommended(tmp_path: Path) -> None:
    """Though it came with its own manifest, which describes it truly."""
    artifact(tmp_path, "a.onnx")
    documents = (parity("a.onnx"), timed("a.onnx"))
    assert decision(tmp_path, *documents).chosen is not None
    artifact(tmp_path, "a.onnx", sha256=digest_of("b.onnx"))
    (tmp_path / "a.onnx").write_bytes(b"b.onnx")
    (one,) = (one for one in decide(joined(tmp_path, *documents)) if one.subject != "nothing")
    assert one.chosen is None
    told = [why for option in one.options for why in option.verdict.why_not]
    assert f"{tmp_path / 'a.onnx'} is another file now than the one that was compared" in told
    assert f"{tmp_path / 'a.onnx'} is another file now than" in cautions(tmp_path)


def test_a_file_without_a_manifest_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"a.onnx")
    documents = (parity("somewhere/a.onnx"), timed("somewhere/a.onnx"))
    assert decision(tmp_path, *documents).chosen is not None
    assert cautions(tmp_path) == ""
    (tmp_path / "a.onnx").write_bytes(b"another")
    assert "is another file now than the one that was compared" in why_not(decision(tmp_path, *documents), "a.onnx")


@pytest.mark.parametrize("whole", [True, False])
def test_a_file_is_looked_at_where_it_was_named(whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "a.onnx").write_bytes(b"another")
    name = str(tmp_path / "build" / "a.onnx") if whole else "build/a.onnx"
    one = decision(tmp_path / "runs", parity(name), timed(name))
    assert f"{name} is another file now" in why_not(one, "a.onnx")


def test_a_file_rebuilt_since_is_not_the_one_of_the_older_comparison(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"a.onnx")
    old = parity("a.onnx", candidate=side("a.onnx", sha256="f" * 64))
    runs = joined(tmp_path, old, parity("a.onnx"), timed("a.onnx", sha256="f" * 64), timed("a.onnx", date="2026-11-20"))
    assert {one.chosen.verdict.engine.sha256 for one in decide(runs) if one.chosen} == {digest_of("a.onnx")}


def test_two_builds_of_one_file_name_are_each_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of which one lies beside the documents of both."""
    monkeypatch.chdir(tmp_path)
    for folder, content in (("v1", b"a.onnx"), ("v2", b"second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.onnx").write_bytes(content)
    second = digest_of("second")
    documents = (
        parity("v1/a.onnx"),
        parity("v2/a.onnx", candidate=side("v2/a.onnx", sha256=second)),
        timed("v1/a.onnx"),
        timed("v2/a.onnx", sha256=second, date="2026-11-22T12:00:00+00:00"),
    )
    runs = joined(tmp_path / "v1", *documents)
    told = "\n".join(contradictions(runs, file_states(runs)))
    assert "another file now" not in told
    assert "was timed with" not in told
    assert all(one.chosen for one in decide(runs))


def test_a_file_that_is_not_there_is_a_caution_and_no_obstacle(tmp_path: Path) -> None:
    assert decision(tmp_path, parity("a.onnx"), timed("a.onnx")).chosen is not None
    assert f"{NOT_FOUND}: a.onnx (SHA-256 {digest_of('a.onnx')[:12]})." in cautions(tmp_path)


@pytest.mark.parametrize("label", ["a\0.onnx", "a" * 5000, "/dev/zero", "."])
def test_a_label_that_is_no_file_is_not_read(label: str, tmp_path: Path) -> None:
    assert NOT_FOUND in cautions(tmp_path, parity("x", candidate=side(label, sha256="f" * 64)))


def test_pytorch_has_no_file_of_its_own(tmp_path: Path) -> None:
    other = {**pytorch(engine="mine.pth", sha256="9" * 64, state_sha256="8" * 64), "precision": "fp32"}
    assert NOT_FOUND not in cautions(tmp_path, parity("x", candidate=other))


def test_an_engine_that_is_not_to_be_deployed_is_not_looked_for(tmp_path: Path) -> None:
    save(tmp_path / "p.json", parity("a.onnx", drop=0.5))
    assert NOT_FOUND not in cautions(tmp_path)

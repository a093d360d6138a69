"""Notebooks that leave: for other swarms, for people, for papers. And what comes in."""

import io
import json
from pathlib import Path

from hypothesis import given, settings

from notebook_store.bibliography import Work, to_bibtex
from notebook_store.entry import Attachment, Citation, Entry, Kind, Link, Relation
from notebook_store.exchange import Imported, read_jsonl, write_jsonl
from notebook_store.export import to_tsv
from notebook_store.notebook import Notebook
from notebook_store.page import to_html
from tests.fake_embedder import WordEmbedder
from tests.unit.test_notebook import PAGES, entry
from tests.unit.test_notebook_entry import entries
from tests.unit.test_notebook_export import ANALYSIS, HOSTILE, page


def exported(notebook: Notebook, **filters: object) -> bytes:
    text = io.StringIO()
    write_jsonl(notebook, text, **filters)  # type: ignore[arg-type]  # any filter
    return text.getvalue().encode()


def taken_in(notebook: Notebook, data: bytes) -> Imported:
    return read_jsonl(notebook, io.BytesIO(data))


def test_a_notebook_moves_to_another_home_whole_and_again_is_nothing(tmp_path: Path) -> None:
    with Notebook.open(tmp_path / "a", embedder=WordEmbedder()) as ours:
        ours.extend([*PAGES, ANALYSIS])
        data = exported(ours)
        with Notebook.open(tmp_path / "b", embedder=WordEmbedder()) as theirs:
            assert taken_in(theirs, data) == Imported(new=5, known=0, renamed=0, refused=())
            assert list(theirs.stream()) == [*PAGES, ANALYSIS]
            assert exported(theirs).splitlines()[1:] == data.splitlines()[1:]
            assert theirs.identity() != ours.identity()
            assert taken_in(theirs, data) == Imported(new=0, known=5, renamed=0, refused=())
            theirs.flush()
            assert theirs.search("orthogonalised updates")[0].entry.id == "muon"
            assert theirs.check().clean
        assert exported(ours, session="s2").count(b"\n") == 2


def test_a_session_of_the_same_name_is_another_session(tmp_path: Path) -> None:
    mine = [entry("s1-e001", "mine"), entry("s1-e002", links=(Link(kind=Relation.CITES, target="s1-e001"),))]
    other = [
        entry("s1-e001", "theirs", experiment="s1-e001"),
        entry("s1-e003", links=(Link(kind=Relation.CITES, target="s1-e001"),)),
        entry("claim-1", session="", links=(Link(kind=Relation.CITES, target="s1-e003"),)),
    ]
    with (
        Notebook.open(tmp_path / "a", embedder=WordEmbedder()) as ours,
        Notebook.open(tmp_path / "b", embedder=WordEmbedder()) as theirs,
    ):
        ours.extend(mine)
        theirs.extend(other)
        data = exported(theirs)
        mark = f"~{theirs.identity()[:6]}"
        assert taken_in(ours, data) == Imported(new=3, known=0, renamed=2, refused=())
        moved = ours.get(f"s1-e003{mark}")
        assert (moved.session, moved.links[0].target) == (f"s1{mark}", f"s1-e001{mark}")
        assert ours.get(f"s1-e001{mark}").experiment == f"s1-e001{mark}"
        assert ours.get("claim-1").links[0].target == f"s1-e003{mark}"
        assert ours.get("s1-e001").title == "mine"
        assert taken_in(ours, data) == Imported(new=0, known=3, renamed=2, refused=())


def test_broken_lines_are_told_and_the_rest_is_read(tmp_path: Path) -> None:
    good = json.dumps({"kind": "note", "title": "t", "body": "", "author": "a", "session": "", "task": "",
                       "created_at": 1.0, "id": "good"}).encode()  # fmt: skip
    lines = [b'{"notebook": "abc", "format": 1}', b"{broken", good, b"", b"[1]", b'{"id": "x"}', b"\xff\xfe",
             good.replace(b'"note"', b'"rumour"'), good.replace(b"good", b"fine")]  # fmt: skip
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        found = taken_in(notebook, b"\n".join(lines))
        assert (found.new, [number for number, _ in found.refused]) == (2, [2, 5, 6, 7, 8])
        reasons = " / ".join(reason for _, reason in found.refused)
        for words in ("no JSON", "an entry is a JSON object", "an entry needs title", "no kind 'rumour'"):
            assert words in reasons
        newer = taken_in(notebook, b'{"notebook": "abc", "format": 9}\n' + good.replace(b"good", b"late"))
        assert newer.refused == ((1, "format 9, this program knows 1; update the program"),)
        assert notebook.count() == 2


def test_the_page_stands_alone_and_its_links_lead_both_ways() -> None:
    hypothesis = page(
        "e1-hypothesis", kind=Kind.HYPOTHESIS, body="| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nx = 1\n```"
    )
    text = to_html([hypothesis, ANALYSIS], title="Session <s>")
    assert "<title>Session &lt;s&gt;</title>" in text
    assert "default-src 'none'" in text
    assert text.count("<article") == 2
    assert 'supports <a href="#e0">Title of e1-hypothesis</a>' in text
    assert 'supports by <a href="#e1">Title of e1-insight</a>' in text
    assert "<td>1</td>" in text
    assert '<span class="n">x</span>' in text
    assert text.count("data:image/png;base64,") == 2
    assert "attached: run.log (5 bytes)" in text
    assert "“adaptive estimates”" in text
    outside = [
        part for part in text.replace("https://", "http://").split("http://")[1:] if not part.startswith("www.w3")
    ]
    assert outside == []


def test_hostile_text_is_text_on_the_page() -> None:
    bad = page("bad", title="<script>alert(1)</script>", body=HOSTILE, author='"><img src=x>',
               data={"<b>": "<script>", "cells": [{"source": "</pre><script>", "outputs": [{"text": "<script>"}]}]},
               attachments=(Attachment(name='"><script>.png', media_type="image/png", data=b"1"),
                            Attachment(name="x.svg", media_type="image/svg+xml", data=b"<svg/>")))  # fmt: skip
    text = to_html([bad], title="T")
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "http://evil.example/p.png" not in text or 'src="http' not in text
    assert 'href="javascript' not in text.lower()
    assert "svg+xml" not in text


@settings(max_examples=30, deadline=None)
@given(entry=entries)
def test_any_entry_has_its_place_on_the_page(entry: Entry) -> None:
    assert to_html([entry], title="T").count("<article") == 1


def test_bibtex_has_each_source_once_and_is_read_back() -> None:
    import bibtexparser

    citing = [
        page("a", citations=(Citation(source="arXiv:1412.6980", title="Adam: a {Method} & 100%"),)),
        page("b", citations=(Citation(source="arXiv:1412.6980", title="Adam"),
                             Citation(source="doi:10.1/x", title="Adam again"),
                             Citation(source="title:lost", title="Lost & found"))),
    ]  # fmt: skip
    works = {
        "arXiv:1412.6980": Work(authors=("Diederik P. Kingma", "Jimmy Ba"), year=2014, arxiv_id="1412.6980"),
        "doi:10.1/x": Work(authors=("Diederik P. Kingma",), year=2014, doi="10.1/x"),
    }
    text = to_bibtex(citing, lambda source: works.get(source, Work()))
    library = bibtexparser.parse_string(text)
    assert not library.failed_blocks
    first, second, third = library.entries
    assert (first.key, second.key, third.key) == ("kingma2014adam", "kingma2014adam2", "lost")
    assert first["eprint"] == "1412.6980"
    assert first["author"] == "Diederik P. Kingma and Jimmy Ba"
    assert first["title"] == r"{Adam: a \{Method\} \& 100\%}"
    assert (second.entry_type, second["doi"]) == ("article", "10.1/x")
    assert third["note"] == "title:lost"


def test_the_score_stands_in_for_a_metric_of_another_name() -> None:
    rows = to_tsv([page("a", data={"commit": "a1b2c3d", "score": 2.5, "loss": 2.5, "status": "keep"})]).splitlines()
    assert rows[1].split("\t")[1] == "2.500000"

"""Exports: complete, valid, and inert whatever an entry says."""

import base64
import csv
import io
import json

import nbformat
import pytest
from hypothesis import given, settings

from notebook_store.entry import Attachment, Citation, Entry, Kind, Link, Relation
from notebook_store.export import to_ipynb, to_markdown, to_tsv
from tests.unit.test_notebook_entry import entries

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
HOSTILE = """<script>alert(1)</script> <img src=x onerror=alert(1)>
![pixel](http://evil.example/p.png) [go](javascript:alert(1)) [go](java&#115;cript:alert(1)) [go](JavaScript\\:alert(1))
[go](data:text/html,x) 1 < 2 && a <- b
```
never closed
"""


def page(name: str, **more: object) -> Entry:
    facts: dict[str, object] = {
        "kind": Kind.RESULT,
        "title": f"Title of {name}",
        "body": "",
        "author": "analyst",
        "session": "s",
        "task": "tinytext",
        "created_at": 1_700_000_000.0,
    }
    return Entry(id=name, **(facts | more))  # type: ignore[arg-type]  # one dict of all kinds


ANALYSIS = page(
    "e1-insight",
    kind=Kind.INSIGHT,
    body="Muon helps.",
    experiment="e1",
    factors=("MUON_LR",),
    links=(Link(kind=Relation.SUPPORTS, target="e1-hypothesis"),),
    citations=(Citation(source="arxiv:1412.6980", title="Adam", quote="adaptive estimates", page=1),),
    data={
        "n": 12,
        "cells": [
            {
                "source": "print(1)",
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": ["1\n", "2\n"]},
                    {
                        "output_type": "display_data",
                        "data": {"image/png": base64.b64encode(PNG).decode(), "text/html": "<script>x</script>"},
                        "metadata": {},
                    },
                    {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []},
                    "no output at all",
                ],
            },
            {"source": None},
        ],
    },
    attachments=(
        Attachment(name="same.png", media_type="image/png", data=PNG),
        Attachment(name="other.png", media_type="image/png", data=PNG + b"x"),
        Attachment(name="run.log", media_type="text/plain", data=b"12345"),
    ),
)


def test_a_notebook_has_the_text_the_code_its_outputs_and_the_figures() -> None:
    text = to_ipynb([ANALYSIS], title="Session s")
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    title, words, code, below = book.cells
    assert title.source == "# Session s"
    assert words.source.startswith(
        "## Title of e1-insight\n\n**insight** by analyst · 2023-11-14 22:13 UTC · experiment e1"
    )
    assert words.source.endswith("Muon helps.")
    assert code.source == "print(1)"
    assert [output.output_type for output in code.outputs] == ["stream", "display_data", "stream", "stream"]
    assert code.outputs[0].text == "1\n2\n"
    assert dict(code.outputs[1].data) == {"image/png": base64.b64encode(PNG).decode()}
    assert code.outputs[2].text == "ValueError: no\n"
    assert "- supports e1-hypothesis" in below.source
    assert "- cites Adam (arxiv:1412.6980, p. 1): “adaptive estimates”" in below.source
    assert "- n: 12" in below.source
    assert "cells" not in below.source
    assert "- attached: run.log (5 bytes)" in below.source
    # The figure that a cell shows already is not shown twice.
    assert below.attachments == {"figure0.png": {"image/png": base64.b64encode(PNG + b"x").decode()}}
    assert "![other.png](attachment:figure0.png)" in below.source
    assert to_ipynb([ANALYSIS], title="Session s") == text


@pytest.mark.parametrize("field", ["title", "body", "author"])
def test_hostile_text_is_inert(field: str) -> None:
    hostile = page(
        "bad", links=(Link(kind=Relation.CITES, target=HOSTILE),), data={HOSTILE: HOSTILE}, **{field: HOSTILE}
    )
    sources = [cell["source"] for cell in json.loads(to_ipynb([hostile], title=HOSTILE))["cells"]]
    joined = "".join("".join(source) for source in sources)
    for text in (joined, to_markdown([hostile], title=HOSTILE)):
        assert "<script" not in text
        assert "<img" not in text
        assert "javascript:" not in text.lower()
        assert "javascript\\:" not in text.lower()
        assert "&#115;" not in text.replace("&amp;#115;", "")
        assert "data:text" not in text
        assert "\\![pixel]" in text
        assert "1 < 2 && a <- b" in text


def test_an_open_fence_ends_with_its_entry() -> None:
    document = to_markdown([page("bad", body=HOSTILE), page("good", body="Fine.")], title="T")
    before, _, after = document.partition("## Title of good")
    # Inside a quotation; the line after it is none, which closes it.
    assert "\n> ```\n> never closed\n\n" in before
    assert "\n> Fine.\n" in after


def test_code_in_markdown_gets_a_fence_longer_than_its_own() -> None:
    cells = [{"source": "print('````')", "outputs": [{"output_type": "stream", "text": "out"}]}]
    document = to_markdown([page("a", data={"cells": cells})], title="T")
    assert "`````python\nprint('````')\n`````\n\n```text\nout\n```" in document


@settings(max_examples=40, deadline=None)
@given(entry=entries)
def test_any_entry_can_be_exported(entry: Entry) -> None:
    nbformat.validate(nbformat.reads(to_ipynb([entry], title="T"), as_version=4))
    assert to_markdown([entry], title="T").startswith("# T\n\n## ")
    assert to_tsv([entry]).startswith("commit\t")


def test_results_tsv_is_autoresearchs() -> None:
    text = to_tsv(
        [
            page(
                "a",
                title="baseline",
                data={"commit": "a1b2c3d4e5f6", "val_bpb": 0.9979, "memory_gb": 44.04, "status": "keep"},
            ),
            page(
                "b",
                title='switch\tto "GeLU"\nactivation',
                data={"commit": "c3d4e5f", "val_bpb": 1.005, "status": "discard"},
            ),
            page("c", title="double width", data={"commit": "d4e5f6g", "val_bpb": None, "status": "crash"}),
            page("d", title="no status", data={"commit": "d4e5f6g", "val_bpb": 1.0}),
            page("e", title="no result", kind=Kind.NOTE, data={"status": "keep"}),
        ]
    )
    assert text == (
        "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
        "a1b2c3d\t0.997900\t44.0\tkeep\tbaseline\n"
        "c3d4e5f\t1.005000\t\tdiscard\tswitch to 'GeLU' activation\n"
        "d4e5f6g\t0.000000\t0.0\tcrash\tdouble width\n"
    )
    assert {len(row) for row in csv.reader(io.StringIO(text), delimiter="\t")} == {5}

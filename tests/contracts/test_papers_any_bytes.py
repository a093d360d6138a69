"""What every format promises: papers or reasons come out of any bytes whatever, and never an exception."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from papers import formats
from papers.formats import FORMATS
from papers.record import Record, Refusal
from tests.paper_files import WARMUP_PDF

GOOD = {
    "pdf": WARMUP_PDF,
    "jsonl": b'{"id": 1, "title": "A title", "abstract": "Text."}\n',
    "bibtex": b"@misc{a, title={A title}, abstract={Text.}}\n",
    "json_document": b'[{"id": 1, "title": "A title", "abstract": "Text."}]\n',
    "ris": b"TY  - JOUR\nTI  - A title\nAB  - Text.\nER  - \n",
    "table": b"title,abstract\nA title,Text.\n",
    "atom": b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><title>A title</title></entry></feed>\n',
    "text": b"# A title\n\nText.\n",
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "id",
    "_id",
    "title",
    "display_name",
    "abstract",
    "abstract_inverted_index",
    "text",
    "tldr",
    "authors",
    "authors_parsed",
    "authorships",
    "year",
    "versions",
    "update_date",
    "doi",
    "url",
    "externalids",
    "ids",
    "arxiv_id",
    "corpusid",
]


def check(path: Path, content: bytes) -> list[Record | Refusal]:
    path.write_bytes(content)
    found = list(formats.read(path))
    for item in found:
        if isinstance(item, Record):
            assert item.title.strip() == item.title != ""
        else:
            assert item.reason and "\n" not in item.reason
    return found


@pytest.mark.parametrize("name", GOOD)
def test_each_format_is_told_by_its_content_and_by_one_reader(name: str, tmp_path: Path) -> None:
    first = next(reader for reader in FORMATS if reader.matches(GOOD[name]))
    assert first.__name__ == f"papers.formats.{name}"  # type: ignore[attr-defined]  # the readers are modules
    (found,) = check(tmp_path / "a", GOOD[name])
    assert isinstance(found, Record)


@pytest.mark.parametrize("name", GOOD)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_raises(name: str, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(GOOD[name])
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    check(tmp_path / "a", bytes(content[:cut]))
    check(tmp_path / "a", gzip.compress(bytes(content))[: max(0, cut)])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(item=st.dictionaries(st.sampled_from(KEYS), json_values))
def test_any_json_in_any_field_never_raises(tmp_path: Path, item: dict[str, object]) -> None:
    check(tmp_path / "a.jsonl", json.dumps(item).encode() + b"\n")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=st.text(min_size=1), abstract=st.text())
def test_any_text_in_bibtex_never_raises(tmp_path: Path, title: str, abstract: str) -> None:
    entry = f"@misc{{a, title={{{title}}}, abstract={{{abstract}}}}}"
    check(tmp_path / "a.bib", entry.encode("utf-8", "replace"))

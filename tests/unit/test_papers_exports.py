"""Papers as reference managers, publishers and APIs export them: RIS, CSV, Atom, and JSON that is no JSON lines."""

import gzip
import json
from pathlib import Path

import pytest

from papers import formats
from papers.formats.source import LINE_BYTES
from papers.record import Record, Refusal


def read(path: Path, content: bytes | str) -> list[Record | Refusal]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(formats.read(path))


def record(path: Path, content: bytes | str) -> Record:
    (found,) = read(path, content)
    assert isinstance(found, Record), found
    return found


def reasons(found: list[Record | Refusal]) -> list[str]:
    return [f"{item.where.rpartition('/')[2]}: {item.reason}" for item in found if isinstance(item, Refusal)]


def titles(found: list[Record | Refusal]) -> list[str]:
    return [item.title for item in found if isinstance(item, Record)]


# ---------------------------------------------------------------- RIS

RIS = """\ufeffTY  - JOUR
AU  - Roe, Ina
AU  - Doe, Al
TI  - On Warmup in Models
PY  - 2018/04/02
DO  - 10.1000/ABC
UR  - https://arxiv.org/abs/1804.00001v2
KW  - warmup
KW  - optimisation
AB  - We warm up.
 It helps a lot.
ER  -

TY  - CONF
T1  - Second paper
N2  - Its abstract.
Y1  - 2020
ER  -
"""


def test_ris(tmp_path: Path) -> None:
    first, second = read(tmp_path / "export.txt", RIS)
    assert isinstance(first, Record) and isinstance(second, Record)
    assert (first.title, first.authors, first.year) == ("On Warmup in Models", ("Ina Roe", "Al Doe"), 2018)
    assert (first.doi, first.arxiv_id) == ("10.1000/abc", "1804.00001")
    assert first.keywords == ("warmup", "optimisation")
    assert first.pages[0].text == "We warm up. It helps a lot."
    assert (second.title, second.pages[0].text, second.year) == ("Second paper", "Its abstract.", 2020)


def test_ris_with_faults_keeps_the_rest(tmp_path: Path) -> None:
    broken = "TY  - JOUR\nAB  - No title.\nER  - \nTY  - JOUR\nTI  - No end\nTY  - JOUR\nTI  - Good\nER  - \n"
    cut = "TY  - JOUR\nTI  - Cut of"
    found = read(
        tmp_path / "a.ris", broken.encode() + b"TY  - JOUR\nTI  - Caf\xe9\nTI  - Cafe\nER  - \n" + cut.encode()
    )
    assert titles(found) == ["Good", "Cafe"]
    assert reasons(found) == [
        "a.ris line 1: the record has no title (TI or T1)",
        "a.ris line 4: the record has no end (`ER  - `); it may be cut off",
        "a.ris line 10: not UTF-8 at byte 9 of the line; the line is left out",
        "a.ris line 13: the record has no end (`ER  - `); it may be cut off",
    ]


# ---------------------------------------------------------------- tables

TABLES = {
    "Zotero": 'Key,Type,Publication Year,Author,Title,DOI,Url,Abstract Note\nK1,article,2018,"Roe, Ina; Doe, '
    'Al",On Warmup,10.1000/ABC,https://arxiv.org/abs/1804.00001,"We warm up,\nand down."\n',
    "semicolons": "Titel;title;abstract;authors;date;doi;link\nx;On Warmup;We warm up,\\nand down.;Ina Roe and Al Doe;"
    "12/04/2018;10.1000/ABC;https://arxiv.org/abs/1804.00001\n",
    "tabs": "title\tsummary\tauthors\tyear\tdoi\turl\nOn Warmup\tWe warm up, and down.\t['Ina Roe', 'Al Doe']\t2018\t"
    "https://doi.org/10.1000/abc\tarxiv.org/abs/1804.00001\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_papers(name: str, tmp_path: Path) -> None:
    found = record(tmp_path / "a", TABLES[name])
    assert (found.title, found.authors, found.year) == ("On Warmup", ("Ina Roe", "Al Doe"), 2018)
    assert (found.doi, found.arxiv_id) == ("10.1000/abc", "1804.00001")
    assert found.pages[0].text.startswith("We warm up,")
    assert titles(read(tmp_path / "a.csv.gz", gzip.compress(TABLES[name].encode()))) == ["On Warmup"]


def test_a_table_with_faults_keeps_the_rest(tmp_path: Path) -> None:
    rows = [b"title,abstract", b"Good,Text", b",No title", b"Too,many,cells", b"Caf\xe9,x", b"Also good,Text", b""]
    rows += [b'Big,"' + b"x" * LINE_BYTES + b'"', b"Last,Text", b'Open,"never closed', b"Swallowed,Text"]
    found = read(tmp_path / "a.csv", b"\n".join(rows))
    assert titles(found) == ["Good", "Also good", "Last"]
    assert reasons(found) == [
        "a.csv line 3: the row has no title",
        "a.csv line 4: has 3 cells, the header 2; quote cells with delimiters",
        "a.csv line 5: not UTF-8 at byte 3 of the line; the line is left out",
        "a.csv line 8: longer than 8 MB; the line is left out",
        "a.csv line 9: not CSV: unexpected end of data",
    ]


def test_prose_about_titles_is_no_table(tmp_path: Path) -> None:
    found = record(tmp_path / "a.txt", "Title, or what is in a name\n\nSome thoughts.\n")
    assert found.title == "Title, or what is in a name"


# ---------------------------------------------------------------- Atom

ATOM = """<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom" xmlns:arxiv="http://arxiv.org/schemas/atom">
  <title>ArXiv Query</title>
  <entry><id>http://arxiv.org/abs/1804.00001v2</id><published>2018-04-02T00:00:00Z</published>
    <title>On Warmup
      in Models</title><summary> We warm up &amp; down. </summary>
    <author><name>Ina Roe</name></author><author><name>Al Doe</name></author>
    <arxiv:doi>10.1000/ABC</arxiv:doi><category term="cs.LG"/></entry>
  <entry><id>http://arxiv.org/abs/1804.00002v1</id><title>Second</title><summary>More.</summary></entry>
</feed>"""


def test_atom(tmp_path: Path) -> None:
    first, second = read(tmp_path / "query", ATOM)
    assert isinstance(first, Record) and isinstance(second, Record)
    assert (first.title, first.authors, first.year) == ("On Warmup in Models", ("Ina Roe", "Al Doe"), 2018)
    assert (first.doi, first.arxiv_id, first.keywords) == ("10.1000/abc", "1804.00001", ("cs.LG",))
    assert first.pages[0].text == "We warm up & down."
    assert second.arxiv_id == "1804.00002"


def test_atom_that_is_cut_off_or_too_long_or_a_bomb(tmp_path: Path) -> None:
    cut = read(tmp_path / "cut.xml", ATOM[: ATOM.index("Second")])
    assert titles(cut) == ["On Warmup in Models"]
    assert "not XML" in reasons(cut)[0] and "what follows entry 1 is not read" in reasons(cut)[0]
    long = read(tmp_path / "long.xml", ATOM.replace("More.", "x" * (LINE_BYTES + 600_000)))
    assert reasons(long) == ["long.xml: entry 2 is longer than 8 MB"]
    bomb = '<!DOCTYPE f [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    assert "DOCTYPE" in reasons(read(tmp_path / "bomb.xml", ATOM.replace("<feed", bomb + "<feed", 1)))[0]


# ---------------------------------------------------------------- JSON

NOTE = {
    "id": "a1",
    "forum": "f1",
    "cdate": 1_522_627_200_000,
    "content": {
        "title": {"value": "On Warmup"},
        "abstract": {"value": "We warm up."},
        "authors": {"value": ["Ina Roe"]},
        "keywords": {"value": ["warmup"]},
    },
}
DOCUMENTS = {
    "array": [{"title": "On Warmup", "abstract": "We warm up."}, {"title": "Second"}],
    "Semantic Scholar's answer": {"total": 2, "data": [{"paperId": "x", "title": "On Warmup"}, {"title": "Second"}]},
    "OpenAlex's answer": {"meta": {"count": 2}, "results": [{"display_name": "On Warmup"}, {"title": "Second"}]},
    "OpenReview's answer": {"notes": [NOTE, {"content": {"title": "Second"}}], "count": 2},
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_json_documents_on_one_line_and_on_many(name: str, indent: int | None, tmp_path: Path) -> None:
    found = read(tmp_path / "answer.json", json.dumps(DOCUMENTS[name], indent=indent))
    assert titles(found) == ["On Warmup", "Second"]


def test_an_openreview_note_has_its_year_and_place(tmp_path: Path) -> None:
    found = record(tmp_path / "notes.jsonl", json.dumps(NOTE))
    assert (found.year, found.url) == (2018, "https://openreview.net/forum?id=f1")
    assert (found.authors, found.keywords, found.source_id) == (("Ina Roe",), ("warmup",), "a1")
    assert found.pages[0].text == "We warm up."


def test_an_array_with_faults_says_where(tmp_path: Path) -> None:
    found = read(tmp_path / "a.json", '[{"title": "One"}, {"abstract": "x"}, {"title": "Three"}, {"title": "Cut')
    assert titles(found) == ["One", "Three"]
    assert reasons(found) == [
        "a.json item 2: not a paper: no field `title`",
        "a.json: item 4 of the array is broken or cut off; what follows is not read",
    ]
    huge = read(tmp_path / "b.json", '[{"title": "One"}, {"title": "' + "x" * (2 * LINE_BYTES) + '"}]')
    assert titles(huge) == ["One"]
    assert reasons(huge) == ["b.json: item 2 is longer than 8 MB"]


def test_one_paper_over_many_lines(tmp_path: Path) -> None:
    assert record(tmp_path / "a.json", json.dumps({"title": "On Warmup", "year": 2018}, indent=4)).year == 2018


def test_beir_without_titles_is_found_by_its_opening(tmp_path: Path) -> None:
    found = record(tmp_path / "corpus.jsonl", '{"_id": "7", "title": "", "text": "Large batches need care."}')
    assert (found.title, found.source_id) == ("Large batches need care.", "7")


# ---------------------------------------------------------------- notes


def test_front_matter_and_a_cited_bibtex_block(tmp_path: Path) -> None:
    note = """---
title: "Warmup, in short"
authors: [Ina Roe, Al Doe]
date: 2018-04-02
arxiv: 1804.00001
tags: [warmup]
---
Longer is safer.

@misc{x, title={Not this}}
"""
    found = record(tmp_path / "note.md", note)
    assert (found.title, found.authors, found.year) == ("Warmup, in short", ("Ina Roe", "Al Doe"), 2018)
    assert (found.arxiv_id, found.keywords) == ("1804.00001", ("warmup",))
    assert found.pages[0].text.startswith("Longer is safer.")


def test_one_bibtex_entry_in_another_encoding_costs_only_itself(tmp_path: Path) -> None:
    entries = b"@misc{a, title={Caf\xe9}}\n@misc{b, title={Good}, keywords={warmup; batch size}}\n"
    found = read(tmp_path / "refs.bib", entries)
    assert titles(found) == ["Good"]
    assert reasons(found) == ["refs.bib line 1: entry `a` is not UTF-8; convert the file with `iconv`"]
    assert isinstance(found[1], Record) and found[1].keywords == ("warmup", "batch size")

"""BibTeX and BibLaTeX files, by bibtexparser: a bad entry is refused and the rest is read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

from papers.formats.source import Source
from papers.record import Page, Record, Refusal, natural_name, one_line, parse_arxiv_id, parse_doi, parse_year

_ENTRY = re.compile(rb"^\s*@\s*[A-Za-z]+\s*[{(]", re.MULTILINE)
_BARE = re.compile(r"(?<!\\)([%&#])")


def matches(head: bytes) -> bool:
    # Markdown that cites itself by a BibTeX block opens with a heading or with front matter.
    prose = head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"#", b"---"))
    return _ENTRY.search(head) is not None and b"\x00" not in head and not prose


def read(source: Source) -> Iterator[Record | Refusal]:
    from bibtexparser.entrypoint import parse_string
    from bibtexparser.model import DuplicateBlockKeyBlock, Entry, ParsingFailedBlock
    from pylatexenc.latex2text import LatexNodes2Text  # type: ignore[import-untyped]  # it ships no types

    # It would print each fault, which is reported here.
    logging.getLogger("bibtexparser").addHandler(logging.NullHandler())
    # BibTeX gives "%" and "&" no meaning, but LaTeX would drop them, and after "%" the rest of the line.
    decoder = LatexNodes2Text(math_mode="verbatim", keep_braced_groups=False)
    library = parse_string(source.text(errors="replace"))
    for block in library.blocks:
        where = f"{source.path} line {(block.start_line or 0) + 1}"
        entry = block.ignore_error_block if isinstance(block, DuplicateBlockKeyBlock) else block
        if isinstance(entry, Entry):
            yield _record(entry, decoder, where)
        elif isinstance(entry, ParsingFailedBlock):
            why = getattr(entry.error, "abort_reason", "") or str(entry.error)
            yield Refusal(where=where, reason=f"not a BibTeX entry: {one_line(why)}")


def _record(entry: Any, decoder: Any, where: str) -> Record | Refusal:
    fields = {field.key.lower(): str(field.value) for field in entry.fields}

    def plain(key: str) -> str:
        return one_line(decoder.latex_to_text(_BARE.sub(r"\\\1", fields.get(key, ""))))

    title = plain("title")
    if "\ufffd" in "".join(fields.values()):
        return Refusal(where=where, reason=f"entry `{entry.key}` is not UTF-8; convert the file with `iconv`")
    if not title:
        return Refusal(where=where, reason=f"entry `{entry.key}` has no title")
    link = fields.get("url", "")
    eprint = fields.get("eprint", "") if "arxiv" in fields.get("archiveprefix", "arxiv").lower() else ""
    arxiv = " ".join(fields.get(key, "") for key in ("journal", "doi", "url", "note", "howpublished"))
    abstract = plain("abstract") or plain("annote") or plain("annotation")
    return Record(
        title=title,
        pages=(Page(number=None, text=abstract),) if abstract else (),
        authors=tuple(natural_name(name) for name in plain("author").split(" and ") if name.strip()),
        year=parse_year(fields.get("year", "")) or parse_year(fields.get("date", "")),
        doi=parse_doi(fields.get("doi")) or parse_doi(link if "doi.org" in link else ""),
        arxiv_id=parse_arxiv_id(eprint) or (parse_arxiv_id(arxiv) if "arxiv" in arxiv.lower() else None),
        url=link or None,
        keywords=tuple(word for word in map(str.strip, re.split("[;,]", plain("keywords"))) if word),
    )

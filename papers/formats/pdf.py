"""PDF files, by pypdfium2, read in a process of their own: a hostile file can crash or stall that one alone.

`python -m papers.formats.pdf` is that process: a path per line comes in, a JSON object per line goes out.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from papers.formats.sections import Sections
from papers.formats.source import Source, UnreadableError
from papers.record import Page, Record, Refusal, one_line, parse_arxiv_id, parse_doi

FILE_BYTES = 256 * 1024 * 1024  # larger ones are scans or collections
MOST_PAGES = 1500  # a thesis has 300; beyond are proceedings, which are many papers
MOST_CHARS = 10_000_000  # of text in one file
SECONDS = 60.0  # for one file; 2-7 ms a page are usual
_MEMORY_BYTES = 4 * 1024**3  # address space of the reading process, where the system can limit it
_TAIL_BYTES = 64 * 1024  # at the end of a file, where its end mark is sought; some bytes may follow it
_TITLE_SCAN = 4000  # characters of page one among which the title is sought
_STAMP = re.compile(r"arXiv:\s*(\S+)\s+\[[\w.-]+\]")  # printed along the margin of page one by arXiv itself
_PASSWORD_ERROR, _FORMAT_ERROR = 4, 3  # FPDF_ERR_PASSWORD, FPDF_ERR_FORMAT of fpdfview.h
_USELESS_TITLE = re.compile(r"untitled|microsoft word|\.(docx?|tex|dvi|pdf|indd)$|^\W*$", re.IGNORECASE)


def matches(head: bytes) -> bool:
    return b"%PDF-" in head[:1024]


def read(source: Source) -> Iterator[Record | Refusal]:
    if source.gzipped:
        raise UnreadableError("a gzipped PDF; unpack it first")
    if source.path.stat().st_size > FILE_BYTES:
        raise UnreadableError(f"larger than {FILE_BYTES >> 20} MB, the limit for a PDF")
    if not _ends_as_a_pdf(source.path):
        raise UnreadableError("truncated: it does not end as a PDF does; fetch it again")
    answer = _reader.ask(source.path)
    if "reason" in answer:
        raise UnreadableError(str(answer["reason"]))
    sections = Sections()
    pages = tuple(
        Page(number=number, text=part, section=section)
        for number, text in answer.pop("pages")
        for section, part in sections.split(text)
    )
    source.gauge.read = source.path.stat().st_size
    yield Record(**answer, pages=pages)


def _ends_as_a_pdf(path: Path) -> bool:
    """Whether the end mark is there: readers guess the rest of a cut file, and half a paper would pass for one."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return b"%%EOF" in file.read()


class _Reader:
    """The parent's end of the reading process, which is started when first needed and again after a fault."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # again, since a fault closes while asking
        self._process: subprocess.Popen[str] | None = None

    def ask(self, path: Path) -> dict[str, Any]:
        """The fields of a Record, or {"reason": why not}."""
        with self._lock:
            process = self._running()
            timer = threading.Timer(SECONDS, process.kill)
            timer.start()
            try:
                assert process.stdin is not None and process.stdout is not None
                process.stdin.write(json.dumps(str(path.resolve())) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = ""
            finally:
                timer.cancel()
            if answer:
                return dict(json.loads(answer))
            self.close()
            return {"reason": f"crashed the PDF reader or took it over {SECONDS:.0f} s; damaged or hostile"}

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "papers.formats.pdf"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
                env={"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PYTHONUTF8": "1"},
            )
        return self._process

    def close(self) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


_reader = _Reader()
close_reader = _reader.close  # ends the reading process; the next PDF starts another


# ---------------------------------------------------------------- in the reading process


def extract(path: str) -> dict[str, Any]:
    """The fields of a Record, pages as [number, text] pairs, or {"reason": why not}."""
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(path) as document:
            return _extract(document)
    except pypdfium2.PdfiumError as error:
        if error.err_code == _PASSWORD_ERROR:
            return {"reason": "encrypted; save a copy without password first"}
        if error.err_code == _FORMAT_ERROR:
            return {"reason": "truncated or damaged: no PDF reader can open it; fetch it again"}
        return {"reason": f"damaged: {one_line(str(error))}; fetch it again"}
    except MemoryError:
        return {"reason": "needs more memory than a paper does; the file is damaged or hostile"}


def _extract(document: Any) -> dict[str, Any]:
    if len(document) > MOST_PAGES:
        return {"reason": f"has {len(document)} pages, over the limit of {MOST_PAGES}; split it into papers"}
    pages: list[tuple[int, str]] = []
    chars = 0
    first, title = "", ""
    for number in range(1, len(document) + 1):
        page = document[number - 1]
        sheet = page.get_textpage()
        text = _clean(sheet.get_text_range())
        if number == 1:
            first, title = text, _title(document, sheet)
        sheet.close()
        page.close()
        chars += len(text)
        if chars > MOST_CHARS:
            return {"reason": f"holds over {MOST_CHARS // 1_000_000} million characters; split it"}
        if text.strip():
            pages.append((number, text))
    if not pages:
        return {"reason": "no text layer, only images; run it through OCR (for example `ocrmypdf`) first"}
    stamp = _STAMP.search(first)
    arxiv_id = parse_arxiv_id(stamp.group(1)) if stamp else None
    return {
        "title": title or one_line(first)[:120],
        "pages": pages,
        # An id of the old kind starts with an archive's name, and says no century.
        "year": 2000 + int(arxiv_id[:2]) if arxiv_id and arxiv_id[:2].isdigit() else None,
        "arxiv_id": arxiv_id,
        "doi": _own_doi(first),
    }


def _clean(text: str) -> str:
    """Undoes end-of-line hyphenation, which PDFium marks with U+FFFE, and drops what no text contains."""
    text = re.sub("[\ufffe\x02]\\s*", "", text)
    return "".join(char for char in text if char.isprintable() or char.isspace())


def _own_doi(first_page: str) -> str | None:
    """The one DOI on page one; of several, some belong to cited papers, and none is taken."""
    words = (word for word in first_page.split() if "doi" in word.lower())
    found = {parse_doi(word) for word in words} - {None}
    return found.pop() if len(found) == 1 else None


def _title(document: Any, sheet: Any) -> str:
    """The file's own title field where it says something, else the largest print on page one."""
    named = one_line(document.get_metadata_value("Title"))
    if len(named.split()) > 1 and not _USELESS_TITLE.search(named):
        return named[:300]
    import pypdfium2.raw as pdfium

    runs: dict[int, list[str]] = {}  # size in tenths of a point -> characters of that size, in reading order
    for index in range(min(sheet.count_chars(), _TITLE_SCAN)):
        size = round(pdfium.FPDFText_GetFontSize(sheet, index) * 10)
        runs.setdefault(size, []).append(chr(pdfium.FPDFText_GetUnicode(sheet, index)))
    for size in sorted(runs, reverse=True):
        line = one_line(_clean("".join(runs[size])))
        if len(line.split()) > 1 and not line.startswith("arXiv:"):
            return line[:300]
    return ""


def _serve() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        pass  # macOS knows no such limit; time and pages are bounded there as well
    for line in sys.stdin:
        print(json.dumps(extract(json.loads(line))), flush=True)


if __name__ == "__main__":
    _serve()

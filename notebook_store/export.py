"""Entries as documents for other tools: a Jupyter notebook, one Markdown file, autoresearch's results.tsv.

All text of an entry is untrusted: HTML, remote images and script links in it are made inert, and no entry reaches
beyond its own cell or quotation.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from notebook_store.entry import JSON, Entry, Kind

TSV_COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
TSV_STATUSES = ("keep", "discard", "crash")
SHOWN = ("image/png", "image/jpeg", "text/plain")  # output types that carry no markup and no script

# In the order of application: entities first, or they could spell what the later rules look for.
_INERT = (
    (re.compile(r"&(?=[#A-Za-z])"), "&amp;"),
    (re.compile(r"<(?=[A-Za-z/!?])"), "&lt;"),
    (re.compile(r"!(?=\[)"), r"\\!"),
    (re.compile(r"(?i)(javascript|vbscript)(?=\\?:)"), "\\1\u200b"),
    (re.compile(r"(?i)(data)(?=\\?:[a-z]+/)"), "\\1\u200b"),
)


def to_ipynb(entries: Sequence[Entry], *, title: str) -> str:
    """A Jupyter notebook (nbformat 4.5), entries in the order given.

    An entry's `data["cells"]`, a list of {"source": str, "outputs": [nbformat outputs]}, become code cells with
    their outputs as text and pictures; picture attachments are shown below them.
    """
    import nbformat

    tool: Any = nbformat  # its functions carry no types
    v4 = tool.v4
    cells = [v4.new_markdown_cell(f"# {_line(title)}", id="title")]
    for number, entry in enumerate(entries):
        for part, cell in enumerate(_notebook_cells(v4, entry)):
            cell["id"] = f"entry{number}-{part}"  # the same entries give the same file
            cells.append(cell)
    book = v4.new_notebook(
        cells=cells,
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
        },
    )
    tool.validate(book)
    return str(tool.writes(book)) + "\n"


def to_markdown(entries: Sequence[Entry], *, title: str) -> str:
    """One Markdown document, entries in the order given, each body as a quotation."""
    parts = [f"# {_line(title)}"]
    for entry in entries:
        parts += [_heading(entry), _quoted(_inert(entry.body)) if entry.body else "", _facts(entry)]
        for cell in code_cells(entry):
            parts.append(_fenced(cell["source"], "python"))
            text = "".join(output_text(output) for output in cell["outputs"])
            parts.append(_fenced(text, "text") if text else "")
        parts += [_references(entry)]
        parts += [f"- attached: {_line(attached.name)} ({len(attached.data)} bytes)" for attached in entry.attachments]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_tsv(entries: Sequence[Entry]) -> str:
    """results.tsv as karpathy/autoresearch writes it, one row for each result with a status in its data.

    The columns come from `commit`, `val_bpb` (else `score`), `memory_gb` and `status` (keep, discard, crash) of the
    data; the description is the title. That format writes a crash's numbers as 0.000000 and 0.0; a number that is
    absent without a crash stays empty.
    """
    rows = [TSV_COLUMNS]
    for entry in entries:
        status = entry.data.get("status")
        if entry.kind is Kind.RESULT and status in TSV_STATUSES:
            crash = status == "crash"
            score = entry.data.get("val_bpb", entry.data.get("score"))
            rows.append(
                (
                    str(entry.data.get("commit") or "")[:7],
                    _number(0.0 if crash else score, 6),
                    _number(0.0 if crash else entry.data.get("memory_gb"), 1),
                    str(status),
                    " ".join(entry.title.replace('"', "'").split()),
                )
            )
    return "".join("\t".join(row) + "\n" for row in rows)


def _notebook_cells(v4: Any, entry: Entry) -> Iterator[Any]:
    yield v4.new_markdown_cell("\n\n".join(part for part in (_heading(entry), _inert(entry.body)) if part))
    shown: set[str] = set()
    for cell in code_cells(entry):
        outputs = [_output(v4, output) for output in cell["outputs"]]
        shown |= {output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})}
        yield v4.new_code_cell(cell["source"], outputs=outputs)
    below = [_facts(entry), _references(entry)]
    pictures: dict[str, dict[str, str]] = {}
    for attached in entry.attachments:
        picture = base64.b64encode(attached.data).decode()
        if attached.media_type not in SHOWN[:2]:
            below.append(f"- attached: {_line(attached.name)} ({len(attached.data)} bytes)")
        elif picture not in shown:
            name = f"figure{len(pictures)}.{attached.media_type.removeprefix('image/')}"
            pictures[name] = {attached.media_type: picture}
            below.append(f"![{_line(attached.name)}](attachment:{name})")
    if any(below):
        cell = v4.new_markdown_cell("\n\n".join(part for part in below if part))
        if pictures:
            cell["attachments"] = pictures
        yield cell


def code_cells(entry: Entry) -> list[dict[str, Any]]:
    """The code cells of an entry, as far as they have the right form."""
    cells = entry.data.get("cells")
    found: list[dict[str, Any]] = []
    for cell in cells if isinstance(cells, list) else []:
        if isinstance(cell, dict) and isinstance(source := cell.get("source"), str):
            outputs = cell.get("outputs")
            found.append({"source": source, "outputs": outputs if isinstance(outputs, list) else []})
    return found


def _output(v4: Any, output: JSON) -> Any:
    """An nbformat output reduced to text and pictures."""
    if isinstance(output, dict) and isinstance(data := output.get("data"), dict):
        safe = {kind: _text(data[kind]).rstrip("\n") for kind in SHOWN if kind in data}
        if safe:
            return v4.new_output("display_data", data=safe)
    return v4.new_output("stream", name="stdout", text=output_text(output))


def output_text(output: JSON) -> str:
    """What an nbformat output says in plain text."""
    if not isinstance(output, dict):
        return "(an output of unknown form)\n"
    data = output.get("data")
    if isinstance(data, dict):
        return _text(data.get("text/plain", "(an output without text)")).rstrip("\n") + "\n"
    if output.get("output_type") == "error":
        return f"{_text(output.get('ename', ''))}: {_text(output.get('evalue', ''))}\n"
    return _text(output.get("text", "(an output of unknown form)\n"))


def _text(value: JSON) -> str:
    """nbformat's multiline strings: a string, or a list of them."""
    return "".join(map(str, value)) if isinstance(value, list) else str(value)


def _heading(entry: Entry) -> str:
    when = datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    about = [f"experiment {entry.experiment}"] if entry.experiment else []
    if entry.factors:
        about.append(f"on {', '.join(entry.factors)}")
    meta = " · ".join([f"**{entry.kind}** by {entry.author}", when, *about, f"id {entry.id}"])
    return f"## {_line(entry.title)}\n\n{_line(meta)}"


def _facts(entry: Entry) -> str:
    """The data but for the code cells, one line each."""
    facts: Mapping[str, JSON] = {key: value for key, value in entry.data.items() if key != "cells"}
    lines = [
        f"- {_line(key)}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in facts.items()
    ]
    return "\n".join(_line(line) for line in lines)


def _references(entry: Entry) -> str:
    lines = [f"- {link.kind} {link.target}" for link in entry.links]
    for cited in entry.citations:
        page = f", p. {cited.page}" if cited.page is not None else ""
        quote = f": “{cited.quote}”" if cited.quote else ""
        lines.append(f"- cites {cited.title} ({cited.source}{page}){quote}")
    return "\n".join(_line(line) for line in lines)


def _line(text: str) -> str:
    """Inert text on one line."""
    return _inert(" ".join(text.split()))


def _inert(text: str) -> str:
    for pattern, replacement in _INERT:
        text = pattern.sub(replacement, text)
    return text


def _quoted(text: str) -> str:
    """A block quotation: whatever the text opens, a fence or a list, ends with it."""
    return "\n".join(f"> {line}" for line in text.splitlines())


def _fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any inside."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _number(value: JSON, digits: int) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{value:.{digits}f}" if is_number else ""

"""Whole notebooks as JSON lines: written by one, taken in by another, so that swarms share what they learned."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Unpack

from notebook_store.entry import Entry, Link
from notebook_store.errors import InvalidEntry, UnknownEntry
from notebook_store.log import Filters
from notebook_store.notebook import Notebook
from notebook_store.wire import entry_from, entry_json

FORMAT = 1
LONGEST_LINE = 256 * 2**20  # bytes; an entry's figures have some hundred thousand
BATCH = 200  # entries in one transaction


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What became of a file of entries."""

    new: int  # entries written
    known: int  # that were here already, word for word
    renamed: int  # of the new and known: their ids stood for something else here
    refused: tuple[tuple[int, str], ...]  # (line from 1, reason)


def write_jsonl(notebook: Notebook, stream: IO[str], **filters: Unpack[Filters]) -> int:
    """Writes a line that names the notebook, then one for each entry, oldest first; how many entries."""
    print(json.dumps({"notebook": notebook.identity(), "format": FORMAT}), file=stream)
    count = 0
    for entry in notebook.stream(**filters):
        print(json.dumps(entry_json(entry), ensure_ascii=False), file=stream)
        count += 1
    return count


def read_jsonl(notebook: Notebook, stream: IO[bytes]) -> Imported:
    """Takes in the entries of a file that `write_jsonl` wrote. It is read twice; taking it in again is nothing.

    Another swarm may have called something else by an id of ours. Then its session gets a name of its own, its
    notebook's name behind it, and with it all of the session's ids and what links to them.
    """
    mark, sessions, ids = _conflicts(notebook, stream)
    stream.seek(0)
    new = known = renamed = 0
    refused: list[tuple[int, str]] = []
    batch: list[Entry] = []

    def settle() -> None:
        nonlocal new, known
        written = notebook.extend(batch)
        new += sum(written)
        known += len(written) - sum(written)
        batch.clear()

    for number, found in _lines(stream):
        if isinstance(found, str):
            refused.append((number, found))
            continue
        entry = _moved(found, sessions, ids, mark)
        renamed += entry.id != found.id
        batch.append(entry)
        if len(batch) == BATCH:
            settle()
    settle()
    return Imported(new=new, known=known, renamed=renamed, refused=tuple(refused))


def _conflicts(notebook: Notebook, stream: IO[bytes]) -> tuple[str, set[str], set[str]]:
    """What marks names of the file's notebook, the sessions in it that are others here, and ids that must change."""
    head: dict[str, object] = {}
    sessions: set[str] = set()
    single: set[str] = set()
    session_of: dict[str, str] = {}
    for _, found in _lines(stream, head):
        if isinstance(found, str):
            continue
        session_of[found.id] = found.session
        try:
            differs = found not in (here := notebook.get(found.id), _unmarked(here, _mark(head)))
        except UnknownEntry:
            continue
        if differs and found.session:
            sessions.add(found.session)
        elif differs:
            single.add(found.id)
    return _mark(head), sessions, single | {name for name, session in session_of.items() if session in sessions}


def _mark(head: dict[str, object]) -> str:
    return f"~{str(head.get('notebook', 'unknown'))[:6]}"


def _unmarked(entry: Entry, mark: str) -> Entry:
    """The entry as it was before an earlier import led its links to moved entries."""
    links = tuple(Link(kind=link.kind, target=link.target.removesuffix(mark)) for link in entry.links)
    return dataclasses.replace(entry, links=links)


def _moved(entry: Entry, sessions: set[str], ids: set[str], mark: str) -> Entry:
    """The entry under the names it has here."""
    links = tuple(
        Link(kind=link.kind, target=link.target + mark) if link.target in ids else link for link in entry.links
    )
    moves = entry.session in sessions
    return dataclasses.replace(
        entry,
        id=entry.id + mark if entry.id in ids else entry.id,
        session=entry.session + mark if moves else entry.session,
        experiment=entry.experiment + mark if moves and entry.experiment else entry.experiment,
        links=links,
    )


def _lines(stream: IO[bytes], head: dict[str, object] | None = None) -> Iterator[tuple[int, Entry | str]]:
    """(line number, its entry, or why it has none); what the first line says of the notebook goes into `head`."""
    number = 0
    while line := stream.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := stream.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield number, f"longer than {LONGEST_LINE // 2**20} MB"
            continue
        if not line.strip():
            continue
        try:
            told = json.loads(line)
        except ValueError as error:
            yield number, f"no JSON: {error}"
            continue
        if isinstance(told, dict) and "notebook" in told and "format" in told:
            if head is not None:
                head.update(told)
            if told["format"] != FORMAT:
                yield number, f"format {told['format']}, this program knows {FORMAT}; update the program"
                return
            continue
        try:
            yield number, entry_from(told)
        except InvalidEntry as error:
            yield number, str(error)

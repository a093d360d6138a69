"""Experiments that people asked for: a note that says ``WIDTH = 96`` is tried as it stands, before anything else."""

import ast
import asyncio
import re
from collections.abc import Iterator, Mapping

from notebook_store.entry import Entry
from notebook_store.notebook import Notebook
from swarm.agents.recall import people_notes
from swarm.agents.roles import PROPOSER
from swarm.errors import InputError
from swarm.ports import Brief
from swarm.research.experiment import Knob, Proposal
from swarm.research.knobs import set_knobs

_SETTING = re.compile(r"\b([A-Z][A-Z0-9_]*)\s*(?:=|:|→|->)\s*(\"[^\"\n]*\"|'[^'\n]*'|[-+\w.]*\w)")


class AskedProposer:
    """A Proposer (see ports): what people's notes set the constants to, each wish once a session."""

    name = f"{PROPOSER.name}-asked"

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    async def propose(self, brief: Brief) -> list[Proposal]:
        return await asyncio.to_thread(lambda: list(self._wishes(brief))[: brief.wanted])

    def _wishes(self, brief: Brief) -> Iterator[Proposal]:
        for note in reversed(people_notes(self._notebook)):
            tried = [
                entry.data.get("changes")
                for _, entry in self._notebook.links_to(note.id)
                if entry.session == brief.session and entry.author == self.name
            ]
            for changes in wishes(asked_text(note), brief.knobs):
                if changes in tried:
                    continue
                try:
                    source = set_knobs(brief.source, changes)
                except InputError:
                    continue  # of another kind: 'WIDTH = wide' asks for nothing that could be run
                said = ", ".join(f"{name} = {value}" for name, value in changes.items())
                yield Proposal(
                    author=self.name,
                    hypothesis=f"{said} improves {brief.task.metric}: {note.author} asked for it",
                    parent=brief.parent,
                    source=source,
                    changes=changes,
                    citations=(note.id,),
                )


def asked_text(note: Entry) -> str:
    """What a note asks: all of it, but of an edited program.md the added lines alone."""
    added = note.data.get("added")
    return "\n".join(map(str, added)) if isinstance(added, list) else note.body


def wishes(text: str, knobs: Mapping[str, Knob]) -> Iterator[dict[str, Knob]]:
    """The settings a text asks for, those of one line together; a name that comes again begins another."""
    for line in text.splitlines():
        asked: dict[str, Knob] = {}
        for name, told in _SETTING.findall(line):
            if name not in knobs or (value := _value(told)) is None:
                continue
            if name in asked:
                yield asked
                asked = {}
            if value != knobs[name]:
                asked[name] = value
        if asked:
            yield asked


def _value(told: str) -> Knob | None:
    try:
        value = ast.literal_eval(told)
    except (ValueError, SyntaxError):
        return None
    return value if isinstance(value, bool | int | float | str) else None

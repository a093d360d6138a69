"""What a model may have looked up or run while it thinks. Its arguments are checked; what comes back is fenced."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from notebook_store.errors import NotebookError
from notebook_store.notebook import Notebook
from papers.library import Library
from swarm.agents.recall import fenced, shown
from swarm.errors import SwarmError
from swarm.ports import Tool, ToolCall

_RESULTS = 6  # of one search
_TEXT = {"type": "string"}


@dataclass(frozen=True, kw_only=True)
class Skill:
    """A tool and what it does."""

    tool: Tool
    use: Callable[..., Awaitable[str]]  # called with the checked arguments; raises SwarmError for those it cannot take


def skill(name: str, description: str, use: Callable[..., Awaitable[str]], *arguments: str) -> Skill:
    """A skill whose arguments are all texts."""
    schema = {
        "type": "object",
        "properties": dict.fromkeys(arguments, _TEXT),
        "required": list(arguments),
        "additionalProperties": False,
    }
    return Skill(tool=Tool(name=name, description=description, parameters=schema), use=use)


def searching(notebook: Notebook, library: Library) -> dict[str, Skill]:
    """The tools that look things up."""

    async def search_notebook(query: str) -> str:
        hits = await asyncio.to_thread(notebook.search, query, _RESULTS)
        return "\n\n".join(shown(hit.entry) for hit in hits) or "nothing found"

    async def read_entry(entry: str) -> str:
        try:
            found = await asyncio.to_thread(notebook.get, entry)
        except NotebookError as error:
            raise SwarmError(str(error)) from error
        return fenced(f"entry {found.id}", f"{found.title}\n{found.body}")

    async def search_papers(query: str) -> str:
        found = await asyncio.to_thread(library.passages, query, _RESULTS)
        return (
            "\n\n".join(
                fenced(f"{p.paper_id}, {p.title}" + (f", p. {p.page}" if p.page else ""), p.text) for p in found
            )
            or "nothing found"
        )

    skills = (
        skill("search_notebook", "Entries of the research notebook that fit a query.", search_notebook, "query"),
        skill("read_entry", "One entry of the notebook, whole.", read_entry, "entry"),
        skill("search_papers", "Passages of the library's papers that fit a query.", search_papers, "query"),
    )
    return {one.tool.name: one for one in skills}


async def used(skills: dict[str, Skill], call: ToolCall) -> str:
    """What a tool said, or why it could not be used: a model's mistake is told to it, never raised."""
    known = skills.get(call.name)
    if known is None:
        return f"there is no tool '{call.name}'; there are: {', '.join(skills) or 'none'}"
    try:
        arguments: Any = json.loads(call.arguments or "{}")
    except json.JSONDecodeError as error:
        return f"the arguments are not JSON: {error}"
    wanted = list(known.tool.parameters["properties"])
    if not isinstance(arguments, dict) or sorted(arguments) != sorted(wanted):
        return f"'{call.name}' takes exactly these arguments: {', '.join(wanted)}"
    if not all(isinstance(value, str) for value in arguments.values()):
        return f"the arguments of '{call.name}' are texts"
    try:
        return await known.use(**arguments)
    except SwarmError as error:
        return f"'{call.name}' failed: {error}"

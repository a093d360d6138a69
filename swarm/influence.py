"""What led to an experiment: from the papers and findings it goes back to, over its hypothesis, to what came out."""

from collections.abc import Iterator
from dataclasses import dataclass

from notebook_store.entry import Entry, Kind, Relation
from notebook_store.errors import UnknownEntry
from notebook_store.notebook import Notebook

_DEPTH = 4  # steps back: further is everything
_BACK = (Relation.CITES, Relation.DERIVED_FROM)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A paper or an entry of the notebook."""

    id: str  # of the entry, or the paper's own
    kind: str  # "paper", or the entry's kind
    title: str  # of a paper with the page
    author: str  # "" of a paper


@dataclass(frozen=True, kw_only=True)
class Influence:
    """A graph whose edges point from what was there first to what came of it."""

    nodes: dict[str, Node]
    edges: tuple[tuple[str, str], ...]  # (earlier, later)


def influence(notebook: Notebook, experiment: str) -> Influence:
    """What an experiment goes back to and what came out of it. Blocking. Empty where it has no page yet."""
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], None] = {}
    try:
        page = notebook.get(f"{experiment}-hypothesis")
    except UnknownEntry:
        return Influence(nodes={}, edges=())
    _back(notebook, page, nodes, edges, _DEPTH)
    for _, entry in notebook.links_to(page.id):
        if entry.experiment == experiment and entry.kind in (Kind.RESULT, Kind.DECISION):
            nodes[entry.id] = _node(entry)
            edges[page.id, entry.id] = None
    return Influence(nodes=nodes, edges=tuple(edges))


def _back(
    notebook: Notebook, entry: Entry, nodes: dict[str, Node], edges: dict[tuple[str, str], None], depth: int
) -> None:
    if entry.id in nodes:
        return
    nodes[entry.id] = _node(entry)
    for cited in entry.citations:
        where = f"{cited.title}, p. {cited.page}" if cited.page else cited.title
        nodes[cited.source] = Node(id=cited.source, kind="paper", title=where, author="")
        edges[cited.source, entry.id] = None
    for link in entry.links if depth else ():
        if link.kind in _BACK:
            try:
                earlier = notebook.get(link.target)
            except UnknownEntry:
                continue
            edges[earlier.id, entry.id] = None
            _back(notebook, earlier, nodes, edges, depth - 1)


def _node(entry: Entry) -> Node:
    return Node(id=entry.id, kind=entry.kind.value, title=entry.title, author=entry.author)


def drawn(graph: Influence) -> Iterator[str]:
    """The graph as lines, each thing under what it came from, the indent two blanks a step."""
    later: dict[str, list[str]] = {}
    for earlier, then in graph.edges:
        later.setdefault(earlier, []).append(then)
    targets = {then for _, then in graph.edges}
    shown: set[str] = set()
    for name in graph.nodes:
        if name not in targets:
            yield from _lines(graph, later, name, 0, shown)


def _lines(graph: Influence, later: dict[str, list[str]], name: str, depth: int, shown: set[str]) -> Iterator[str]:
    node = graph.nodes[name]
    by = f" by {node.author}" if node.author else ""
    again = " (see above)" if name in shown and later.get(name) else ""
    yield f"{'  ' * depth}{'→ ' if depth else ''}{node.kind} {node.id}{by}: {node.title}{again}"
    if name in shown:
        return
    shown.add(name)
    for then in later.get(name, ()):
        yield from _lines(graph, later, then, depth + 1, shown)

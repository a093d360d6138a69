"""What led to experiments: from the papers and findings they go back to, over their hypotheses, to what came out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from notebook_store.entry import Entry, Kind, Relation
from notebook_store.errors import UnknownEntry
from notebook_store.notebook import Notebook

DEPTH = 4  # steps back: further is everything
_BACK = (Relation.CITES, Relation.DERIVED_FROM)


@dataclass(frozen=True, kw_only=True)
class Node:
    """A paper or an entry of the notebook."""

    id: str  # of the entry, or the paper's own
    kind: str  # "paper", or the entry's kind
    title: str  # of a paper with the page
    author: str  # "" of a paper
    experiment: str | None = None  # whose page it is


@dataclass(frozen=True, kw_only=True)
class Influence:
    """A graph whose edges point from what was there first to what came of it."""

    nodes: dict[str, Node]
    edges: tuple[tuple[str, str], ...]  # (earlier, later)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A thing below what it came from."""

    depth: int  # steps from where its line begins
    node: Node
    again: bool  # what came of it stands further up


def influence(notebook: Notebook, experiments: Sequence[str], depth: int = DEPTH) -> Influence:
    """What experiments go back to in so many steps, and what came out of them. Blocking.

    One that has no page yet is left out.
    """
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], None] = {}
    for experiment in experiments:
        try:
            page = notebook.get(f"{experiment}-hypothesis")
        except UnknownEntry:
            continue
        _back(notebook, page, nodes, edges, depth)
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
    return Node(id=entry.id, kind=entry.kind.value, title=entry.title, author=entry.author, experiment=entry.experiment)


def steps(graph: Influence) -> Iterator[Step]:
    """The graph from top to bottom, each thing under what it came from."""
    later: dict[str, list[str]] = {}
    for earlier, then in graph.edges:
        later.setdefault(earlier, []).append(then)
    targets = {then for _, then in graph.edges}
    shown: set[str] = set()
    for name in graph.nodes:
        if name not in targets:
            yield from _steps(graph, later, name, 0, shown)


def _steps(graph: Influence, later: dict[str, list[str]], name: str, depth: int, shown: set[str]) -> Iterator[Step]:
    seen = name in shown
    yield Step(depth=depth, node=graph.nodes[name], again=seen and bool(later.get(name)))
    shown.add(name)
    for then in later.get(name, ()) if not seen else ():
        yield from _steps(graph, later, then, depth + 1, shown)


def drawn(graph: Influence) -> Iterator[str]:
    """The graph as lines, the indent two blanks a step."""
    for step in steps(graph):
        node, by = step.node, f" by {step.node.author}" if step.node.author else ""
        again = " (see above)" if step.again else ""
        yield f"{'  ' * step.depth}{'→ ' if step.depth else ''}{node.kind} {node.id}{by}: {node.title}{again}"

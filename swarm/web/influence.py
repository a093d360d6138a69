"""The map of influence as a picture: paper, claim, proposal, gain, left to right."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from swarm.influence import Influence, Node
from swarm.research.experiment import Experiment, Status
from swarm.view import View
from swarm.web.drawing import Picture, text
from swarm.wording import plain, short

EXPERIMENTS = 14  # drawn
DEPTH = 1  # steps back from a proposal: what it cites, and the papers behind that
_COLUMNS = ("papers", "claims and findings", "proposals", "what came of them")
_X = (0, 190, 400, 600)
_WIDE = (165, 185, 170, 160)
_WIDTH, _ROW, _TOP = 760, 26, 26
_LETTER = 6.8  # width of a letter, at most on average


@dataclass(frozen=True, kw_only=True)
class _Box:
    column: int
    name: str  # unique
    words: str
    go: str  # address
    kind: str


def address(node: Node) -> str:
    """The page of a paper, an experiment or an entry."""
    if node.kind == "paper":
        return f"/papers/{quote(node.id, safe='')}"
    own = node.kind == "hypothesis" and node.experiment is not None
    return f"/e/{quote(node.experiment or '')}" if own else f"/notebook/{quote(node.id, safe='')}"


def picture(view: View, graph: Influence, drawn: list[str]) -> Picture | None:
    """What led to the experiments ``drawn``, by id; None when nothing did."""
    if not graph.edges:
        return None
    proposals = {f"{name}-hypothesis": view.state.experiments[name] for name in drawn}
    sources = {earlier for earlier, _ in graph.edges}
    boxes: dict[str, _Box] = {}
    for node in graph.nodes.values():
        if (one := proposals.get(node.id)) is not None:
            words = f"{short(one.id, view.state.session)} {one.hypothesis}"
            boxes[node.id] = _Box(column=2, name=node.id, words=plain(words), go=address(node), kind="proposal")
            boxes[one.id] = _Box(
                column=3, name=one.id, words=_fate(one), go=address(node), kind=one.status.value.lower()
            )
        elif node.id in sources or node.kind not in ("result", "decision"):  # a fate is told by its own box
            column = 0 if node.kind == "paper" else 1
            boxes[node.id] = _Box(
                column=column, name=node.id, words=plain(node.title), go=address(node), kind=node.kind
            )
    kept = {name for name, one in proposals.items() if one.status is Status.CONFIRMED}
    before = {earlier for earlier, later in graph.edges if later in kept}
    edges = {
        (earlier, later): later in kept or (later in before and boxes[earlier].column == 0)
        for earlier, later in graph.edges
        if earlier in boxes and later in boxes and boxes[earlier].column < boxes[later].column
    }
    edges |= {(name, one.id): name in kept for name, one in proposals.items() if name in boxes}
    return _picture(boxes, edges, len(drawn))


def _fate(one: Experiment) -> str:
    gain = one.verdict.get("gain")
    return one.status.value.lower() + (f" {gain:+.4f}" if isinstance(gain, float) else "")


def _picture(nodes: Mapping[str, _Box], edges: Mapping[tuple[str, str], bool], count: int) -> Picture:
    columns = [[node for node in nodes.values() if node.column == column] for column in range(4)]
    rows = max(map(len, columns))
    places = {
        node.name: _TOP + _ROW * (number + (rows - len(column)) / 2)
        for column in columns
        for number, node in enumerate(column)
    }
    parts = [text(_X[column], 12, words, kind="axis") for column, words in enumerate(_COLUMNS)]
    for (start, end), kept in sorted(edges.items(), key=lambda edge: edge[1]):
        x1, x2 = _X[nodes[start].column] + _WIDE[nodes[start].column], _X[nodes[end].column]
        y1, y2, middle = places[start] + 10, places[end] + 10, (x1 + x2) / 2
        bend = f"M{x1} {y1:.0f}C{middle} {y1:.0f} {middle} {y2:.0f} {x2} {y2:.0f}"
        parts.append(f'<path class="edge{" kept" if kept else ""}" d="{bend}"/>')
    for node in nodes.values():
        y, wide = places[node.name], _WIDE[node.column]
        fits = int((wide - 12) / _LETTER)
        words = node.words if len(node.words) <= fits else node.words[: fits - 1] + "…"
        parts.append(
            f'<g class="node {escape(node.kind)}" data-go="{escape(node.go)}"><title>{escape(node.words)}</title>'
            f'<rect x="{_X[node.column]}" y="{y:.0f}" width="{wide}" height="20" rx="3"/>'
            f"{text(_X[node.column] + 6, y + 14, words)}</g>"
        )
    return Picture(
        name="influence",
        label=f"what led to {count} experiments; the list below tells the same in words",
        width=_WIDTH,
        height=_TOP + _ROW * rows + 6,
        frame="".join(parts),
        legend=(("edge kept", "led to a kept gain"), ("edge", "led to something tried")),
    )

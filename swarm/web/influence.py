"""The map of influence: paper, claim, proposal, gain, left to right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from notebook_store.entry import Entry, Kind
from notebook_store.errors import UnknownEntry
from notebook_store.notebook import Notebook
from swarm.research.experiment import Experiment, Status
from swarm.view import View
from swarm.web.books import telling
from swarm.web.drawing import Picture, text
from swarm.wording import plain, short

EXPERIMENTS = 14  # drawn
_COLUMNS = ("papers", "claims and findings", "proposals", "what came of them")
_X = (0, 190, 400, 600)
_WIDE = (165, 185, 170, 160)
_WIDTH, _ROW, _TOP = 760, 26, 26
_LETTER = 6.8  # width of a letter, at most on average


@dataclass(frozen=True, kw_only=True)
class Strand:
    """One experiment with what led to it."""

    one: Experiment
    reasons: Sequence[Entry]  # claims and findings it cites


@dataclass(frozen=True, kw_only=True)
class _Node:
    column: int
    name: str  # unique
    words: str
    go: str  # address
    kind: str


def strands(view: View, notebook: Notebook) -> list[Strand]:
    """The experiments that went furthest, each with the entries it cites."""
    found = []
    for one in telling(view, EXPERIMENTS):
        reasons = []
        for cited in one.citations:
            try:
                reasons.append(notebook.get(cited))
            except UnknownEntry:
                continue
        if reasons:
            found.append(Strand(one=one, reasons=reasons))
    return found


def influence(view: View, drawn: Sequence[Strand]) -> Picture | None:
    """The strands as a picture; None when there are none."""
    if not drawn:
        return None
    nodes: dict[str, _Node] = {}
    edges: dict[tuple[str, str], bool] = {}  # (from, to) -> whether it led to a kept gain

    def add(column: int, name: str, words: str, go: str, kind: str) -> None:
        nodes.setdefault(name, _Node(column=column, name=name, words=plain(words), go=go, kind=kind))

    for strand in drawn:
        kept = strand.one.status is Status.CONFIRMED
        proposal, fate = f"e:{strand.one.id}", f"f:{strand.one.id}"
        for reason in strand.reasons:
            add(1, f"c:{reason.id}", reason.title, f"/notebook/{quote(reason.id, safe='')}", reason.kind)
            edges[f"c:{reason.id}", proposal] = edges.get((f"c:{reason.id}", proposal), False) or kept
            for cited in reason.citations if reason.kind is Kind.CLAIM else ():
                paper = f"p:{cited.source}"
                add(0, paper, cited.title, f"/papers/{quote(cited.source, safe='')}", "paper")
                edges[paper, f"c:{reason.id}"] = edges.get((paper, f"c:{reason.id}"), False) or kept
        own = f"/e/{quote(strand.one.id)}"
        add(2, proposal, f"{short(strand.one.id, view.state.session)} {strand.one.hypothesis}", own, "proposal")
        add(3, fate, _fate(strand.one), own, strand.one.status.value.lower())
        edges[proposal, fate] = kept
    return _picture(nodes, edges, len(drawn))


def _fate(one: Experiment) -> str:
    gain = one.verdict.get("gain")
    return one.status.value.lower() + (f" {gain:+.4f}" if isinstance(gain, float) else "")


def _picture(nodes: Mapping[str, _Node], edges: Mapping[tuple[str, str], bool], count: int) -> Picture:
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

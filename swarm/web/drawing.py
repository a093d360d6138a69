"""Scales, ticks and marks for pictures in SVG. Pure; every text that enters is escaped here."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Maps values of a domain to coordinates."""

    low: float  # of the domain
    high: float  # of the domain; above low
    start: float  # coordinate of low
    end: float  # coordinate of high

    def __call__(self, value: float) -> float:
        """The coordinate of a value; values outside the domain land on its edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An SVG picture: a frame that seldom changes, and marks that come one by one."""

    name: str  # of the element
    label: str  # what a screen reader says
    width: int  # units of the view box
    height: int
    frame: str  # axes, bands, lines: SVG markup
    under: str = ""  # marks too many to be elements of their own, as paths
    marks: Mapping[str, str] = field(default_factory=dict)  # id -> markup of one element with that id
    legend: Sequence[tuple[str, str]] = ()  # (class of the swatch, what it means)

    @property
    def svg(self) -> str:
        """The whole picture. Safe to put into a page as it is."""
        return (
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(self.label)}">'
            f'<g id="{self.name}-frame">{self.frame}</g><g>{self.under}</g>'
            f'<g id="{self.name}-marks">{"".join(self.marks.values())}</g></svg>'
        )


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values between low and high, some ``about`` of them."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / about
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough)
    first = math.ceil(low / step - 1e-9)
    return [step * n for n in range(first, math.floor(high / step + 1e-9) + 1)]


def decimals(step: float) -> int:
    """Digits after the point that tell two ticks apart."""
    return max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0


def ceiling(value: float) -> float:
    """The next round number not below a positive value: the end of an axis that grows now and then."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(factor * unit for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if factor * unit >= value - 1e-12)


def text(x: float, y: float, words: str, *, kind: str = "", anchor: str = "start") -> str:
    """Words in a picture."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def rect(x: float, y: float, width: float, height: float, kind: str, *, title: str = "", more: str = "") -> str:
    told = f"<title>{escape(title)}</title>" if title else ""
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}" class="{kind}"'
    return f"{shape}{more}>{told}</rect>"


def steps(points: Iterable[tuple[float, float]], end: float) -> str:
    """Path data of a staircase through points in order of x, its last step drawn out to ``end``."""
    path = ""
    for x, y in points:
        path += f"H{x:.1f}V{y:.1f}" if path else f"M{x:.1f} {y:.1f}"
    return f"{path}H{end:.1f}" if path else ""


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Path data of straight lines through points."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def dust(points: Iterable[tuple[str, float, float]], grain: float = 2.0) -> str:
    """Many dots as one path a class: dots that would cover each other are drawn once."""
    cells: dict[str, dict[tuple[int, int], None]] = {}
    for kind, x, y in points:
        cells.setdefault(kind, {})[round(x / grain), round(y / grain)] = None
    return "".join(f'<path class="dust {kind}" d="{"".join(_specks(found, grain))}"/>' for kind, found in cells.items())


def _specks(cells: Iterable[tuple[int, int]], grain: float) -> Iterator[str]:
    for column, row in cells:
        yield f"M{column * grain:g} {row * grain:g}h0"


def axis_below(scale: Scale, y: float, top: float, label: str) -> str:
    """Ticks and their grid lines along x, in whole or decimal numbers, and what they count."""
    at = ticks(scale.low, scale.high, 6)
    digits = decimals(at[1] - at[0]) if len(at) > 1 else 0
    drawn = "".join(
        line(scale(value), top, scale(value), y, "grid")
        + text(scale(value), y + 15, f"{value:.{digits}f}", kind="tick", anchor=_anchor(scale, value))
        for value in at
    )
    return drawn + text(scale.end, y + 30, label, kind="axis", anchor="end")


def _anchor(scale: Scale, value: float) -> str:
    """How a tick's number stands under it; the last one would be cut by the picture's edge."""
    return "end" if scale.end - scale(value) < 12 else "middle"


def axis_left(scale: Scale, x: float, right: float) -> str:
    """Ticks and their grid lines along y."""
    at = ticks(scale.low, scale.high, 5)
    digits = max(decimals(at[1] - at[0]) if len(at) > 1 else 2, 1)
    return "".join(
        line(x, scale(value), right, scale(value), "grid")
        + text(x - 6, scale(value) + 4, f"{value:.{digits}f}", kind="tick", anchor="end")
        for value in at
    )

"""The analyst that needs no model: computes what a finished wave shows in a Jupyter kernel, and writes the finding."""

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from notebook_store.entry import Attachment, Entry, Kind, Link, Relation
from notebook_store.errors import UnknownEntry
from notebook_store.notebook import Notebook
from swarm.agents.graph import Work, run_role
from swarm.agents.roles import ANALYST, write_as
from swarm.errors import KernelDied
from swarm.ports import CellResult, Clock, Kernel, WaveReport
from trainer.contract import Outcome

DESIGNED = ("plackett-burman", "factorial", "half-factorial")  # two levels a factor; other waves give trends

_CELL_SECONDS = 120.0  # generous: a busy machine must not look like a hung cell
_TITLE_EFFECTS = 3

_COMPUTE = """\
import json
from dataclasses import asdict
from swarm.research.effects import code, estimable, interactions, main_effects, trends

runs, noise = report["runs"], report["noise"]
gains = [run["gain"] for run in runs]
if report["designed"]:
    contrasts, rows = code(report["baseline"], [run["knobs"] for run in runs])
    effects = main_effects(rows, gains, noise, contrasts)
    pairs = interactions(rows, gains, noise)
    told = estimable(rows, gains)
    lost, aliases = told.lost, told.aliases
else:
    effects, pairs, lost, aliases = trends([run["knobs"] for run in runs], gains, noise), [], (), {}
finding = {
    "effects": [asdict(effect) for effect in effects],
    "interactions": [asdict(pair) for pair in pairs],
    "lost": lost,
    "aliases": aliases,
}
print(json.dumps(finding))
"""

_PLOT = """\
import io
import matplotlib.pyplot as plt
from IPython.display import Image, display

def show(figure):
    png = io.BytesIO()
    figure.savefig(png, dpi=110, bbox_inches="tight")
    plt.close(figure)
    display(Image(data=png.getvalue()))

shown = effects[:12][::-1]
figure, axes = plt.subplots(figsize=(7, 0.6 + 0.35 * len(shown)))
reach = [0 if e.ci is None else (e.ci[1] - e.ci[0]) / 2 for e in shown]
colours = ["tab:blue" if e.p is not None and e.p < 0.05 else "silver" for e in shown]
axes.barh([f"{e.factor} {e.low} \\u2192 {e.high}" for e in shown], [e.effect for e in shown],
          xerr=reach, color=colours, ecolor="black", capsize=2)
axes.axvline(0, color="black", linewidth=0.8)
axes.set_xlabel(f"effect on {report['metric']}, positive is better (95% interval; blue: p < 0.05)")
axes.set_title(report["wave"])
show(figure)
"""

_PLOT_PAIR = """\
a, b = pairs[0].a, pairs[0].b
figure, axes = plt.subplots(figsize=(4.5, 3.2))
for level, name in ((-1, contrasts[b].low), (1, contrasts[b].high)):
    means = []
    for other in (-1, 1):
        cell = [g for row, g in zip(rows, gains) if g is not None and row[a] == other and row[b] == level]
        means.append(sum(cell) / len(cell) if cell else float("nan"))
    axes.plot([str(contrasts[a].low), str(contrasts[a].high)], means, marker="o", label=f"{b} = {name}")
axes.set_xlabel(a)
axes.set_ylabel(f"mean gain, {report['metric']}")
axes.legend()
show(figure)
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the cells gave, or why they gave nothing."""

    report: WaveReport
    runs: int  # that had a value
    numbers: Mapping[str, Any]  # effects, interactions, lost, aliases; empty where the analysis failed
    cells: Sequence[Mapping[str, Any]]  # source and outputs, for the .ipynb export
    images: Sequence[bytes]  # PNG
    failure: str | None  # one line; None when all went well


class Analyst:
    """Analyses waves, one after the other, in one kernel."""

    def __init__(self, notebook: Notebook, kernel: Kernel, *, clock: Clock) -> None:
        self.notebook = notebook
        self.kernel = kernel
        self.clock = clock

    async def analyse(self, report: WaveReport) -> str:
        """Find out what a wave shows; the id of the insight, or of the note that says why there is none."""
        work: Work[str | None, Finding | str, str] = _Work(self, report)
        return await run_role(ANALYST, work)

    async def compute(self, report: WaveReport) -> Finding:
        """Run the cells; once more on a fresh kernel when the first dies."""
        for last in (False, True):
            try:
                return await self._computed(report)
            except KernelDied as error:
                if last:
                    return _failed(report, str(error))
        raise AssertionError("unreachable")

    async def _computed(self, report: WaveReport) -> Finding:
        runs = _runs(report)
        told = {
            "wave": report.wave,
            "metric": report.task.metric,
            "designed": report.design in DESIGNED,
            "noise": report.noise,
            "baseline": dict(report.baseline),
            "runs": runs,
        }
        sources = [f"import json\nreport = json.loads({json.dumps(told)!r})", _COMPUTE, _PLOT, _PLOT_PAIR]
        cells: list[dict[str, Any]] = []
        images: list[bytes] = []
        numbers: dict[str, Any] = {}
        for source in sources:
            if source == _PLOT and not numbers["effects"]:
                return _failed(report, "too few runs have a value to tell any effect", cells)
            if source == _PLOT_PAIR and not numbers["interactions"]:
                break
            result = await self.kernel.run(source, timeout_seconds=_CELL_SECONDS)
            cells.append({"source": source, "outputs": [dict(output) for output in result.outputs]})
            images += result.images
            if result.error is not None:
                return _failed(report, result.error, cells)
            if source == _COMPUTE:
                numbers = _parsed(result)
        scored = sum(run["gain"] is not None for run in runs)
        return Finding(report=report, runs=scored, numbers=numbers, cells=cells, images=images, failure=None)


class _Work:
    """One run of the analyst through the role graph."""

    def __init__(self, analyst: Analyst, report: WaveReport) -> None:
        self.analyst, self.report = analyst, report

    async def recall(self) -> str | None:
        """The id of the finding, when a run that died has already written it."""
        try:
            return (await asyncio.to_thread(self.analyst.notebook.get, _id(self.report))).id
        except UnknownEntry:
            return None

    async def think(self, recalled: str | None, _: str | None) -> Finding | str:
        return recalled if recalled is not None else await self.analyst.compute(self.report)

    async def check(self, reply: Finding | str) -> str | None:
        if isinstance(reply, str) or reply.failure is not None:
            return None
        finite = all(math.isfinite(effect["effect"]) for effect in reply.numbers["effects"])
        return None if finite else "an effect is not a finite number"

    async def write(self, reply: Finding | str) -> str:
        if isinstance(reply, str):
            return reply
        entry = _insight(reply, self.analyst.clock.now()) if reply.failure is None else None
        entry = entry or _note(reply, self.analyst.clock.now())
        await asyncio.to_thread(write_as, ANALYST, self.analyst.notebook, entry)
        return entry.id


def _runs(report: WaveReport) -> list[dict[str, Any]]:
    """The runs to analyse: a designed wave's own and its centre; for other waves all of the session.

    The centre is the design's run without a change, which is not run again: its gain is what its configuration
    gained when it was screened, and 0 for the baseline, against which gains are measured.
    """
    designed = report.design in DESIGNED
    chosen = [o for o in report.observations if not designed or o.wave == report.wave]
    known = [o.gain for o in report.observations if dict(o.knobs) == dict(report.baseline) and o.gain is not None]
    centre = {"experiment": None, "knobs": dict(report.baseline), "gain": known[0] if known else 0.0}
    lost = {Outcome.PREEMPTED, Outcome.CONTENDED}
    runs = [
        {"experiment": o.experiment, "knobs": {**report.baseline, **o.knobs}, "gain": o.gain}
        for o in chosen
        if o.outcome not in lost or o.gain is not None
    ]
    return [*runs, centre]


def _parsed(result: CellResult) -> dict[str, Any]:
    numbers = json.loads(result.text.strip().splitlines()[-1])
    assert isinstance(numbers, dict)
    return numbers


def _failed(report: WaveReport, why: str, cells: Sequence[Mapping[str, Any]] = ()) -> Finding:
    return Finding(report=report, runs=0, numbers={}, cells=cells, images=(), failure=why)


def _insight(finding: Finding, now: float) -> Entry:
    report, effects = finding.report, finding.numbers["effects"]
    strongest = [e for e in effects if e["p"] is not None and e["p"] < 0.05][:_TITLE_EFFECTS]
    said = ", ".join(f"{e['factor']} {_signed(e)}" for e in strongest)
    said = f"{said} {report.task.metric}" if said else "no effect above the noise"
    return Entry(
        id=_id(report),
        kind=Kind.INSIGHT,
        title=f"{report.wave}: {said}",
        body=_body(finding),
        author=ANALYST.name,
        session=report.session,
        task=report.task.name,
        created_at=now,
        factors=tuple(e["factor"] for e in effects),
        links=_links(report),
        data={
            **finding.numbers,
            "wave": report.wave,
            "design": report.design,
            "noise": report.noise,
            "n": finding.runs,
            "cells": [dict(cell) for cell in finding.cells],
        },
        attachments=tuple(
            Attachment(name=f"{name}.png", media_type="image/png", data=image)
            for name, image in zip(("effects", "interaction"), finding.images, strict=False)
        ),
    )


def _note(finding: Finding, now: float) -> Entry:
    report = finding.report
    return Entry(
        id=_id(report),
        kind=Kind.NOTE,
        title=f"{report.wave}: the analysis failed",
        body=f"{report.wave} was not analysed: {finding.failure}. Its results stand as they are.",
        author=ANALYST.name,
        session=report.session,
        task=report.task.name,
        created_at=now,
        links=_links(report),
        data={"wave": report.wave, "design": report.design, "cells": [dict(cell) for cell in finding.cells]},
    )


def _body(finding: Finding) -> str:
    report, numbers = finding.report, finding.numbers
    kind = "Main effects" if report.design in DESIGNED else "Linear trends over all runs of the session"
    unit = report.task.metric
    lines = [
        f"{kind} of {report.wave} ({report.design}, {finding.runs} runs with a score), in {unit}; positive is better.",
        "",
        "| factor | from → to | effect | 95% interval | p |",
        "|---|---|---|---|---|",
        *(_row(e, f"{e['factor']} | {e['low']} → {e['high']}") for e in numbers["effects"]),
    ]
    if numbers["interactions"]:
        lines += ["", "Interactions of the strongest factors, each added alone to their main effects:", ""]
        lines += ["| pair | effect | 95% interval | p |", "|---|---|---|---|"]
        lines += [_row(pair, f"{pair['a']} × {pair['b']}") for pair in numbers["interactions"]]
    leaks = {factor: pairs for factor, pairs in numbers["aliases"].items() if pairs}
    if leaks:
        lines += ["", "Aliased: every main effect holds a part of the interactions of the other factors."]
    if numbers["lost"]:
        lines += ["", f"Too few runs to tell, taken as nought: {', '.join(numbers['lost'])}."]
    noise = "not measured; intervals rest on the residuals" if report.noise is None else f"sd {report.noise:.4g}"
    lines += ["", f"Noise of one score: {noise}."]
    return "\n".join(lines)


def _row(found: Mapping[str, Any], name: str) -> str:
    interval = "not known" if found["ci"] is None else f"{found['ci'][0]:+.4f} to {found['ci'][1]:+.4f}"
    p = "not known" if found["p"] is None else f"{found['p']:.3f}"
    return f"| {name} | {found['effect']:+.4f} | {interval} | {p} |"


def _signed(effect: Mapping[str, Any]) -> str:
    return f"{effect['effect']:+.3f}" + (f" ± {effect['se']:.3f}" if effect["se"] is not None else "")


def _id(report: WaveReport) -> str:
    return f"{report.session}-{re.sub(r'[^A-Za-z0-9]+', '-', report.wave)}-finding"


def _links(report: WaveReport) -> tuple[Link, ...]:
    own = [o.experiment for o in report.observations if o.wave == report.wave]
    return tuple(Link(kind=Relation.DERIVED_FROM, target=f"{name}-hypothesis") for name in dict.fromkeys(own))
